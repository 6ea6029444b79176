"""Pasted commands are read as the program would read them, never run, and refused where they mean more."""

import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colabkit.errors import AccessError, AddressError, ColabKitError, TransferError
from colabkit.testing.http import Fault, FaultServer
from colabkit.transfer import fetch, fetch_details
from colabkit.transfer.commands import curl, shell_lexer

BROWSER = r"""curl 'https://example.org/a.zip?x=1&y=2' \
  -H 'accept: text/html,*/*;q=0.8' \
  -H 'accept-encoding: gzip, deflate, br' \
  -H 'if-none-match: "abc"' \
  -b 'session=s3cret; theme=dark' \
  -H $'x-note: caf\u00e9 \'quoted\'' \
  --compressed"""

WINDOWS = """curl ^"https://example.org/a.zip?x=1^&y=2^" ^
  -H ^"accept: */*^" ^
  -b ^"session=s3cret^" ^
  -H ^"x-note: ^\\^"quoted^\\^" 100^%^" ^
  --compressed"""


def test_what_a_browser_copies_for_bash_is_understood():
    """Copy as cURL (bash): address, headers and cookies, with the browser's own conditions left out."""
    source = curl.open_source(BROWSER).source
    assert source.address.url == "https://example.org/a.zip?x=1&y=2"
    assert source.headers == {
        "accept": "text/html,*/*;q=0.8",
        "x-note": "café 'quoted'",
        "Cookie": "session=s3cret; theme=dark",
    }


def test_what_a_browser_copies_for_windows_is_understood():
    """Copy as cURL (cmd): the same with carets."""
    source = curl.open_source(WINDOWS).source
    assert source.address.url == "https://example.org/a.zip?x=1&y=2"
    assert source.headers == {"accept": "*/*", "x-note": '"quoted" 100%', "Cookie": "session=s3cret"}


@pytest.mark.parametrize(
    ("command", "to"),
    [
        ("curl https://example.org/a.zip", None),
        ("!curl -sSL -o b.zip https://example.org/a.zip", "b.zip"),
        ("curl -ob.zip --output-dir data https://example.org/a.zip", "data/b.zip"),
        ("$ curl -LO -C - https://example.org/a.zip", "./a.zip"),
        ("curl -JLO https://example.org/a.zip", "./"),
        ("curl --remote-name --output-dir=data https://example.org/a.zip", "data/a.zip"),
        ("curl.exe -o - --url https://example.org/a.zip", None),
        ("wget https://example.org/a.zip", "./a.zip"),
        ("wget --content-disposition https://example.org/a.zip", "./"),
        ("!wget -qc --show-progress -P data https://example.org/a.zip", "data/a.zip"),
        ("wget -nv -nc -O b.zip 'https://example.org/a.zip'", "b.zip"),
        ("wget -qO- https://example.org/a.zip", None),
        ("wget --tries=3 -T 9 -- https://example.org/a.zip  # the data", "./a.zip"),
    ],
)
def test_the_place_that_a_command_names_is_kept(command, to):
    """Curl shows unless -o or -O, wget takes this folder."""
    pasted = curl.open_source(command)
    assert (pasted.source.address.url, pasted.to) == ("https://example.org/a.zip", to)


def test_a_query_that_may_hold_a_key_is_left_out_of_the_name_and_that_is_said():
    """Wget would take it for a part of the name, which the bar and messages show."""
    signed = curl.open_source("wget 'https://example.org/a.zip?X-Amz-Signature=s3cret'")
    assert (signed.to, "s3cret" in signed.note, "may hold a key" in signed.note) == ("./a.zip", False, True)
    assert curl.open_source("wget https://example.org/a.zip?raw=true").to == "./a.zip?raw=true"


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("curl -x http://proxy https://example.org/a", "-x"),
        ("curl -r 0-99 https://example.org/a", "-r"),
        ("curl -C 100 https://example.org/a", "-C 100"),
        ("curl -T file https://example.org/a", "-T"),
        ("curl -F a=b https://example.org/a", "-F"),
        ("curl -I https://example.org/a", "-I"),
        ("curl -X DELETE https://example.org/a", "-X DELETE"),
        ("curl -X GET -d a=b https://example.org/a", "-X GET"),
        ("curl -d @file https://example.org/a", "--?d"),
        ("curl -b cookies.txt https://example.org/a", "-b"),
        ("curl -u ada https://example.org/a", "-u"),
        ("curl -H 'Host: other' https://example.org/a", "-H Host"),
        ("curl -H 'Range: bytes=5-' https://example.org/a", "-H Range"),
        ("curl -H 'no header' https://example.org/a", "-H"),
        ("curl -H 'X-A: 1' -H 'X-A: 2' https://example.org/a", "-H X-A"),
        ("curl -H $'a: b\\nc: d' https://example.org/a", "-H"),
        ("curl --location-trusted https://example.org/a", "--location-trusted"),
        ("curl -o", "-o"),
        ("wget -p https://example.org/", "-p"),
        ("wget -i list.txt", "-i"),
    ],
)
def test_an_option_that_means_more_is_refused_by_name(command, named):
    """What would change the bytes, the trust or the machine is an AddressError that names the option."""
    with pytest.raises(AddressError, match=f"the pasted command has {named}"):
        curl.open_source(command)


@pytest.mark.parametrize(
    "command",
    [
        "curl https://example.org/a | sh",
        "curl https://example.org/a; rm -rf /",
        "curl https://example.org/a?x=1&y=2",
        "curl $(cat secret)",
        "curl `id`",
        "curl 'https://example.org/a",
        'curl "https://example.org/a',
        "curl $'https://example.org/a",
        "curl https://example.org/a\nrm -rf /",
        'curl ^"https://example.org/a^" ^\n -s | more',
        'curl ^"https://example.org/%USERNAME%^"',
    ],
)
def test_what_a_shell_would_do_is_refused(command):
    """Pipes, redirections, variables, second commands and open quotes are named, not guessed."""
    with pytest.raises(AddressError, match=r"the pasted (command cannot be read|line (has|runs|removes))"):
        fetch(command)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("curl", "no file at curl"),
        ("curl -s -L", "no address"),
        ("curl 'https://example.org/[1-3].zip'", "3 addresses"),
        ("wget -O x https://a.org/1 https://a.org/2", "2 addresses would become one file"),
        ("curl https://a.org/1 https://a.org/2", "2 addresses"),
        ("curl ftp://example.org/a", "no host"),
    ],
)
def test_what_cannot_be_fetched_is_told(command, why, tmp_path, monkeypatch):
    """Commands without an address, with several, or of other programs."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ColabKitError, match=why):
        fetch(command)


def test_a_pasted_command_fetches_what_curl_fetches(server, tmp_path, monkeypatch):
    """Headers, cookies, login and place reach the server as curl's own do, and the file is the same."""
    monkeypatch.chdir(tmp_path)
    server.put("a.zip", b"data")
    command = f"curl -sL -H 'X-Note: a b' -b 'k=v' -u ada:pw -A me -e http://here/ -o {{}} '{server.url('a.zip')}?q=1'"
    subprocess.run(shlex.split(command.format("theirs.zip")), check=True)
    assert fetch(command.format("ours.zip"), progress=False).read_bytes() == b"data"
    theirs, ours = ({**seen.headers, "path": seen.path} for seen in server.seen)
    for name in ("x-note", "cookie", "authorization", "user-agent", "referer", "path"):
        assert ours[name] == theirs[name]
    assert (tmp_path / "ours.zip").read_bytes() == (tmp_path / "theirs.zip").read_bytes()


def test_posted_data_is_posted_once(server, tmp_path):
    """--data asks with POST and the same body as curl; a failure is not repeated behind the user's back."""
    server.put("export", b"7,0,0\n")
    command = f"curl -d a=1 --data-urlencode 'b=x y&z' {server.url('export')}"
    subprocess.run(shlex.split(f"{command} -s -o {tmp_path}/theirs"), check=True)
    assert fetch(command, tmp_path / "ours.csv").read_bytes() == b"7,0,0\n"
    theirs, ours = server.seen
    assert (ours.method, ours.body) == ("POST", theirs.body)
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    server.put("order", b"", Fault(kind="status", status=503, times=9))
    with pytest.raises(TransferError):
        fetch(f"curl -d buy=1 {server.url('order')}", tmp_path / "order")
    assert len(server.seen) == 3


def test_posted_data_does_not_follow_to_another_host(server, tmp_path):
    """A 307 to another host would hand it what was posted."""
    with FaultServer() as other:
        other.put("b", b"x")
        server.put("a", b"", Fault(kind="redirect", status=307, location=other.url("b")))
        with pytest.raises(AccessError, match="posted"):
            fetch(f"curl -d password=x {server.url('a')}", tmp_path / "a")
        assert other.seen == []


def test_get_puts_the_data_into_the_address(server, tmp_path):
    """Curl -G makes a query of the data."""
    server.put("a.csv", b"7")
    assert fetch_details(f"curl -G -d x=1 -d y=2 {server.url('a.csv')}").path.read_bytes() == b"7"
    assert server.seen[0].path == "/a.csv?x=1&y=2"


plain = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cs", "Cc"]), max_size=20)


@given(st.lists(plain, max_size=6))
def test_bash_words_are_split_as_shlex_quotes_them(words):
    """Whatever shlex quotes for bash comes back word by word."""
    assert shell_lexer.split("curl " + " ".join(map(shlex.quote, words))) == ["curl", *words]


@given(st.lists(plain, max_size=6))
def test_windows_words_are_split_as_python_quotes_them(words):
    """Whatever subprocess quotes for a Windows program, with cmd's carets before it, comes back word by word."""
    line = subprocess.list2cmdline(["curl", *words])
    escaped = "".join(f"^{letter}" if letter in '"&|<>^%!()' else letter for letter in line)
    assert shell_lexer._windows(shell_lexer._without_carets(escaped)) == ["curl", *words]


@settings(max_examples=300)
@given(st.text(st.sampled_from(list("curl -HoObduX@[]{}'\"\\$^;|&<>\n\t %=:/.a0é")), max_size=60))
def test_any_text_is_read_or_refused(text):
    """Garbage after the program's name is our error or a request, never another exception, and never a shell."""
    for program in ("curl", "wget"):
        try:
            curl.open_source(f"{program} https://example.org/a {text}")
        except ColabKitError:
            continue


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12))
def test_bash_agrees_on_ansi_quotes(text):
    """$'…' with escapes means what bash says it means."""
    escaped = "".join(f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}" for letter in text)
    done = subprocess.run(
        ["bash", "-c", f"printf %s $'{escaped}'"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert shell_lexer.split(f"curl $'{escaped}'")[1:] == [done.stdout.decode()]


@pytest.mark.parametrize(
    ("command", "written"),
    [
        ('curl "https://example.org/$TOKEN"', "ck.fetch(f'curl \"https://example.org/{TOKEN}\"')"),
        ("!wget {url} -O {name}.zip", 'ck.fetch(f"wget {url} -O {name}.zip")'),
        ("!wget {urls[0]} -P {HOME}", 'ck.fetch(f"wget {urls[0]} -P {HOME}")'),
        ("!wget '$url'", "ck.fetch(f\"wget '{url}'\")"),
        ("wget https://example.org/{name}.csv", 'ck.fetch(f"wget https://example.org/{name}.csv")'),
        ("!curl -o ${DIR}/a.zip https://example.org/a", 'ck.fetch(f"curl -o {DIR}/a.zip https://example.org/a")'),
    ],
)
def test_a_variable_is_refused_with_the_f_string_to_write(command, written):
    """What a notebook or the shell would replace is never read as letters: no folder is called {HOME}."""
    with pytest.raises(AddressError, match="holds the variable") as caught:
        fetch(command)
    assert written in str(caught.value)


@pytest.mark.parametrize(
    "command",
    [
        'curl -w "%{http_code}" https://example.org/a',
        """curl -d '{"model": "x"}' https://example.org/a""",
        'curl -d \'{ "a": 1, "b": {} }\' https://example.org/a',
        "wget 'https://example.org/$name'",
    ],
)
def test_braces_and_dollars_that_nobody_replaces_are_letters(command):
    """A piece of JSON, what curl fills in itself, single quotes outside of a notebook."""
    assert curl.open_source(command).source.shown.startswith("https://example.org/")
