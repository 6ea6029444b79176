"""What people type behind install(): lists, pasted lines, addresses, paths, options."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from colabkit.errors import ColabKitError, RequirementError
from colabkit.packages.environment import Environment
from colabkit.packages.request.gathering import gather
from colabkit.packages.request.pasted import read_text
from tests.unit.packages.test_source import _spelled, source  # noqa: F401 - a fixture

_ABOVE = [folder / "shared" / "corpus" for folder in Path(__file__).parents[3:6]]
CORPUS = next((folder for folder in _ABOVE if folder.is_dir()), Path("no-such-folder"))


def lines(found):
    """The lines of a requirements file that a reading stands for."""
    return [one.line for one in found.requirements]


@pytest.mark.parametrize(
    ("text", "wanted", "flags"),
    [
        ("!pip install -q numpy scipy", ["numpy", "scipy"], set()),
        ("numpy scipy", ["numpy", "scipy"], set()),
        ("$ pip install x", ["x"], set()),
        (">>> pip install x", ["x"], set()),
        ("(base) me@host:~/a$ pip install -U x", ["x"], {"upgrade"}),
        ("PS C:\\Users\\me> pip install x", ["x"], set()),
        ("(base) C:\\>pip install x", ["x"], set()),
        ("In [1]: !pip install x", ["x"], set()),
        ("$ pip install x\n$ pip install y", ["x", "y"], set()),
        ("pip install\u3000x\xa0y", ["x", "y"], set()),
        ("%pip install -qqU 'keras>=3' tqdm # newest", ["keras>=3", "tqdm"], {"upgrade"}),
        ("! uv pip install --system -qqq --no-deps numpy==2.1.0", ["numpy==2.1.0"], {"no_deps"}),
        ("pip3 -q install --pre --force-reinstall x", ["x"], {"pre", "reinstall"}),
        ("!python -m pip install -U x --user", ["x"], {"upgrade"}),
        ("!{sys.executable} -m pip install x", ["x"], set()),
        ("!pip3 install torch>=1.3.0", ["torch>=1.3.0"], set()),
        ("!pip install 'torch >= 1.3' numpy >= 2", ["torch >= 1.3", "numpy>=2"], set()),
        ("!pip install x &> log", ["x"], set()),
        ("!pip install x > /dev/null 2>&1", ["x"], set()),
        ("!pip install x | tail -1", ["x"], set()),
        ("!pip install x -q && pip install y", ["x", "y"], set()),
        ("%%capture\n!pip install x\n!pip install \\\n  y z", ["x", "y", "z"], set()),
        (
            "!pip install {flags} {xformers} git+https://github.com/a/b",
            ["x==1", "git+https://github.com/a/b"],
            {"upgrade"},
        ),
        ('!pip install {" ".join(names)}', ["x", "y"], set()),
        (
            "git+https://github.com/a/b.git@main#egg=b&subdirectory=c",
            ["b @ git+https://github.com/a/b.git@main#subdirectory=c"],
            set(),
        ),
        ("https://example.org/w/b-1.0-py3-none-any.whl", ["b @ https://example.org/w/b-1.0-py3-none-any.whl"], set()),
        ("!pip install --no-build-isolation mamba-ssm==2.2.4", ["mamba-ssm==2.2.4"], {"source", "no_build_isolation"}),
        ("!CMAKE_ARGS='-DX=on' pip install llama-cpp-python", ["llama-cpp-python"], set()),
        ("!pip install x >& /dev/null", ["x"], set()),
        ("!pip install 'x>=3'>/dev/null 2>&1", ["x>=3"], set()),
        ("!pip install x 1>/dev/null 2>&1 &", ["x"], set()),
        ("!pip install x || true", ["x"], set()),
        ("!pip install x || pip install x-nightly", ["x"], set()),
        ("!yes | pip install x && clear", ["x"], set()),
        ("!time sudo -H python3 -u -m pip install x; echo done", ["x"], set()),
        ("%time !pip install x", ["x"], set()),
        ("!set -e; export A=1 && env B=2 pip install x", ["x"], set()),
        ("!pip install \u2013U \u201cx\u201d", ["x"], {"upgrade"}),
        ("!pip install x -f https://example.org/{np.__version__}+${CUDA}.html y==$CUDA", ["x", "y==12.1"], set()),
    ],
)
def test_a_pasted_line_says_what_it_means(text, wanted, flags, monkeypatch):
    """Noise is dropped, options become arguments, variables are looked up, and nothing is run."""
    names = {"flags": "-U", "xformers": "x==1", "names": ["x", "y"], "np": ModuleType("np")}
    names["np"].__version__ = "2.1"
    monkeypatch.setenv("CUDA", "12.1")
    found = read_text(text, names)
    assert [" ".join(line.split()) for line in lines(found)] == wanted
    fields = ("upgrade", "pre", "no_deps", "reinstall", "source", "no_build_isolation", "no_index", "dry_run")
    assert {name for name in fields if getattr(found, name)} == flags


def test_where_packages_come_from_is_told():
    """Another index decides whose code comes: it is taken from the line, and said, without its password."""
    found = read_text(
        "!pip install x -i https://me:hush@a.org/simple -f https://b.org/w --extra-index-url https://c.org", {}
    )
    assert found.index_url == "https://me:hush@a.org/simple"
    assert found.find_links == ("https://b.org/w",)
    assert found.extra_index_urls == ("https://c.org",)
    assert "hush" not in str(found.notices) + repr(found)
    assert len(found.notices) == 3
    assert read_text("!A=1 pip install x", {}).env == {"A": "1"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("!pip install -t lib x", "!pip install -t lib x"),
        ("!pip install --wish x", "--wish"),
        ("!pip install {unknown} x", "{unknown}"),
        ("!conda install x", "conda install x"),
        ("!apt-get install -y libx && pip install x", 'the rest as ck.install("pip install x")'),
        ("!conda install -y -c conda-forge rdkit", 'ck.install("rdkit")'),
        ("!poetry add x", 'ck.install("-e .")'),
        ("poetry add x", "poetry add x"),
        ("!pip install x && yolo checks", "yolo checks"),
        ("!pip uninstall -y x && pip install y", "takes nothing away"),
        ("pip uninstall -y x", "takes nothing away"),
        ("pip3 -q uninstall x", "takes nothing away"),
        ("pip show x", "installs nothing"),
        ("pip wheel x", "pip wheel x"),
        ("cp a b", "cp a b"),
        ("![ -d x ] || pip install x", "[ -d x ]"),
        ("import condacolab; condacolab.install()", "import condacolab"),
        ("!cat names.txt | xargs pip install", "xargs"),
        ("!x y", "x y"),
        ("x\n--index-url https://evil.example", "several lines"),
    ],
)
def test_what_cannot_be_had_names_the_line_to_run(text, words):
    """A refusal says why, which line to use instead, and what colabkit makes of it afterwards."""
    with pytest.raises(RequirementError) as caught:
        read_text(text, {})
    assert words in str(caught.value)
    assert "restarts if it must" in caught.value.hint or "several lines" in words


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("x=1.0", '"x==1.0"'),
        ("x@1.0", '"x==1.0"'),
        ("x, y", "no commas"),
        ("x==", "a version behind it"),
        ("x=>1", '"x>=1"'),
        ("x~1.2", '"x~=1.2"'),
        ("x==1.x", '"x==1.*"'),
        ("x 1.0", "behind its package"),
        ("https://pypi.org/project/x/", 'write "x"'),
    ],
)
def test_a_slip_is_named_with_the_spelling_that_is_meant(text, hint):
    """What conda, npm and prose write instead of pip's own spelling is told from what nobody can read."""
    with pytest.raises(RequirementError) as caught:
        read_text(f"!pip install {text}", {})
    assert hint in caught.value.hint
    with pytest.raises(RequirementError) as caught:
        read_text(text, {})
    assert hint in caught.value.hint


def test_pip_beside_packages_is_one_of_them():
    """Its name in front of others is a command only with a verb of pip's behind it."""
    names = [one.name for one in read_text("pip setuptools wheel", {}).requirements]
    assert names == ["pip", "setuptools", "wheel"]


@pytest.mark.parametrize("text", ["!python setup.py install", "!python setup.py develop"])
def test_setup_py_installs_the_folder(text, tmp_path):
    """The old way to install a project is the folder itself; with `develop` it is used where it is."""
    (tmp_path / "setup.py").touch()
    found = read_text(text, {}, tmp_path)
    assert [one.editable for one in found.requirements] == ["develop" in text]
    assert found.requirements[0].need.url == tmp_path.as_uri()


def test_another_pythons_pip_is_told():
    """A line for another Python installs into this one, and says so."""
    assert read_text("!pip2 install x", {}).notices[0].endswith("not into that of pip2")
    assert read_text("!pip3 install x", {}).notices == ()


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the collection of lines from public notebooks is not on this machine")
def test_most_of_what_people_type_has_a_way(tmp_path, monkeypatch):
    """At least 85 of 100 lines of public notebooks are read, and the others are refused with the line to use."""
    names = {"USER_FLAG": "--user", "torch_version_suffix": "", "REQUIREMENTS": ["x"], "xformers": "x", "_numpy": "x"}
    names |= {"_pil": "x", "pyrosetta_path": "."}
    monkeypatch.setattr("colabkit.packages.request.gathering._names", lambda: names)
    monkeypatch.chdir(tmp_path)
    Path("setup.py").touch()
    texts = [line for file in ("pip.txt", "uv_pip.txt") for line in (CORPUS / file).read_text().splitlines() if line]
    site, refused = Environment(), []
    for text in texts:
        if "-r https://" in text:
            continue
        try:
            gather([text], site, force=False)
        except ColabKitError as error:
            refused.append(error)
    assert len(refused) < 0.15 * len(texts)
    assert all(error.hint for error in refused)


def test_lists_wheels_folders_and_repositories_are_installed(either, wheels, source):  # noqa: F811
    """What pip takes is taken: a list, a wheel, a folder, `-e`, `git+` without a name; and the report names each."""
    folder, _archive, mark = source
    assert {one["name"] for one in either.install(["demo==1.0", ["extras"]])["changed"]} == {"demo", "extras"}
    wheel = either.install(f"{wheels}/demo-2.0-py3-none-any.whl")
    assert wheel["changed"] == [{"name": "demo", "before": "1.0", "after": "2.0"}]
    git = _spelled("git", *source[:2]).partition("@ ")[2]
    assert either.install(git)["changed"] == [{"name": "evil", "before": None, "after": "1.0"}]
    assert mark.read_text().startswith("code ran")
    assert either.install(f"!pip install -e {folder}")["restart_needed"] is False
    assert either.run("-c", "import evil; print(evil.version())") == "1.0\n"


def test_upgrade_no_deps_and_reinstall(either):
    """`-U` takes the newest of what is named and leaves its needs; `--no-deps` installs it alone."""
    either.have("demo==1.0")
    assert either.install("demo")["changed"] == []
    assert either.install("!pip install -U demo")["changed"] == [{"name": "demo", "before": "1.0", "after": "2.0"}]
    assert either.install("demo", upgrade=True)["changed"] == []
    said = either.install("!pip install --no-deps needs-old-demo")
    assert [one["name"] for one in said["changed"]] == ["needs-old-demo"]
    assert either.install("needs-old-demo", no_deps=True)["changed"] == []


def test_a_requirements_file_with_options(environment, wheels, tmp_path):
    """`-r`, `-f` and relative paths in a file are read as pip reads them."""
    (tmp_path / "more.txt").write_text("demo==1.0\n")
    (tmp_path / "requirements.txt").write_text(f"-r more.txt\n--no-index\n-f {wheels}\nextras  # a comment\n")
    said = environment.install(str(tmp_path / "requirements.txt"), index_url=None)
    assert {one["name"] for one in said["changed"]} == {"demo", "extras"}


def test_the_pins_of_google_colab_alone_are_a_warning(environment, wheels):
    """Colab's own package requires exact versions that no set of packages meets; what breaks only it is installed."""
    from tests.support.package_index import write_wheel

    write_wheel(wheels, "google-colab", "1.0.0", requires=["demo==1.0"])
    environment.have("demo==1.0", "google-colab")
    said = environment.install("wants-new-demo")
    assert said["conflicts"] == ["google-colab 1.0.0 needs demo==1.0, and would find demo 2.0"]
    assert {one["name"] for one in said["changed"]} == {"demo", "wants-new-demo"}
