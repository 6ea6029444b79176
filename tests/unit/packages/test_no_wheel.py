"""What cannot be had here says so in words that help: which versions, which name, which certificate."""

from __future__ import annotations

import http.server
import ssl
import threading
from contextlib import contextmanager

import pytest
import trustme

from tests.support.package_index import serve, write_source, write_wheel


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """The address of an index whose packages have wheels for a few Pythons only."""
    folder = tmp_path_factory.mktemp("old")
    write_wheel(folder, "fits", "1.0")
    write_wheel(folder, "fits", "1.5", tag="cp27-cp27m-manylinux1_x86_64")
    write_wheel(folder, "fits", "2.0")
    write_wheel(folder, "ancient", "1.0", tag="cp35-cp35m-manylinux1_x86_64")
    with serve(folder) as address:
        yield address


def test_the_nearest_versions_with_a_wheel_are_named(either, old):
    """Before anything is compiled the message says what to ask for, or which Pythons the wheels are for."""
    said = either.install("fits==1.5", index_url=old)
    assert said["error"] in ("NoWheelError", "PackageNotFoundError")
    if either.installer == "uv":
        assert "has no wheel for Python" in said["what"]
        assert "fits==1.0 or fits==2.0" in said["do"]
        assert "its wheels are for Python 3.5" in either.install("ancient", index_url=old)["why"]


def test_the_name_that_is_meant(either, tmp_path):
    """`sklearn` is refused by its authors: the package is called scikit-learn."""
    write_source(tmp_path, "sklearn", "0.0", tmp_path / "mark")
    said = either.install("sklearn", find_links=[str(tmp_path)])
    assert said["do"] == "ask for scikit-learn, the name under which it is published"
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("os", "os comes with Python: import it"),
        ("pip.main", "is a part of pip, which is here"),
        ("python==3.8", "which no package changes"),
        ("torch==2.1.0+cu118", "add --extra-index-url https://download.pytorch.org/whl/cu118"),
    ],
)
def test_what_no_index_has_is_told_with_where_it_is(either, old, text, way):
    """What users ask for by the name of an import, of Python itself, or of a build that lies elsewhere."""
    if text == "pip.main" and either.installer == "uv":
        return  # nothing is installed in its environment, so that it is a part of nothing
    assert way in either.install(text, index_url=old)["do"]


@contextmanager
def _tls():
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            """Keep silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}/simple"
    server.shutdown()
    server.server_close()


def test_a_certificate_that_nobody_vouches_for(either):
    """It is no network that is missing, and nothing is installed past it."""
    before = either.freeze()
    with _tls() as address:
        said = either.install("demo", index_url=address)
    assert said["error"] == "AccessError"
    assert "certificate" in said["what"]
    assert either.freeze() == before


def test_a_build_that_fails_is_told_as_one(either, tmp_path):
    """With `source=True` a package whose code does not build says so, and the environment stays as it was."""
    folder, _archive = write_source(tmp_path, "broken", "1.0", tmp_path / "mark")
    (folder / "backend.py").write_text("raise RuntimeError('no compiler here')\n")
    before = either.freeze()
    said = either.install(f"broken @ file://{folder}")
    assert said["error"] == "NoWheelError"
    assert "cannot be built" in said["what"]
    assert either.freeze() == before
