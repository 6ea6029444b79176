"""What is installed, read from folder names, and whether it satisfies."""

from __future__ import annotations

import pytest

from colabkit.packages.environment import Environment
from colabkit.packages.request.requirements_file import applicable, read
from tests.support.package_index import put


def missing(folder, *texts):
    """Ask for requirements of a folder of distributions."""
    return Environment([str(folder)]).missing(applicable(map(read, texts)))


@pytest.mark.parametrize(
    ("wish", "lacking"),
    [
        ("demo", []),
        ("Demo.Package", ["Demo.Package"]),
        ("demo==1.0", []),
        ("demo==1", []),
        ("demo>=1.1", ["demo>=1.1"]),
        ("demo<2,>=0.5", []),
        ('demo>=9; python_version < "3"', []),
        ('demo>=9; python_version >= "3"', ['demo>=9; python_version >= "3"']),
        ("beta-package", []),
        ("beta-package>=2", ["beta-package>=2"]),
        ("beta-package>=2.0rc1", []),
        ("local==2.11.0", []),
        ("absent", ["absent"]),
        ("with-extras", []),
        ("with-extras[present]", []),
        ("with-extras[lacking]", ['absent>=1; extra == "lacking"']),
        ("with-extras[nested]", ["absent"]),
        ("with-hole", ["gone"]),
        ("either-marker", ["absent"]),
        ("from-address @ https://example.org/from_address-1.0-py3-none-any.whl", []),
        (
            "from-address @ https://example.org/from_address-2.0-py3-none-any.whl",
            ["from-address@ https://example.org/from_address-2.0-py3-none-any.whl"],
        ),
    ],
)
def test_satisfied_as_an_installer_sees_it(tmp_path, wish, lacking):
    """Versions, markers, extras, pre-releases, local versions, addresses, and what the installed ones need in turn."""
    put(tmp_path, "demo", "1.0")
    put(tmp_path, "beta-package", "2.0rc1")
    put(tmp_path, "local", "2.11.0+cu128")
    put(
        tmp_path,
        "with-extras",
        "1.0",
        ['demo; extra == "present"', 'absent>=1; extra == "lacking"', 'deeper[more]; extra == "nested"'],
    )
    put(tmp_path, "deeper", "1.0", ['absent; extra == "more"'])
    put(tmp_path, "with-hole", "1.0", ["needs-gone"])
    put(tmp_path, "needs-gone", "1.0", ["gone"])
    put(tmp_path, "either-marker", "1.0", ['absent; python_version >= "3" or extra == "x"'])
    put(
        tmp_path,
        "from-address",
        "1.0",
        direct_url='{"url": "https://example.org/from_address-1.0-py3-none-any.whl", "archive_info": {}}',
    )
    found = missing(tmp_path, wish)
    assert [text.partition(";")[0].replace(" @ ", "@ ") for text in found] == [
        text.partition(";")[0].replace(" @ ", "@ ") for text in lacking
    ]


def test_the_first_on_the_path_wins(tmp_path):
    """As at import."""
    put(tmp_path / "one", "demo", "1.0")
    put(tmp_path / "two", "demo", "2.0")
    assert Environment([str(tmp_path / "one"), str(tmp_path / "two")]).versions() == {"demo": "1.0"}


def test_a_leftover_of_pip_is_not_a_package(tmp_path):
    """Pip renames what it removes to ~ame; an interrupted removal leaves it behind."""
    put(tmp_path, "~umpy", "1.0")
    assert len(Environment([str(tmp_path)])) == 0


def test_other_tools_metadata_is_read(tmp_path):
    """Debian's packages and setup.py develop leave egg-info: a file, a folder, or one without a version in its name."""
    (tmp_path / "six-1.16.0.egg-info").write_text("Metadata-Version: 1.2\nName: six\nVersion: 1.16.0\n")
    folder = tmp_path / "My_Project.egg-info"
    folder.mkdir()
    (folder / "PKG-INFO").write_text("Metadata-Version: 1.2\nName: My-Project\nVersion: 0.3\n\ntext\n")
    (folder / "requires.txt").write_text("absent>=1\n\n[extra]\nother\n")
    site = Environment([str(tmp_path)])
    assert site.versions() == {"six": "1.16.0", "my-project": "0.3"}
    assert site.missing([read("my-project")]) == ["absent>=1"]


def test_a_folder_that_is_gone_is_no_error():
    """sys.path names folders that do not exist."""
    assert len(Environment(["/nonexistent"])) == 0


def test_it_sees_what_importlib_sees():
    """Against the standard library, on the packages of this very environment."""
    import importlib.metadata

    from colabkit.packages.request.requirement import normal

    theirs = {normal(one.metadata["Name"]): one.version for one in reversed(list(importlib.metadata.distributions()))}
    assert Environment().versions() == theirs
