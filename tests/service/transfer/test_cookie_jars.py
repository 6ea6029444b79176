"""Cookies that commands save: what fetch does about them, and the way out where a command signs in."""

import shutil
import subprocess

import pytest

from colabkit.errors import AddressError
from colabkit.testing.http import Fault, FaultServer
from colabkit.transfer import fetch
from colabkit.transfer.sources.registry import open_source

ID = "1ZXEhzbLRLU1giKKRJkjm8N04cO_JoYE2"
PAGE = f"https://drive.google.com/uc?export=download&id={ID}"
CONFIRM = "https://drive.google.com/uc?export=download&confirm=`awk '/download/ {print $NF}' ./cookie`" + f"&id={ID}"


@pytest.mark.parametrize(
    "line",
    [
        f'curl -c ./cookie -s -L "{PAGE}" > /dev/null\ncurl -Lb ./cookie "{CONFIRM}" -o best.pt',
        f'!curl -sc ./cookie "{PAGE}" > /dev/null && curl -Lb ./cookie "{CONFIRM}" -o best.pt',
        f'!curl -L -b ./cookie "{CONFIRM}" -o best.pt',
        f'%%bash\ncurl -c ./cookie -s -L "{PAGE}" > /dev/null\ncurl -Lb ./cookie "{CONFIRM}" -o best.pt',
    ],
)
def test_the_way_of_curl_around_the_page_before_a_large_file_of_drive_is_that_file(line):
    """The two lines that stand in hundreds of READMEs."""
    order = open_source(line)
    assert (order.source.shown, order.to, order.more) == (
        f"https://drive.google.com/file/d/{ID}/view",
        "best.pt",
        (),
    )


@pytest.mark.parametrize(
    "line",
    [
        "wget -q --load-cookies J --save-cookies J --keep-session-cookies U/a.csv",
        "curl -s -n -c J -b J -LO U/a.csv",
        "curl -s -c J -LO U/a.csv",
        "wget -q --save-cookies J -O b.csv U/a.csv",
    ],
)
@pytest.mark.parametrize("jar", ["absent", "empty", "full"])
def test_a_jar_of_the_commands_own_is_read_and_not_written(server, tmp_path, monkeypatch, caplog, line, jar):
    """As NASA's Earthdata says to; the first time the jar is not there yet."""
    caplog.set_level("INFO", logger="colabkit")
    server.put("a.csv", b"7,0,0")
    sent = {}
    for who in ("theirs", "ours"):
        folder = tmp_path / who
        folder.mkdir()
        monkeypatch.chdir(folder)
        text = {"empty": "", "full": "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tkey\t7\n"}.get(jar)
        if text is not None:
            (folder / "jar").write_text(text)
        command = line.replace("J", "jar").replace("U/", server.url(""))
        begun = len(server.seen)
        if who == "ours":
            assert fetch(command, progress=False).read_bytes() == b"7,0,0"
            assert (folder / "jar").exists() == (text is not None)
        elif shutil.which(line.split()[0]) is None:
            pytest.skip(f"{line.split()[0]} is not installed")
        else:
            subprocess.run(["bash", "-c", command], check=True, capture_output=True)
        sent[who] = {seen.headers.get("cookie") for seen in server.seen[begun:]}
    assert sent["ours"] == sent["theirs"]
    assert "no cookies are saved in jar" in caplog.text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "wget --keep-session-cookies --save-cookies=c.txt --post-data 'username=ada&password=b&s=Login' U/in/",
            r'run this line as it is, behind a "!", and then ck\.fetch\("wget --load-cookies c\.txt ADDRESS"\)',
        ),
        ("wget --save-cookies c.txt --post-data 'u=a' --delete-after U/login", "wget --load-cookies c.txt"),
        ("curl -c c.txt -d 'user=ada' U/login", "curl -b c.txt -O ADDRESS"),
        ("curl -c c.txt -o /dev/null U/login && curl -b c.txt -O U/a.zip", "curl -b c.txt -O ADDRESS"),
        ("curl --cookie-jar c.txt U/login > /dev/null", "curl -b c.txt -O ADDRESS"),
        ("wget --load-cookies none.txt U/a.zip", "run the line that signs in"),
        ("curl -b none.txt -O U/a.zip", "run the line that signs in"),
        ("wget --delete-after U/a.zip", "keeps nothing"),
    ],
)
def test_a_command_that_signs_in_is_refused_with_the_lines_that_do_it(tmp_path, monkeypatch, line, said):
    """The program itself makes the file of cookies, and fetch reads it; no password is repeated."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AddressError, match=said) as caught:
        open_source(line.replace("U/", "https://example.org/"))
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "wget -q --load-cookies jar --save-cookies jar --keep-session-cookies U/a.nc",
        "curl -s -n -c jar -b jar -LO U/a.nc",
        "wget -q U/a.nc",
    ],
)
def test_a_sign_in_on_the_way_of_redirects_gets_its_cookie_back(server, tmp_path, monkeypatch, line):
    """From the data to another host, back with a code, then to the file with the cookie, as Earthdata does it."""
    if shutil.which(line.split()[0]) is None:
        pytest.skip(f"{line.split()[0]} is not installed")
    sent = {}
    with FaultServer() as login:
        for who in ("theirs", "ours"):
            (tmp_path / who).mkdir()
            monkeypatch.chdir(tmp_path / who)
            _moves(server, "a.nc", login.url("oauth"))
            _moves(login, "oauth", server.url("back?code=1"))
            _moves(server, "back", server.url("a.nc"), set_cookie="DATA=7; Path=/; HttpOnly")
            begun, before = len(server.seen), len(login.seen)
            command = line.replace("U/", server.url(""))
            if who == "ours":
                assert fetch(command, progress=False).read_bytes() == b"7,0,0"
            else:
                subprocess.run(["bash", "-c", command], check=True, capture_output=True)
            sent[who] = [(seen.path, seen.headers.get("cookie")) for seen in server.seen[begun:]]
            assert [seen.headers.get("cookie") for seen in login.seen[before:]] == [None]
    assert sent["ours"] == sent["theirs"] == [("/a.nc", None), ("/back?code=1", None), ("/a.nc", "DATA=7")]


def _moves(server, name: str, location: str, *, set_cookie: str = "") -> None:
    headers = {"Location": location, **({"Set-Cookie": set_cookie} if set_cookie else {})}
    server.put(name, b"7,0,0", Fault(kind="status", status=302, headers=headers))
