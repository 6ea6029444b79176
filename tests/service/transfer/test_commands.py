"""Pasted lines make the files that the real programs make, in the same places, or are refused in words."""

import gzip
import io
import os
import re
import subprocess
import tarfile
from pathlib import Path
from shutil import which

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colabkit.errors import AddressError, ColabKitError, ExistsError
from colabkit.testing.http import FaultServer
from colabkit.testing.kaggle import packed
from colabkit.transfer import fetch, fetch_details
from colabkit.transfer.sources.registry import open_source

FILES = {"a.csv": b"7,0,0", "sub/b.csv": b"seven"}


def _tar(mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{mode}") as made:
        for name, data in FILES.items():
            info = tarfile.TarInfo(f"top/{name}")
            info.size = len(data)
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture(scope="module")
def site():
    """Serve a file, a zip and tars."""
    with FaultServer() as server:
        server.put("a.csv", b"7,0,0")
        server.put("data.zip", packed(FILES))
        server.put("data.tar.gz", _tar("gz"))
        server.put("download", _tar("gz"))
        server.put("data.tar", _tar(""))
        for name in ("packed", "one.csv.gz"):
            server.put(name, gzip.compress(b"7,0,0"))
        yield server


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


# Behind "|" the programs that must be there to compare with.
LINES = """
wget -q URL/a.csv
wget URL/a.csv -P data
wget URL/a.csv -P data/
wget -P data/in URL/a.csv -q
wget -O b.csv URL/a.csv
wget -qO b.csv URL/a.csv
wget -O data.d/b.csv URL/a.csv
wget -qnc URL/a.csv
wget -nc URL/a.csv -O old.txt
wget -nd -c URL/a.csv
wget -q --no-parent -nH URL/a.csv --directory-prefix=data
wget -qO- URL/data.tar.gz | tar xz
wget -qO- URL/data.tar.gz | tar xz -C data.d
wget -O - URL/data.tar.gz | tar -xzf - -C data.d --strip-components=1
wget -q URL/data.zip && unzip -q data.zip
wget -q URL/data.zip && unzip -q data.zip -d data && rm data.zip
wget -q URL/data.zip -O x.zip; unzip -qo x.zip -d data.d
wget -q URL/data.tar.gz && tar xzf data.tar.gz && rm -f data.tar.gz
wget URL/a.csv > /dev/null 2>&1
mkdir -p data && cd data && wget -q URL/a.csv
sudo wget -q URL/a.csv
curl -sO URL/a.csv
curl -LO URL/a.csv --silent
curl -s URL/a.csv -o b.csv
curl -s URL/a.csv > b.csv
curl -sS --create-dirs -o data/b.csv URL/a.csv
curl -s URL/a.csv | tee b.csv
curl -fsSL URL/data.tar | tar x -C data.d
curl -s URL/data.tar.gz | tar -xz -C data.d
curl -s URL/packed | gunzip > b.csv
curl -s URL/packed | gzip -d > b.csv
curl -s URL/data.tar.gz | gunzip > data.tar
wget -q URL/one.csv.gz && gunzip one.csv.gz
wget -q URL/one.csv.gz && gunzip -k one.csv.gz
wget -q URL/packed -O one.gz; gunzip -f one.gz
curl -sL URL/data.tar.gz | tar -zxvC data.d
curl -so download URL/download && tar -zxf download
aria2c -q -x 16 -s 16 -k 1M -c URL/a.csv -d data -o b.csv
aria2c --console-log-level=error -c -x16 -s16 URL/a.csv
aria2c -q URL/a.csv -o b.csv
aria2c -q --dir=data URL/a.csv
aria2c -q --allow-overwrite=true --summary-interval=0 -Z URL/a.csv
""".strip().splitlines()


@pytest.mark.parametrize("line", LINES)
def test_a_line_makes_what_the_real_programs_make(site, tmp_path, monkeypatch, line):
    """The same files in the same places with the same bytes, whether the folders are there or not."""
    line = line.replace("URL", site.url("").rstrip("/"))
    needed = [name for name in ("wget", "curl", "aria2c", "unzip", "tar") if f"{name} " in line]
    if missing := [name for name in needed if which(name) is None]:
        pytest.skip(f"{', '.join(missing)} is not installed")
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for place in (theirs, ours):
        (place / "data.d").mkdir(parents=True)
        (place / "old.txt").write_bytes(b"old")
    plain = line.removeprefix("sudo ")
    done = subprocess.run(["bash", "-c", plain], cwd=theirs, check=False, capture_output=True, timeout=60)
    assert done.returncode == 0 or "old.txt" in line  # which wget leaves alone, and says so by its exit code
    monkeypatch.chdir(ours)
    first = fetch(f"!{line}")
    assert _tree(ours) == _tree(theirs)
    assert first.exists()
    if not re.search("rm |gunzip", line) and "old.txt" not in line:
        monkeypatch.setenv("COLABKIT_OFFLINE", "1")
        assert fetch(f"!{line}").resolve() == first.resolve()  # run again, it asks nobody
        assert _tree(ours) == _tree(theirs)


LOCAL = """
unzip data.zip
unzip -q data.zip -d out
unzip -qq data -d out
unzip -o data.zip -d old
unzip -nq data.zip -d old
unzip -q *.zip
tar -xzf data.tar.gz
tar xvzf data.tar.gz -C old
tar -xf data.tar.gz -C old --strip-components 1
tar --extract --verbose --file="data.tar.gz" --directory="old" --preserve-permissions
tar -zxvf download
gunzip -k one.csv.gz
gunzip -kf one.csv.gz
gunzip -k one.csv
""".strip().splitlines()


@pytest.mark.parametrize("line", LOCAL)
def test_an_archive_of_this_machine_is_unpacked_where_the_program_does(tmp_path, monkeypatch, line):
    """Beside what is there; -o replaces, -n leaves alone."""
    program = line.split()[0]
    if which(program) is None:
        pytest.skip(f"{program} is not installed")
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    archive, one, tree = packed(FILES), gzip.compress(b"7,0,0"), _tar("gz")  # once: they hold the time
    for place in (theirs, ours):
        (place / "old").mkdir(parents=True)
        (place / "old" / "a.csv").write_bytes(b"mine")
        (place / "data.zip").write_bytes(archive)
        for name in ("data.tar.gz", "download"):
            (place / name).write_bytes(tree)
        (place / "one.csv.gz").write_bytes(one)
    subprocess.run(["bash", "-c", line], cwd=theirs, check=True, capture_output=True, timeout=60)
    monkeypatch.chdir(ours)
    if "strip" in line:  # tar replaces without a question, fetch asks for one
        with pytest.raises(ExistsError, match=r"a\.csv(.|\n)*overwrite=True"):
            fetch(f"!{line}")
        fetch(f"!{line}", overwrite=True)
    else:
        fetch(f"!{line}")
    assert _tree(ours) == _tree(theirs)


@pytest.mark.parametrize("program", ["gunzip", "gzip -d", "bunzip2", "unxz", "unzstd"])
def test_a_file_without_the_suffix_is_passed_over_in_words(tmp_path, monkeypatch, program):
    """As the programs do, which exit with an error; the file stays as it is, and is not called damaged."""
    monkeypatch.chdir(tmp_path)
    Path("s.csv").write_bytes(b"7,0,0")
    with pytest.raises(AddressError, match=r"does not unpack s\.csv\n.*suffix such as") as caught:
        fetch(f"!{program} s.csv")
    assert "unpacked already" in caught.value.hint
    assert _tree(tmp_path) == {"s.csv": b"7,0,0"}


def test_what_gunzip_would_take_away_stays_and_is_told(tmp_path, monkeypatch, caplog):
    """No file of the user is removed; a line says so before it begins."""
    caplog.set_level("INFO", logger="colabkit")
    monkeypatch.chdir(tmp_path)
    Path("s.csv.gz").write_bytes(gzip.compress(b"7,0,0"))
    assert fetch("!gunzip s.csv.gz").read_bytes() == b"7,0,0"
    assert "s.csv.gz stays where it is; gunzip would take it away" in caplog.text
    assert Path("s.csv.gz").exists()


def test_a_certificate_is_checked_whatever_the_command_says(site, tmp_path, monkeypatch, caplog):
    """-k and --no-check-certificate are ignored aloud; where the check fails the option is named."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", logger="colabkit")
    for line in (f"wget --no-check-certificate {site.url('a.csv')}", f"curl -kso b.csv {site.url('a.csv')}"):
        assert fetch(line).read_bytes() == b"7,0,0"
    assert "--no-check-certificate is ignored" in caplog.text
    assert "-k is ignored" in caplog.text


def test_a_place_that_is_named_beside_the_command_counts(site, tmp_path):
    """to= wins: the archive is unpacked there, as that of an address."""
    line = f"!wget -q {site.url('data.zip')} && unzip -q data.zip -d elsewhere"
    assert _tree(fetch(line, tmp_path / "mine")) == FILES
    assert not Path("elsewhere").exists()


@pytest.mark.parametrize("line", ["aria2c -q -i list.txt", "aria2c -q -x4 -j2 --input-file=list.txt -d data -o no"])
def test_a_list_of_aria2c_makes_what_aria2c_makes(site, tmp_path, monkeypatch, line):
    """Addresses, mirrors behind a tab, comments, and the options of each file in the lines below it."""
    if which("aria2c") is None:
        pytest.skip("aria2c is not installed")
    address = site.url("a.csv")
    listed = f"# mine\n{address}\t{address}\n\n{address}\n  out=b.csv\n{address}\n\tdir=more/deep\n  out=c.csv\n"
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    for place in (theirs, ours):
        place.mkdir()
        (place / "list.txt").write_text(listed)
    subprocess.run(line.split(), cwd=theirs, check=True, capture_output=True, timeout=60)
    monkeypatch.chdir(ours)
    fetch(f"!{line}")
    assert _tree(ours) == _tree(theirs)


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ("{}\n  checksum=sha-256=" + "0" * 64, "sha256"),
        ("{}\n  bt-tracker=x", "bt-tracker"),
        ("magnet:?xt=urn:btih:1", "another protocol"),
        ("# nothing", "no address"),
        ("{}\n  input-file=list.txt", "a list in a list"),
    ],
)
def test_a_list_of_aria2c_is_held_to_what_it_says(site, tmp_path, monkeypatch, listed, said):
    """Its checksums are checked, and what is not known in it is refused by name."""
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text(listed.format(site.url("a.csv")))
    with pytest.raises(ColabKitError, match=said):
        fetch("aria2c -i list.txt")
    assert _tree(tmp_path).keys() == {"list.txt"}


def test_a_checksum_of_the_command_is_checked(site, tmp_path, monkeypatch):
    """aria2c's --checksum is what checksum= is."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ColabKitError, match="sha256"):
        fetch(f"aria2c --checksum=sha-256={'0' * 64} {site.url('a.csv')}")
    assert _tree(tmp_path) == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("!wget -qO- https://get.example.org | bash", r"\| bash"),
        ("!curl -O https://example.org/a.sh && bash a.sh", "runs bash behind the download"),
        ("!wget https://example.org/a.zip; rm -rf data", "removes data"),
        ("!wget https://example.org/a?x=1&y=2", "put the address in quotes"),
        ("!wget https://example.org/a >> log", ">> log"),
        ("!wget -p https://example.org/", "-p"),
        ("!curl -o /dev/null https://example.org/a", "keeps nothing"),
        ('!curl -H "A: $(gcloud auth print-access-token)" https://example.org/a', "would replace"),
        ("!git clone https://github.com/ada/digits", r'ck\.fetch\("github:ada/digits", to="digits"\)'),
        ("!git clone -b v2 https://github.com/ada/digits.git x", r'"github:ada/digits@v2", to="x"'),
        ("!git clone https://huggingface.co/ada/net", r'ck\.fetch\("hf:ada/net", to="net"\)'),
        ("!git lfs install", "git lfs"),
        ("!pip install polars", "ck.install"),
        ("pip install polars", "ck.install"),
        ("!apt-get install -y aria2", "in a line of its own"),
        ("!aws s3 cp s3://bucket/a .", "https address"),
        ("!unrar x a.rar", "not supported"),
        ("!tar czf a.tgz data", "makes an archive"),
        ("!tar tf a.tgz", "only lists"),
        ("!unzip -P secret a.zip", "-P"),
        ("!7z x data.7z.001", "volumes"),
        ("!gzip a.csv", "packs"),
        ("!gdown --proxy x 1ZXEhzbLRLU1giKKRJkjm8N04cO_JoYE2", "--proxy"),
        ("!gdown", "0 files"),
        ("!aria2c -i list.txt", "-i"),
        ("!aria2c magnet:?xt=urn:btih:1", "another protocol"),
        ("!kaggle datasets list", "not a command that fetches"),
        ("!gsutil cp a.csv gs://bucket/a.csv", r'ck\.push\("a\.csv", "gs://bucket/a\.csv"\)'),
        ("!mkdir data", "only makes or enters a folder"),
        ("!python train.py", "in a line of its own"),
    ],
)
def test_what_fetch_does_not_do_is_refused_with_its_way(line, said):
    """Each names the program or the option, and says what to do; nothing is run."""
    with pytest.raises(AddressError, match=said) as caught:
        fetch(line)
    assert caught.value.hint
    assert "no file at" not in str(caught.value)


ID = "1ZXEhzbLRLU1giKKRJkjm8N04cO_JoYE2"
_AROUND_THE_PAGE = (
    '!wget --load-cookies /tmp/cookies.txt "https://docs.google.com/uc?export=download&confirm=$(wget --quiet '
    f"--save-cookies /tmp/cookies.txt 'https://docs.google.com/uc?export=download&id={ID}' -O- | sed -rn "
    rf"'s/.*confirm=([0-9A-Za-z_]+).*/\1\n/p')&id={ID}"
    '" -O best.pt && rm -rf /tmp/cookies.txt'
)


@pytest.mark.parametrize(
    ("line", "page", "to", "placing"),
    [
        (f"!gdown {ID}", f"file/d/{ID}/view", ".", "folder"),
        (f"!gdown --id {ID} -O a.csv", f"file/d/{ID}/view", "a.csv", "file"),
        (f"!gdown 'https://drive.google.com/uc?id={ID}' --output data/", f"file/d/{ID}/view", "data/", "folder"),
        (f"!gdown --fuzzy https://drive.google.com/file/d/{ID}/view?usp=sharing", f"file/d/{ID}/view", ".", "folder"),
        (f"!gdown https://drive.google.com/uc?id={ID}&export=download", f"file/d/{ID}/view", ".", "folder"),
        (f"!gdown --folder {ID} -O out", f"drive/folders/{ID}", "out", "contents"),
        (
            f"!gdown https://drive.google.com/drive/folders/{ID}?usp=sharing -O out/",
            f"drive/folders/{ID}",
            "out/",
            "folder",
        ),
        (f"!wget 'https://docs.google.com/uc?export=download&id={ID}' -O a.jpg", f"file/d/{ID}/view", "a.jpg", "file"),
        (
            _AROUND_THE_PAGE,
            f"file/d/{ID}/view",
            "best.pt",
            "file",
        ),
    ],
)
def test_lines_that_fetch_from_drive_name_the_file_and_its_place(line, page, to, placing):
    """Gdown's commands, and the well-known ways around the page that stands before a large file."""
    order = open_source(line)
    assert (order.source.shown, order.to, order.placing) == (f"https://drive.google.com/{page}", to, placing)


@pytest.mark.parametrize(
    ("text", "shown", "to", "placing"),
    [
        (f'gdown.download("https://drive.google.com/uc?id={ID}", "a.csv", quiet=False)', f"{ID}/view", "a.csv", "file"),
        (f"path = gdown.download(id='{ID}', output='d/', fuzzy=True)", f"{ID}/view", "d/", "folder"),
        (f'gdown.download_folder(id="{ID}", output="d", use_cookies=False)', f"folders/{ID}", "d", "contents"),
        ('p = kagglehub.dataset_download("ada/digits")', "kaggle:ada/digits", None, "as named"),
        ("kagglehub.competition_download('titanic', output_dir='d')", "kaggle:competitions/titanic", "d", "contents"),
        (
            'kagglehub.model_download("g/gemma/keras/2b/3", path="a.h5")',
            "kaggle:models/g/gemma/keras/2b/3/a.h5",
            None,
            "as named",
        ),
        ('f = hf_hub_download(repo_id="ada/net", filename="a.bin")', "hf:ada/net/a.bin", None, "as named"),
        ('hf_hub_download("ada/x", "a.csv", repo_type="dataset")', "hf:datasets/ada/x/a.csv", None, "as named"),
        (
            'huggingface_hub.snapshot_download("ada/net", local_dir="m", allow_patterns="*.json")',
            "hf:ada/net/*.json",
            "m",
            "contents",
        ),
        ('urllib.request.urlretrieve("https://a.org/x.tgz", "y.tgz")', "https://a.org/x.tgz", "y.tgz", "as named"),
        ("wget.download('https://a.org/x.tgz')", "https://a.org/x.tgz", ".", "folder"),
        (
            "keras.utils.get_file('x.tgz', 'https://a.org/x.tgz', cache_dir='d')",
            "https://a.org/x.tgz",
            "d/datasets",
            "folder",
        ),
        ('od.download("https://www.kaggle.com/datasets/ada/digits")', "kaggle:ada/digits", ".", "folder"),
    ],
)
def test_a_call_of_another_library_is_read(text, shown, to, placing):
    """With its arguments written out it names the same files and place."""
    order = open_source(text)
    assert order.source.shown.endswith(shown)
    assert (order.to, order.placing) == (to, placing)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gdown.download(url, output)", r"variable url, output(.|\n)*ck\.fetch\(f\"gdown"),
        ("urlretrieve(url, DATA / name)", r"variable url, DATA / name(.|\n)*ck\.fetch\(url, to=DATA / name\)"),
        ('load_dataset("imdb", split="train")', r'ck\.fetch\("hf:datasets/imdb"\)'),
        ('hf_hub_download("ada/net", filename=name)', "variable name"),
        ('gdown.download("https://drive.google.com/uc?id=1", cookies="x")', "'cookies'"),
        ("gdown.download(", "cannot be read"),
        ("gdown.download(*args)", "cannot be read"),
        ("kagglehub.login()", "KAGGLE_API_TOKEN"),
        ("image = Image.open(requests.get(url).raw)", "is a line of Python"),
    ],
)
def test_a_call_that_cannot_be_read_is_refused_with_its_way(text, said):
    """A variable, an argument that means more, half a line."""
    with pytest.raises(AddressError, match=said):
        open_source(text)


@given(st.text(alphabet="|&;<>() \n'\"$`\\-qOPxzfCd./a1!#{}=*", max_size=60))
def test_any_line_is_read_or_refused(text):
    """Operators, quotes and options in any order are an order or our error, and never read from the disk."""
    programs = ("wget https://example.org/a.zip", "unzip a.zip", "tar xzf a.tgz", "aria2c", "gdown", "7z x a.7z")
    for line in (*(f"!{program} {text}" for program in programs), f"gdown.download({text}", f"hf:ada/{text}"):
        try:
            open_source(line)
        except ColabKitError:
            continue


_ABOVE = [folder / "shared" / "corpus" for folder in Path(__file__).parents[4:6]]
CORPUS = next((folder for folder in _ABOVE if folder.is_dir()), _ABOVE[0])
_KINDS = {
    "wget": "wget",
    "curl": "curl",
    "kaggle": "kaggle_cli",
    "gsutil": "gsutil gcloud_storage",
    "others": "gdown_cli aria2c hf_cli git_clone git_lfs unpack",
    "calls": "gdown_py kagglehub hf_snapshot opendatasets keras_get_file wget_py urlretrieve",
}


@pytest.mark.parametrize(
    ("line", "address", "to"),
    [
        ("gdown.download(id=fid, output=out + os.sep, quiet=False)", f"{ID}/view", "data/"),
        (f'gdown.download("https://drive.google.com/uc?id={ID}", name)', f"{ID}/view", "a.csv"),
        ('od.download("https://www.kaggle.com/datasets/ada/x", data_dir=out)', "ada/x", "data"),
        ("kagglehub.dataset_download(handle)", "ada/digits", None),
        ("kagglehub.model_download(f'google/gemma/Flax/{variant}')", "google/gemma/Flax/2b", None),
        ('snapshot_download("ada/digits", local_dir=out, repo_type="dataset")', "hf:datasets/ada/digits", "data"),
        ("tf.keras.utils.get_file(name, ROOT + name, cache_dir='.', cache_subdir='')", "https://x.org/a.csv", "./"),
    ],
)
def test_a_call_with_variables_tells_the_line_that_does_the_same(line, address, to):
    """The hint is a line of Python; what it gives to fetch is read, with the values in their places."""
    values = {"fid": ID, "out": "data", "name": "a.csv", "handle": "ada/digits", "variant": "2b"}
    with pytest.raises(AddressError) as caught:
        open_source(line)
    written = caught.value.hint.partition("ck.fetch(")[2].removesuffix(")")
    order = open_source(eval(written, {**values, "os": os, "ROOT": "https://x.org/"}))  # noqa: S307 - of this file
    assert (address in order.source.shown, order.to) == (True, to)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the collection of lines from public notebooks is not on this machine")
@pytest.mark.parametrize("kind", _KINDS)
def test_lines_of_public_notebooks_are_understood_or_refused_in_words(kind):
    """Of each kind nothing is taken for a file of this machine, and no variable for letters."""
    lines = [
        line
        for name in _KINDS[kind].split()
        for line in (CORPUS / f"{name}.txt").read_text().splitlines()
        if line.strip()
    ]
    wrong = [line for line in lines if not _is_understood(line) and not _is_refused_well(line)]
    assert wrong == []


def _is_understood(line: str) -> bool:
    try:
        order = open_source(line)
    except AddressError:
        return False
    if isinstance(order.source, Path):
        return order.unpack is True
    return not {"{", "}", "$"} & set(f"{order.source.shown} {order.to}")


def _is_refused_well(line: str) -> bool:
    try:
        open_source(line)
    except AddressError as error:
        return bool(error.hint) and "no file at" not in str(error)
    return False


def test_the_second_line_finds_what_the_first_unpacked(site, tmp_path, monkeypatch):
    """The cache knows the contents of a folder, too."""
    monkeypatch.chdir(tmp_path)
    line = f"!wget -qO- {site.url('data.tar.gz')} | tar xz"
    assert not fetch_details(line).from_cache
    assert fetch_details(line).from_cache
    (tmp_path / "top" / "a.csv").unlink()
    assert not fetch_details(line).from_cache
    assert _tree(tmp_path) == {f"top/{name}": data for name, data in FILES.items()}


@pytest.mark.parametrize(
    "line",
    [
        "7z x -phunter2 a.7z",
        "unzip -Phunter2 a.zip",
        "tar -I 'openssl enc -d -k hunter2' -xf a.tar",
        "wget -e http_password=hunter2 https://example.org/a",
        "wget -i https://me:hunter2@example.org/list.txt",
        "curl -O 'https://me:hunter2@example.org/[1-99999999]'",
        "!printf 'hunter2' > key && kaggle datasets download a/b",
        "!echo hunter2 | docker login",
        "!cd /x && export KEY=hunter2 && wget https://example.org/a",
        "sshpass -phunter2 scp me@example.org:/x .",
        "!megadl https://mega.nz/#!hunter2",
        "!kaggle auth hunter2",
        "wandb login hunter2",
        "https:/me:hunter2@example.org/x",
        "https//me:hunter2@example.org/x",
        "me:hunter2@example.org/x",
        "login('hunter2')",
    ],
)
def test_a_refusal_repeats_no_password_of_the_line(line, tmp_path, monkeypatch):
    """Users paste what they typed; what stands where passwords stand is in no message."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ColabKitError) as caught:
        fetch(line, progress=False)
    assert "hunter2" not in str(caught.value)
