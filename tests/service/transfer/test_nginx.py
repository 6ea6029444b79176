"""The same against Debian's nginx, with habits that no double of ours has: no Accept-Ranges on a 206, limit_conn."""

import hashlib
import importlib.util
import time
from pathlib import Path

import pytest

from colabkit.errors import AccessError
from colabkit.transfer import fetch

_spec = importlib.util.spec_from_file_location("nginx", Path(__file__).parents[2] / "support" / "nginx.py")
nginx = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(nginx)

pytestmark = pytest.mark.skipif(nginx.NGINX is None, reason=nginx.WHY_NOT)

MIB = 1 << 20
LOCATIONS = """
location /fast/ { alias FILES/; }
location /slow/ { alias FILES/; limit_rate 2m; }
location /whole/ { alias FILES/; max_ranges 0; }
location /few/ { alias FILES/; limit_rate 4m; limit_conn few 2; }
location /auth/ { alias FILES/; auth_basic "x"; auth_basic_user_file FILES/users; }
location /gzip/ { alias FILES/; gzip on; gzip_types *; gzip_min_length 1; }
location /moved/ { return 302 /fast/a.bin; }
"""


@pytest.fixture
def web(tmp_path, blob):
    """Run nginx with a file of 24 MiB, an empty one and a text."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "a.bin").write_bytes(blob(24 * MIB))
    (files / "empty").write_bytes(b"")
    (files / "a.csv").write_bytes(b"7,0,0\n" * 50_000)
    (files / "users").write_text("ada:{PLAIN}lovelace\n")
    with nginx.nginx(tmp_path / "nginx", files, LOCATIONS) as address:
        yield address


@pytest.mark.parametrize("way", ["fast", "slow", "whole", "few", "moved"])
def test_every_way_gives_the_right_file(web, tmp_path, way):
    """Fast, throttled, without ranges, two connections at most, after a redirect."""
    expected = hashlib.sha256((tmp_path / "files" / "a.bin").read_bytes()).hexdigest()
    path = fetch(f"{web}/{way}/a.bin", tmp_path / "out.bin", checksum=f"sha256:{expected}")
    assert path.stat().st_size == 24 * MIB


def test_a_throttled_server_is_fetched_over_many_connections(web, tmp_path):
    """24 MiB at 2 MiB/s a connection would take 12 s over one."""
    begun = time.monotonic()
    fetch(f"{web}/slow/a.bin", tmp_path / "out.bin")
    assert time.monotonic() - begun < 6


def test_empty_and_compressed_files_come_as_they_are(web, tmp_path):
    """An empty file is empty; one that nginx would compress is the plain one."""
    assert fetch(f"{web}/fast/empty", tmp_path / "empty").read_bytes() == b""
    assert fetch(f"{web}/gzip/a.csv", tmp_path / "a.csv").read_bytes() == b"7,0,0\n" * 50_000


def test_a_password_opens_and_its_lack_is_an_access_error(web, tmp_path):
    """Basic authorization from the address; without it the error says 401."""
    with pytest.raises(AccessError, match="401"):
        fetch(f"{web}/auth/a.csv", tmp_path / "a.csv")
    url = f"{web}/auth/a.csv".replace("//", "//ada:lovelace@")
    assert fetch(url, tmp_path / "a.csv").stat().st_size == 300_000
