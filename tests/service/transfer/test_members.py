"""Some members of an archive: those that unzip, tar and 7z take for the same words, in the same places."""

import gzip
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from colabkit.errors import AddressError, ArchiveError, ColabKitError, NotFoundError
from colabkit.testing.kaggle import packed
from colabkit.transfer import fetch

FILES = {
    "top/images/a.png": b"a",
    "top/images/sub/b.png": b"b",
    "top/images2/c.png": b"c",
    "top/labels/a.txt": b"l",
    "top/readme.md": b"top",
    "readme.md": b"r",
    "top/images[1].png": b"1",
}


def _tar(prefix: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as made:
        for name, data in FILES.items():
            info = tarfile.TarInfo(f"{prefix}{name}")
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Make the same files into archives of each kind."""
    place = tmp_path_factory.mktemp("archives")
    (place / "a.zip").write_bytes(packed(FILES))
    (place / "a.tgz").write_bytes(_tar())
    (place / "dot.tgz").write_bytes(_tar("./"))
    (place / "a.tar").write_bytes(gzip.decompress(_tar()))
    if shutil.which("7z"):
        for name, data in FILES.items():
            (place / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (place / "in" / name).write_bytes(data)
        subprocess.run(["7z", "a", "../a.7z", "."], cwd=place / "in", check=True, capture_output=True)
    return place


def _tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


LINES = """
unzip -q a.zip 'top/images/*' -d out
unzip -q a.zip '*.png'
unzip -qo a.zip -d out 'top/*.md' 'top/[lx]*'
unzip -q a.zip 'top/images\\[1].png'
unzip -q a.zip readme.md 'top/image?2/*' -d out
unzip -q a.zip '[!q-s]op/r*' '*[--m].png' -d out
tar xzf a.tgz -C out --wildcards '[[q-s]e*' '*[!a-b].png'
unzip -q a.zip -x '*.png' 'top/*.md' -d out
unzip -q a.zip 'top/*' -d out -x '*.png'
unzip -qC a.zip 'TOP/*.MD'
unzip -jq a.zip '*.png' -d out
unzip -qj -o a.zip -d out
unzip -qjn a.zip
unzip -j -d ./out a.zip top/readme.md
tar xzf a.tgz -C out top/images
tar xzf a.tgz -C out top/images/
tar -xzf a.tgz -C out --strip-components=1 top/images top/labels
tar xzf a.tgz --strip-components=2 -C out top/images/sub/b.png
tar xzf a.tgz top/images --strip-components=1 -C out
tar xf a.tar readme.md
tar xzf dot.tgz -C out ./top/images
tar xzf a.tgz -C out --wildcards '*.png'
tar xzf a.tgz -C out --wildcards 'top/im*[s2]'
tar xzf a.tgz -C out --exclude=images
tar xzf a.tgz -C out --exclude='*.png' --exclude readme.md
tar xzf a.tgz -C out top --exclude top/images
tar xzf a.tgz -C out --exclude='top/images/*'
7z x a.7z -oout top/images
7z x a.7z 'top/images/*' -oout
7z x a.7z 'top/im*' -oout
7z x a.7z '*.png' -r -oout
7z x a.7z -oout '-xr!*.png'
7z x a.7z -oout '-x!top/images' '-x!*.md'
7z e a.7z -oout '*.png' -r
7z e a.7z -oout top/images/a.png top/labels/a.txt
7z x a.zip top/labels -oout
""".strip().splitlines()


@pytest.mark.parametrize("line", LINES)
def test_chosen_members_are_those_that_the_program_takes(archives, tmp_path, monkeypatch, line):
    """Each program reads its patterns in its own way: what a star covers, and what a folder's name stands for."""
    program = line.split()[0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    made = {}
    for who in ("theirs", "ours"):
        folder = tmp_path / who
        (folder / "out").mkdir(parents=True)
        for archive in archives.glob("a.*"):
            os.link(archive, folder / archive.name)
        os.link(archives / "dot.tgz", folder / "dot.tgz")
        monkeypatch.chdir(folder)
        if who == "ours":
            fetch(f"!{line}", progress=False)
        else:
            done = subprocess.run(["bash", "-c", line], check=False, capture_output=True, stdin=subprocess.DEVNULL)
            assert done.returncode == 0, done.stderr
        made[who] = _tree(folder)
    assert made["ours"] == made["theirs"]


@pytest.mark.parametrize(
    "line",
    [
        "wget -q U/a.zip && unzip -q a.zip 'top/images/*'",
        "wget -q U/a.zip && unzip -q a.zip 'top/images/*' -d data && unzip -q a.zip 'top/labels/*' -d data && rm a.zip",
        "wget -q U/a.zip && unzip -qj a.zip '*.png' -d data && rm a.zip",
        "wget -qO- U/a.tgz | tar xz -C out top/images --strip-components=1",
        "curl -sL U/a.tgz | tar xz --strip-components=1 top/labels",
        "curl -sO U/a.tgz; tar xzf a.tgz --strip=1 top/images; tar xzf a.tgz --strip=2 top/images",
        "wget -q U/a.7z && 7z x a.7z -ox top/labels > /dev/null && rm a.7z",
    ],
)
def test_chosen_members_come_behind_a_download(archives, server, tmp_path, monkeypatch, line):
    """The step behind && or a pipe takes the same members, and two steps may take different ones."""
    for name in ("a.zip", "a.tgz", "a.7z"):
        if (archives / name).exists():
            server.put(name, (archives / name).read_bytes())
    line = line.replace("U/", server.url(""))
    if missing := [name for name in ("wget", "curl", "unzip", "7z") if f"{name} " in line and not shutil.which(name)]:
        pytest.skip(f"{missing[0]} is not installed")
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for place in (theirs, ours):
        (place / "out").mkdir(parents=True)
    subprocess.run(["bash", "-ec", line], cwd=theirs, check=True, capture_output=True)
    monkeypatch.chdir(ours)
    fetch(f"!{line}", progress=False)
    assert _tree(ours) == _tree(theirs)
    fetch(f"!{line}", progress=False)
    assert _tree(ours) == _tree(theirs)


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [
        ("unzip a.zip 'train/*'", NotFoundError, r"train/\*.*\n.*top/, readme\.md"),
        ("unzip a.zip '*.png' nope -d out", NotFoundError, "nope"),
        ("unzip a.zip '*.png' '[z-a]*'", NotFoundError, r"\[z-a\]"),
        ("unzip a.zip top/images", NotFoundError, r"write 'top/images/\*'"),
        ("unzip -j a.zip", ArchiveError, r"readme\.md.*\n(.|\n)*-o"),
        ("tar xzf dot.tgz top/images", NotFoundError, r"\./top/"),
        ("tar xzf a.tgz 'top/*.png'", NotFoundError, "--wildcards"),
        ("7z x a.7z nope", NotFoundError, "nope"),
        ("7z x a.7z '*.png'", NotFoundError, "-r"),
        ("tar xzf a.tgz -C out top -C . readme.md", AddressError, "-C"),
        ("tar xzf a.tgz --transform s/a/b/ top", AddressError, "--transform"),
        ("tar xzf a.tgz -T list.txt", AddressError, "-T"),
        ("unzip -p a.zip readme.md > r.md", AddressError, "write it as: unzip -jo ARCHIVE MEMBER -d FOLDER"),
        ("tar -xzOf a.tgz readme.md > r.md", AddressError, "write it as: tar xf ARCHIVE -C FOLDER MEMBER"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused_before_anything_is_written(
    archives, tmp_path, monkeypatch, line, error, said
):
    """A pattern that fits nothing is no success, as with unzip and tar; the message says what the archive holds."""
    if "7z" in line and not (archives / "a.7z").exists():
        pytest.skip("7z is not installed")
    for archive in archives.glob("*.*"):
        os.link(archive, tmp_path / archive.name)
    monkeypatch.chdir(tmp_path)
    before = _tree(tmp_path)
    with pytest.raises(ColabKitError, match=said) as caught:
        fetch(f"!{line}", progress=False)
    assert isinstance(caught.value, error)
    assert _tree(tmp_path) == before


def test_a_hostile_member_that_is_not_chosen_does_no_harm(tmp_path, monkeypatch):
    """As with the programs, what is left alone is not judged; chosen, it is refused."""
    monkeypatch.chdir(tmp_path)
    Path("a.zip").write_bytes(packed({"../out.txt": b"x", "a.csv": b"7"}))
    fetch("!unzip a.zip a.csv -d in")
    assert _tree(tmp_path / "in") == {"a.csv": b"7"}
    with pytest.raises(ArchiveError, match="climbs out"):
        fetch("!unzip a.zip '*.txt' -d in")
    assert _tree(tmp_path / "in") == {"a.csv": b"7"}


def test_a_pattern_of_many_stars_is_read_in_no_time(tmp_path, monkeypatch):
    """A name that almost fits many stars takes no exponential time."""
    monkeypatch.chdir(tmp_path)
    Path("a.zip").write_bytes(packed({"a" * 200 + "/" + "a" * 200: b"x"}))
    with pytest.raises(NotFoundError):
        fetch("!unzip a.zip '" + "*a" * 40 + "*b'")


def test_a_hard_link_to_what_is_left_out_is_told(tmp_path, monkeypatch):
    """Tar cannot make it either; the message names both."""
    monkeypatch.chdir(tmp_path)
    with tarfile.open("a.tar", "w") as made:
        info = tarfile.TarInfo("x/first")
        info.size = 1
        made.addfile(info, io.BytesIO(b"1"))
        link = tarfile.TarInfo("y/second")
        link.type, link.linkname = tarfile.LNKTYPE, "x/first"
        made.addfile(link)
    with pytest.raises(ArchiveError, match=r"y/second(.|\n)*x/first(.|\n)*name it too"):
        fetch("!tar xf a.tar y")
