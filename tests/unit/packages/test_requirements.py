"""Requirement strings and files: read exactly, and nothing hides in one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colabkit.errors import NotFoundError, RequirementError
from colabkit.packages.request.requirements_file import is_file, masked, read, read_file

SMUGGLED = [
    "-e .",
    "-r other.txt",
    "--index-url http://evil.example",
    "demo --index-url=http://evil.example",
    "demo -i http://evil.example",
    "demo>=1 --trusted-host evil.example",
    "demo ; python_version > '3' --pre",
    "demo\n--pre",
    "demo\r--pre",
    "demo\x00",
    "demo @ https://user:hush@example.org/demo.whl",
    "demo @ https://hush@example.org/demo.whl",
    "demo @ git+https://hush@github.com/a/b",
    "demo @ git+ssh://git:hush@github.com/a/b",
    "demo @ https://${HUSH}/demo.whl",
]


@pytest.mark.parametrize("text", SMUGGLED)
def test_nothing_is_smuggled_in(text):
    """An option, a second line or credentials in a requirement are refused, and the credentials are not repeated."""
    with pytest.raises(RequirementError) as caught:
        read(text)
    assert "hush" not in str(caught.value)
    assert caught.value.do


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("numpy", "numpy"),
        ("  Keras  >= 3.10 ", "Keras >= 3.10"),
        ("kaggle[all]>=2,<3", "kaggle[all]>=2,<3"),
        ('x; python_version < "3"', 'x; python_version < "3"'),
        ("demo @ file:///a/demo-1.0-py3-none-any.whl", "demo@ file:///a/demo-1.0-py3-none-any.whl"),
        ("demo @ git+ssh://git@github.com/a/b@v1", "demo@ git+ssh://git@github.com/a/b@v1"),
    ],
)
def test_what_pep_508_allows_is_read(text, line):
    """Every ordinary form goes through and says the same."""
    assert read(text).line.replace(" @ ", "@ ") == line


@given(st.text(alphabet=st.sampled_from("demo-_.@=<>[]; \n\t\"'/:$#\\é0"), max_size=40))
def test_any_text_is_read_or_refused(text):
    """There is no third outcome, and what was read is one line that no installer takes for an option."""
    try:
        wanted = read(text)
    except RequirementError:
        return
    assert "\n" not in wanted.line
    assert not wanted.line.startswith("-")
    assert " -" not in wanted.line


def test_a_file_is_told_from_a_package(tmp_path):
    """A suffix or a Path means a file; everything else is a package, even if a file of that name lies about."""
    assert is_file("requirements.txt")
    assert is_file("locks/colab.lock")
    assert is_file(tmp_path)
    assert not is_file("numpy")
    assert not is_file("demo @ https://example.org/notes.txt")


def test_a_file_is_read_as_pip_reads_it(tmp_path):
    """Comments, continued lines, markers and hashes."""
    path = tmp_path / "requirements.txt"
    digest = "sha256:" + "0" * 64
    path.write_text(
        f"# a comment\n\nnumpy>=2  # another\nkeras \\\n    ==3.10\ndemo==1.0 \\\n    --hash={digest}\n"
        'old; python_version < "3"\n',
    )
    assert [one.line for one in read_file(path)] == [
        "numpy>=2",
        "keras ==3.10",
        f"demo==1.0 --hash={digest}",
        'old; python_version < "3"',
    ]


@pytest.mark.parametrize("line", ["--index-url http://evil.example", "-e .", "-r other.txt", "demo --pre", "no thing"])
def test_a_files_options_are_refused_with_their_line(tmp_path, line):
    """A lock from elsewhere cannot choose where code comes from; the error names the line."""
    path = tmp_path / "requirements.txt"
    path.write_text(f"numpy\n\n{line}\n")
    with pytest.raises(RequirementError, match=r"requirements\.txt, line 3"):
        read_file(path)


def test_a_file_that_is_not_text_is_refused(tmp_path):
    """Bytes that are no text are told from a file that is not there."""
    path = tmp_path / "requirements.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequirementError):
        read_file(path)
    with pytest.raises(NotFoundError):
        read_file(tmp_path / "absent.txt")


def test_credentials_are_masked_wherever_an_address_stands():
    """Also several in one text, and with a port."""
    assert masked("a https://u:p@x:1/y b git+ssh://t@z") == "a https://***@x:1/y b git+ssh://***@z"
