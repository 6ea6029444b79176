"""Lines that fetch more than one file: what lies there afterwards is what bash and the real programs leave."""

import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from colabkit.errors import AddressError, ColabKitError
from colabkit.testing.http import Fault
from colabkit.transfer import fetch
from colabkit.transfer.sources.registry import open_source

LINES = [
    "wget -q U/a.csv U/b.csv -P data",
    "wget -q U/{a,b}.csv",
    "wget -q U/part{01..03}.csv",
    "wget -q -i urls.txt -P lists",
    "wget -q U/a.csv && wget -q U/b.csv -O c.csv",
    "wget -q U/a.csv; mkdir -p d; cd d; wget -q U/b.csv",
    "!wget -q U/a.csv\n!wget -q U/b.csv",
    "# the data\n!wget -q U/a.csv # small\n\n!wget -q U/b.csv",
    "wget -q --output-doc=c.csv U/a.csv",
    "wget -q --load-cookies cookies.txt U/a.csv",
    "curl -sO U/a.csv -O U/b.csv",
    "curl -s -o x.csv U/a.csv -o y.csv U/b.csv",
    "curl -s --remote-name-all U/a.csv U/b.csv",
    "curl -sO 'U/{a,b}.csv'",
    "curl -s 'U/part[01-03].csv' -o 'p_#1.csv'",
    "curl -s U/a.csv -o a --next -s U/b.csv -o b",
    "curl -s -b cookies.txt U/a.csv -o c.csv",
    "aria2c -q -Z U/a.csv U/b.csv -d data",
    "wget -q U/one.zip && unzip -q one.zip -d x && rm one.zip && wget -q U/two.tar && tar -xf two.tar",
    "wget -q U/one.zip U/other.zip && unzip -qo '*.zip' -d both",
    "mkdir -p in && cd in && wget -q U/one.zip && unzip -q one.zip && cd .. && wget -q U/a.csv",
    "wget -q U/one.zip && mkdir -p d && cd d && unzip -q ../one.zip",
    "wget -q U/a.csv.gz U/b.csv.gz && gunzip *.gz",
    "wget -q U/two.tar && tar --extr --file=two.tar --strip=1",
    "wget -q U/a.csv.gz && gzip -dc a.csv.gz > seven.csv",
    "wget -q U/archive/master.zip && unzip -q master.zip && rm master.zip",
    "wget -q U/moved && unzip -q moved -d out",
    "wget -q U/one.zip?raw=true && unzip -q 'one.zip?raw=true'",
    "wget -q 'U/one.zip?dl=1' U/caf%C3%A9%20%2B.csv U/",
    "curl -sLO U/moved -O U/archive/master.zip -O U/caf%C3%A9%20%2B.csv",
    "wget -q U/one.zip && unzip -q one",
    "URL=U/a.csv; OUT='my.csv'; wget -q \"$URL\" -O ${OUT}",
    "export D=data && mkdir -p $D && wget -q U/one.zip -P $D && unzip -q $D/one.zip -d $D",
    "wget -q U/a.csv.gz && 7z x a.csv.gz > /dev/null",
    "wget -q U/two.tgz && 7z x two.tgz -oout > /dev/null && 7z x out/two.tar -oout > /dev/null",
    "wget -q U/one.zip && python3 -m zipfile -e one.zip out",
    "%%bash\nset -e\nls\nwget -q U/a.csv",
    "wget -q U/one.zip && 7z x one.zip '-o*' > /dev/null",
]


@pytest.fixture
def site(server):
    """Serve two tables, some parts and two archives."""
    import gzip

    for name in ("a.csv", "b.csv", "part01.csv", "part02.csv", "part03.csv"):
        server.put(name, f"{name}\n".encode() * 50)
    for name in ("a.csv", "b.csv"):
        server.put(f"{name}.gz", gzip.compress(name.encode()))
    for name in ("one", "other"):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(f"inside/{name}.txt", name)
        server.put(f"{name}.zip", packed.getvalue())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in ("top/1.txt", "top/2.txt"):
            member = tarfile.TarInfo(name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    server.put("two.tar", packed.getvalue())
    server.put("two.tgz", gzip.compress(packed.getvalue()))
    named = {"Content-Disposition": "attachment; filename=repo-master.zip"}
    server.put("archive/master.zip", server.resources["one.zip"].data, headers=named)
    server.put("moved", b"", Fault(kind="redirect", location="/one.zip", times=9))
    server.put("caf%C3%A9%20%2B.csv", b"7")
    server.put("", b"<!doctype html><title>Files</title>", content_type="text/html")
    return server


def tree(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_several_leaves_what_the_real_programs_leave(site, tmp_path, monkeypatch, line):
    """Each address and each command of a line is done, in its folder, as bash does it."""
    programs = {word for word in line.replace("!", "").split() if word in ("wget", "curl", "aria2c", "unzip", "7z")}
    if missing := [name for name in programs if shutil.which(name) is None]:
        pytest.skip(f"{missing[0]} is not installed")
    line = line.replace("U/", site.url(""))
    made = {}
    for who in ("theirs", "ours"):
        folder = tmp_path / who
        folder.mkdir()
        monkeypatch.chdir(folder)
        (folder / "urls.txt").write_text(f"{site.url('a.csv')}\n\n{site.url('b.csv')}\n")
        (folder / "cookies.txt").write_text("# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tkey\t7\n")
        begun = len(site.seen)
        if who == "ours":
            path = fetch(line, progress=False)
            assert path.exists()
        else:
            subprocess.run(
                ["bash", "-ec", line.removeprefix("%%bash").replace("!", "")], check=True, capture_output=True
            )
        made[who] = tree(folder), {seen.headers.get("cookie") for seen in site.seen[begun:]}
        os.chdir(tmp_path)
    ours, theirs = made["ours"][0], made["theirs"][0]
    packed = {name: data for name, data in theirs.items() if name not in ours and name.endswith((".zip", ".tar"))}
    assert ours == theirs
    assert packed == {}
    assert made["ours"][1] == made["theirs"][1]


def test_what_a_command_names_is_unpacked_beside_it_where_the_user_says_so(site, tmp_path, monkeypatch):
    """unpack=True makes the folder of the archive's name, as for an address, and none that is called one.zip."""
    monkeypatch.chdir(tmp_path)
    for line, name in ((f"wget -q {site.url('one.zip')}", "one"), (f"curl -so x.tar {site.url('two.tar')}", "x")):
        assert fetch(line, unpack=True, progress=False).name == name
    assert sorted(tree(tmp_path)) == ["one/inside/one.txt", "x/top/1.txt", "x/top/2.txt"]


def test_several_files_come_below_the_place_that_is_named(site, tmp_path):
    """to= is the folder for all files of a line; the call returns it, and the second call needs no network."""
    line = f"wget -q {site.url('a.csv')} {site.url('b.csv')}"
    place = fetch(line, tmp_path / "here", progress=False)
    assert (place, sorted(tree(place))) == (tmp_path / "here", ["a.csv", "b.csv"])
    asked = len(site.seen)
    assert fetch(line, tmp_path / "here", progress=False) == place
    assert len(site.seen) == asked


def test_the_failure_of_one_is_told_and_the_others_are_there(site, tmp_path, monkeypatch):
    """One address that does not exist is an error that names it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ColabKitError, match=r"no\.csv"):
        fetch(f"wget -q {site.url('a.csv')} {site.url('no.csv')} {site.url('b.csv')}", progress=False)
    assert sorted(tree(tmp_path)) == ["a.csv", "b.csv"]


@pytest.mark.parametrize(
    "line",
    [
        "nice -n 10 wget U",
        "sudo -E wget U",
        "timeout -k 5 60 wget U",
        "nohup wget U &",
        "env LC_ALL=C wget U",
        "LC_ALL=C wget U",
        "/usr/bin/wget U",
        "%%bash\nwget U",
        "wget U -O a.csv 2>&1 | tail -n 1",
    ],
)
def test_what_stands_around_a_program_is_passed_over(line):
    """A priority, a time limit, a variable, a path, a cell's first line: the download is the same."""
    line = line.replace("U", "https://example.org/a.csv")
    assert open_source(line).source.shown == "https://example.org/a.csv"


@pytest.mark.parametrize("path", ["/data/tar x.csv", "test data/a.csv", "for sale/a.csv", "data/wget x", "if only.csv"])
def test_a_path_with_a_blank_is_no_command(path):
    """A folder or a file whose name begins like a command is a path."""
    assert open_source(path).source == Path(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("HF_ENDPOINT=https://m.org hf download o/n", r'os\.environ\["HF_ENDPOINT"\]'),
        ("https_proxy=http://p:1 wget https://a.org/1", "sets https_proxy"),
        ("if [ ! -f a.zip ]; then wget https://a.org/a.zip; fi", "leave the test out"),
        ("![ -f a.zip ] || wget https://a.org/a.zip", "leave the test out"),
        ("for i in 1 2; do wget https://a.org/1; done", "pass a list"),
        ("!for i in 1 2; do wget https://a.org/$i; done", "pass a list"),
        ("!URL=https://a.org/1; wget $URL", "write its value in its place"),
        ("(cd x && wget https://a.org/1)", r"has '\('"),
        ("export HF_ENDPOINT=https://m.org; D=x; hf download o/n --local-dir $D", "HF_ENDPOINT|write its value"),
        ("curl https://a.org/1 | tee a > b", "tee"),
        ("xargs wget < list.txt", "has '<'"),
        ('"https://a.org/1"', r"did you mean https://a\.org/1\?"),
        ("wget -O x https://a.org/1 https://a.org/2", "would become one file"),
        ("curl -O https://a.org/1 https://a.org/2", "show one on the screen"),
        ("curl https://a.org/1 https://a.org/2 > both", "show one on the screen"),
        ("curl 'https://a.org/[1-3]' -o x", "write one over the other"),
        ("curl -O 'https://a.org/[1-99999999]'", "more than 10,000 addresses"),
        ("wget https://a.org/{1..99999999}", "more than 10,000 words"),
        ("wget https://a.org/1 || wget https://b.org/1", "way out"),
        ("wget https://a.org/1 && rm other.csv", "removes other.csv"),
        ("wget https://a.org/1.zip && unzip 1.zip && rm 1.zip && mv 1 2", "runs mv"),
        ("wget https://a.org/?x=1&y=2 -O z", "put the address in quotes"),
        ("wget -i https://a.org/list.txt", "no such file here"),
        ("wget --no-c https://a.org/1", "--no-c"),
        ("wget --page-req https://a.org/1", "--page-req"),
        ("gsutil rsync -d -r gs://bucket/a b", "removes or leaves out files"),
        ("aria2c https://a.org/1.csv https://b.org/2.csv", "write -Z"),
    ],
)
def test_what_a_line_of_several_cannot_do_is_refused_by_name(line, said):
    """What would join, overwrite, show or lose files is no silent part of a line."""
    with pytest.raises(AddressError, match=said):
        open_source(line)
