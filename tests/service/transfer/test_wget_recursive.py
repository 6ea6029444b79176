"""wget -r and -m of a listed folder: the tree that wget leaves, beside nginx; and listings that lie."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from colabkit.errors import AccessError, AddressError, ColabKitError, NotFoundError, TransferError
from colabkit.testing.http import Fault
from colabkit.transfer import fetch
from colabkit.transfer.sources import web_folder

_spec = importlib.util.spec_from_file_location("nginx", Path(__file__).parents[2] / "support" / "nginx.py")
nginx = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(nginx)

FILES = (
    "files/db/1.0/a.csv",
    "files/db/1.0/b c.zip",
    "files/db/1.0/100%.csv",
    "files/db/1.0/é&+.csv",
    "files/db/1.0/q?x=1.csv",
    "files/db/1.0/sub/d.csv",
    "files/db/1.0/sub/page.html",
    "files/db/1.0/sub/deep/e.txt",
    "files/db/2.0/x.csv",
    "files/other/y.csv",
)


def _tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Run nginx with a tree that it lists."""
    if nginx.NGINX is None:
        pytest.skip(nginx.WHY_NOT)
    place = tmp_path_factory.mktemp("nginx")
    for name in FILES:
        path = place / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() if not name.endswith("html") else b"<!doctype html><title>A page</title>")
    with nginx.nginx(place / "run", place / "files", "location / { autoindex on; }") as address:
        yield address


LINES = """
wget -q -r -N -c -np U/files/db/1.0/
wget -q -r -np -nH U/files/db/1.0/
wget -q -r -np -nH --cut-dirs=2 U/files/db/1.0/ -P data
wget -q -r -np -nd U/files/db/1.0/
wget -qrnp -l1 U/files/db/1.0/
wget -q -r -np -l 2 -A '*.csv,*.zip' U/files/db/1.0/
wget -q -r -np -A csv U/files/db/1.0/
wget -q -r --no-parent --reject 'index.html*' -nH --cut-dirs=2 U/files/db/
wget -q -r -np -R 'index.html*' -R csv U/files/db/1.0/
wget -q -m -np -e robots=off U/files/db/1.0/
wget -q -r -np -R 'index.html*' -X /files/db/1.0/sub U/files/db/1.0/
wget -q -r -np U/files/db/1.0/a.csv
wget -q -r -np -nH --cut-dirs=3 -R 'index.html*' U/files/db/1.0/ U/files/other/
mkdir -p in && cd in && wget -q -r -np -nH U/files/db/2.0/ && wget -q U/files/other/y.csv
""".strip().splitlines()


@pytest.mark.parametrize("line", LINES)
def test_a_listed_folder_becomes_the_tree_that_wget_makes(listed, tmp_path, monkeypatch, line):
    """The same paths with the same bytes, the listings themselves included; the second call asks nobody."""
    if shutil.which("wget") is None:
        pytest.skip("wget is not installed")
    line = line.replace("U/", f"{listed}/")
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for place in (theirs, ours):
        place.mkdir()
    subprocess.run(["bash", "-ec", line], cwd=theirs, check=True, capture_output=True)
    monkeypatch.chdir(ours)
    path = fetch(f"!{line}", progress=False)
    assert _tree(ours) == _tree(theirs)
    assert path.exists()
    monkeypatch.setenv("COLABKIT_OFFLINE", "1")
    assert fetch(f"!{line}", progress=False) == path


APACHE = """<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html><head><title>Index of /data</title></head><body><h1>Index of /data</h1><table>
<tr><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><img src="/icons/back.gif" alt="[PARENTDIR]"></td><td><a href="/">Parent Directory</a></td><td>&nbsp;</td></tr>
ROWS</table><address>Apache/2.4.57 Server</address></body></html>"""
ROW = (
    '<tr><td><img src="/icons/unknown.gif" alt="[   ]"></td><td><a href="HREF">HREF</a></td>'
    '<td align="right">2024-01-01 10:00  </td><td align="right">SIZE </td></tr>\n'
)


def _page(*links: str) -> bytes:
    return APACHE.replace("ROWS", "".join(ROW.replace("HREF", link).replace("SIZE", " 18") for link in links)).encode()


def _list(server, path: str, *links: str) -> None:
    server.put(path, _page(*links), content_type="text/html;charset=UTF-8")


def test_a_listing_of_apache_is_read_without_the_links_that_sort_it(server, tmp_path, monkeypatch):
    """The parent, the icons, other hosts and ?C=N;O=D are no files."""
    links = ("a.csv", "sub/", "https://other.example.org/x.csv", "/elsewhere.csv", "../up.csv", "//h/x", "a.csv#top")
    _list(server, "data/", *links)
    _list(server, "data/sub/", "b.csv")
    server.put("data/a.csv", b"7")
    server.put("data/sub/b.csv", b"8")
    monkeypatch.chdir(tmp_path)
    place = fetch(f"wget -r -np -nH -R 'index.html*' {server.url('data/')}", progress=False)
    assert (place, _tree(tmp_path)) == (Path("data"), {"data/a.csv": b"7", "data/sub/b.csv": b"8"})
    assert {seen.path for seen in server.seen} == {
        "/robots.txt",
        "/data/",
        "/data/sub/",
        "/data/a.csv",
        "/data/sub/b.csv",
    }


def test_a_folder_that_was_interrupted_goes_on_at_the_very_file(server, tmp_path, monkeypatch):
    """What came whole is not fetched again."""
    _list(server, "data/", "a.csv", "b.csv")
    server.put("data/a.csv", b"7")
    server.put("data/b.csv", b"8", Fault(kind="status", status=404))
    monkeypatch.chdir(tmp_path)
    line = f"wget -r -np -nd -R 'index.html*' {server.url('data/')}"
    with pytest.raises(ColabKitError, match=r"b\.csv"):
        fetch(line, progress=False)
    assert not (tmp_path / "a.csv").exists()
    fetch(line, progress=False)
    assert _tree(tmp_path) == {"a.csv": b"7", "b.csv": b"8"}
    assert sum(seen.path == "/data/a.csv" for seen in server.seen) == 1


def test_a_login_and_headers_go_to_each_listing_and_file(server, tmp_path, monkeypatch):
    """As PhysioNet asks for the data of people who signed."""
    _list(server, "data/", "a.csv")
    server.put("data/a.csv", b"7")
    for name in ("data/", "data/a.csv"):
        server.resources[name].authorization = "Basic YWRhOmxvdmVsYWNl"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AccessError, match=r"401(.|\n)*--user"):
        fetch(f"wget -r -np -nH {server.url('data/')}", progress=False)
    fetch(f"wget -r -N -c -np -nd -A csv --user ada --password lovelace {server.url('data/')}", progress=False)
    assert (tmp_path / "a.csv").read_bytes() == b"7"


@pytest.mark.parametrize("href", ["%2e%2e%2fout.csv", "a%2fb.csv", "x%00.csv", "..%5cout.csv", "a%1b[31m.csv"])
def test_a_name_that_would_leave_its_folder_is_refused(server, tmp_path, monkeypatch, href):
    """Nothing is written anywhere."""
    _list(server, "data/", "a.csv", href)
    server.put("data/a.csv", b"7")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TransferError, match="is refused"):
        fetch(f"wget -r -np {server.url('data/')}", progress=False)
    assert _tree(tmp_path) == {}


def test_a_folder_without_an_end_is_bounded(server, tmp_path, monkeypatch):
    """Listings that lead into themselves end at wget's five levels, and -m at a limit that is told."""
    monkeypatch.setattr(web_folder, "DEEPEST", 7)
    for depth in range(12):
        _list(server, "data/" + "x/" * depth, "x/", "./", "a.csv")
        server.put("data/" + "x/" * depth + "a.csv", b"7")
    monkeypatch.chdir(tmp_path)
    place = fetch(f"wget -r -np -nH -A csv {server.url('data/')}", progress=False)
    assert len(_tree(place)) == 5
    with pytest.raises(TransferError, match="more than 7 deep"):
        fetch(f"wget -m -np -A csv {server.url('data/')}", progress=False)


def test_a_huge_listing_is_bounded(server, tmp_path, monkeypatch):
    """A million names are no folder that anybody wants."""
    monkeypatch.setattr(web_folder, "MOST_FILES", 50)
    _list(server, "data/", *(f"{number}.csv" for number in range(60)))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TransferError, match="more than 50 files"):
        fetch(f"wget -r -np {server.url('data/')}", progress=False)
    monkeypatch.setattr(web_folder, "LONGEST_LISTING", 1 << 10)
    with pytest.raises(TransferError, match="a listing has more than"):
        fetch(f"wget -r -np {server.url('data/')}", progress=False)


def test_what_robots_txt_forbids_is_told_and_not_left_out_in_silence(server, tmp_path, monkeypatch):
    """Wget leaves it out and exits with success; -e robots=off is its way, and ours."""
    _list(server, "data/", "a.csv")
    server.put("data/a.csv", b"7")
    server.put("robots.txt", b"User-agent: *\nDisallow: /data/\n", content_type="text/plain")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AccessError, match=r"robots\.txt(.|\n)*-e robots=off"):
        fetch(f"wget -r -np -nd -A csv {server.url('data/')}", progress=False)
    assert fetch(f"wget -r -np -nd -A csv -e robots=off {server.url('data/')}", progress=False)
    assert (tmp_path / "a.csv").read_bytes() == b"7"


@pytest.mark.parametrize(
    ("line", "error", "said"),
    [
        ("wget -r -np U/site/", AddressError, "no listing of a folder"),
        ("wget -r -np U/mixed/", AddressError, "-X /mixed/own"),
        ("wget -r -np U/gone/", NotFoundError, "404"),
        ("wget -r -np U/moved/", TransferError, "it leads to another place"),
        ("wget -r -np -A parquet U/mixed/ -X /mixed/own", NotFoundError, "no name fits"),
        ("wget -r -np -nH --cut-dirs=5 U/twice/", AddressError, "two files would become a.csv"),
        ("wget -r -O all U/mixed/", AddressError, "-O all"),
        ("wget -r -H U/mixed/", AddressError, "-H"),
        ("wget -r -k U/mixed/", AddressError, "-k"),
        ("wget -r -l many U/mixed/", AddressError, "-l"),
        ("wget -r -np --user ada --ask-password U/mixed/", AddressError, r"--user ada --password \{ck\.secret"),
        ("wget -x U/mixed/a.csv", AddressError, "-x"),
    ],
)
def test_what_is_no_listing_is_refused_in_words(server, tmp_path, monkeypatch, line, error, said):
    """A web site, a folder with a page of its own, a folder that moved, files that would lie over one another."""
    server.put("site/", b"<!doctype html><title>Ada's lab</title><a href='a.csv'>a</a>", content_type="text/html")
    _list(server, "mixed/", "a.csv", "own/")
    server.put("mixed/a.csv", b"7")
    server.put("mixed/own/", b"<!doctype html><title>Index</title>", content_type="text/html")
    _list(server, "twice/", "a.csv", "sub/")
    _list(server, "twice/sub/", "a.csv")
    server.put("moved/", b"", Fault(kind="redirect", location="/site/", times=9))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=said):
        fetch(line.replace("U/", server.url("")), progress=False)
    assert _tree(tmp_path) == {}
