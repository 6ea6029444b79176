"""A lock that keeps its wheels, and its way back without the index."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from colabkit.errors import AddressError
from colabkit.packages import lock_file, wheelhouse
from colabkit.storage import open_storage
from tests.support.package_index import Environment, copy_environment

NOWHERE = "http://127.0.0.1:9/simple"


@pytest.fixture
def source(templates, modules, index, caches, tmp_path):
    """The environment of the first session, with a pip that fetches from the index."""
    one = Environment(
        copy_environment(templates / "pip", tmp_path / "source"),
        modules=modules,
        index=index,
        installer="pip",
        work=caches,
    )
    one.env["PIP_INDEX_URL"] = index
    one.env["COLABKIT_CACHE"] = str(tmp_path / "cache-of-source")
    one.have("numpy==1.0", "demo==1.0", "traitlets==1.0")
    return one


def lock(environment, path, wheels):
    """Write a lock with its wheels in a process of the environment, for its own packages alone."""
    site = next((environment.path / "lib").glob("python*/site-packages"))
    for info in (*site.glob("pip-*.dist-info"), *site.glob("setuptools-*.dist-info")):  # no index of the tests has them
        shutil.rmtree(info)
    return environment.run("-c", f"import colabkit as ck; print(ck.lock({str(path)!r}, wheels={str(wheels)!r}))")


def test_what_a_lock_keeps_is_installed_without_the_index(source, either, tmp_path):
    """The first session keeps the wheels, once; the next one, offline, has the very packages."""
    lock(source, tmp_path / "session" / "my.lock", tmp_path / "session" / "wheels")
    house = tmp_path / "session" / "wheels"
    sums = (house / "SHA256SUMS").read_text().split()
    wheel = house / "demo-1.0-py3-none-any.whl"
    assert hashlib.sha256(wheel.read_bytes()).hexdigest() in sums
    assert not list(house.glob("traitlets*"))
    written = wheel.stat().st_mtime_ns
    source.env["PIP_INDEX_URL"] = NOWHERE
    text = (tmp_path / "session" / "my.lock").read_text()
    lock(source, tmp_path / "session" / "my.lock", house)
    assert (tmp_path / "session" / "my.lock").read_text() == text
    assert wheel.stat().st_mtime_ns == written

    # as a dataset of Kaggle: read-only, at another path, all files in one folder
    dataset = tmp_path / "input" / "wheels-of-mine"
    shutil.copytree(house, dataset)
    shutil.copy(tmp_path / "session" / "my.lock", dataset)
    for path in dataset.iterdir():
        path.chmod(0o444)
    shutil.rmtree(tmp_path / "session")
    either.env["COLABKIT_CACHE"] = str(tmp_path / "cache")
    either.have("demo==2.0", "traitlets==2.0")
    said = either.install(str(dataset / "my.lock"), index_url=NOWHERE)
    assert "error" not in said, said
    assert {(one["name"], one["after"]) for one in said["changed"]} == {("demo", "1.0"), ("numpy", "1.0")}
    assert either.install(str(dataset / "my.lock"), index_url=NOWHERE)["started"] == 0

    # and by another Python than the one it was kept for
    (dataset / "my.lock").chmod(0o644)
    text = (dataset / "my.lock").read_text()
    (dataset / "my.lock").write_text(text.replace("demo-1.0-py3-none-any.whl", "demo-1.0-cp27-cp27m-linux_x86_64.whl"))
    either.have("demo==2.0")
    assert either.install(str(dataset / "my.lock"), index_url=NOWHERE)["error"] == "OfflineError"
    assert either.install(str(dataset / "my.lock"))["changed"] == [{"name": "demo", "before": "2.0", "after": "1.0"}]


def test_a_wheel_with_another_content_is_refused(source, environment, tmp_path):
    """What was changed since it was kept is named, and nothing is installed."""
    lock(source, tmp_path / "my.lock", tmp_path / "wheels")
    with (tmp_path / "wheels" / "demo-1.0-py3-none-any.whl").open("ab") as file:
        file.write(b"more")
    environment.have("demo==2.0")
    before = environment.freeze()
    said = environment.install(str(tmp_path / "my.lock"))
    assert said["error"] == "IntegrityError"
    assert "demo-1.0-py3-none-any.whl" in said["what"]
    assert environment.freeze() == before


def test_wheels_and_lock_come_from_a_storage(tmp_path, monkeypatch, wheels, caplog):
    """`drive:` and `gs://` hold both; a wheel that is gone, or for another Python, is said and left to the index."""
    monkeypatch.setenv("COLABKIT_CACHE", str(tmp_path / "cache"))
    house = tmp_path / "house"
    storage = open_storage(house)
    monkeypatch.setattr("colabkit.storage.open_storage", lambda _: storage)
    monkeypatch.setattr("colabkit.packages.lock_file.open_storage", lambda _: storage)
    name = "demo-1.0-py3-none-any.whl"
    storage.put(name, wheels / name)
    digest = hashlib.sha256((wheels / name).read_bytes()).hexdigest()
    lines = [
        "# colabkit lock 1",
        "# wheels: drive:wheels",
        "demo==1.0",
        "numpy==1.0",
        f"# wheel sha256:{digest} {name}",
    ]
    lines += [
        f"# wheel sha256:{digest} numpy-1.0-py3-none-any.whl",
        f"# wheel sha256:{digest} old-1-cp27-cp27m-any.whl",
    ]
    storage.put("lock.txt", "\n".join(lines).encode())
    path = lock_file.here("drive:wheels/lock.txt")
    assert path.read_text().splitlines() == lines
    folder, brought = wheelhouse.fetch_kept(path, ["demo", "numpy", "old"])
    assert brought == {"demo"}
    assert (folder / name).read_bytes() == (wheels / name).read_bytes()
    assert "another Python or platform" in caplog.text
    assert "not in drive:wheels, so left to the index: numpy-1.0" in caplog.text
    with pytest.raises(AddressError):
        lock_file.here("drive:lock.txt")


def test_a_lock_below_a_folder_names_its_wheels_by_it(tmp_path):
    """The two may be moved together."""
    assert lock_file._as_written(tmp_path / "a" / "wheels", tmp_path / "a" / "my.lock") == "wheels"
    assert lock_file._as_written(tmp_path / "b", tmp_path / "a" / "my.lock") == str(tmp_path / "b")
    assert lock_file._as_written("gs://bucket/wheels", Path(os.devnull)) == "gs://bucket/wheels"
