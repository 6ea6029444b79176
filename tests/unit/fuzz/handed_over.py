"""Parsers of what people hand to one another or keep at home: packed runs, `.env`, `kaggle.json`, `~/.netrc`."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from pathlib import Path

from colabkit._clients.kaggle import auth as kaggle_auth
from colabkit._http import netrc_file
from colabkit.checkpoint import open_run
from colabkit.checkpoint.management import pack
from colabkit.runtime import env_file


def unpacked(data, folder):
    """Take a run out of a file."""
    path, to = Path(folder, "a.run.zip"), Path(folder, "unpacked")
    path.write_bytes(data)
    shutil.rmtree(to, ignore_errors=True)
    pack.unpack(path, to)


def packed():
    """Pack a small run."""
    with tempfile.TemporaryDirectory() as folder:
        run = open_run(Path(folder, "run"))
        run.save({"x": 1.0}, step=3, metrics={"loss": 0.5})
        run.close()
        return pack.pack(Path(folder, "run"), Path(folder, "made.run.zip")).path.read_bytes()


def forged_pack(random, data):
    """Change the list of what is in it, or a file, with the hash that belongs to it."""
    from tests.unit.fuzz.mutate import mutated, mutated_json

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    listed = json.loads(members[pack.MANIFEST])
    victim = random.choice(sorted(set(members) - {pack.MANIFEST}))
    members[victim] = mutated(random, members[victim])
    for entry in listed.get("files", {}).values() if isinstance(listed.get("files"), dict) else ():
        if isinstance(entry, dict) and "sha256" in entry and random.random() < 0.5:
            entry["sha256"] = hashlib.sha256(members[victim]).hexdigest()
    if random.random() < 0.7:
        listed = mutated_json(random, listed)
    members[pack.MANIFEST] = json.dumps(listed).encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(random.choice([name] * 20 + [f"../{name}", f"/{name}", name.upper()]), content)
    return out.getvalue()


def from_env_file(data, folder):
    """Look a name up."""
    path = Path(folder, ".env")
    path.write_bytes(data)
    for name in ("HF_TOKEN", "A", ""):
        env_file.read(path, name)


def from_key_file(data, folder):
    """Read the login of kaggle.json."""
    home = Path(folder, "kaggle")
    home.mkdir(exist_ok=True)
    (home / "kaggle.json").write_bytes(data)
    list(kaggle_auth.logins({"KAGGLE_CONFIG_DIR": str(home), "HOME": str(folder)}))


def from_netrc(data, folder):
    """Read a login."""
    path = Path(folder, ".netrc")
    path.write_bytes(data)
    netrc_file._hosts.cache_clear()
    netrc_file._hosts(str(path), 1)


def targets():
    """Give the parsers, each with sound examples."""
    return {
        "packed run": (unpacked, [packed()]),
        "env file": (from_env_file, [b"export HF_TOKEN='hf_x' # mine\nA=\"b\\n\"\nB=c\n"]),
        "kaggle.json": (from_key_file, [b'{"username": "ada", "key": "0123456789abcdef"}']),
        "netrc": (
            from_netrc,
            [b"machine a.org login ada password x\nmacdef init\n ls\n\ndefault login b password c\n"],
        ),
    }


FORGERS = {"packed run": forged_pack}
JSON = {"kaggle.json"}
