"""Pasted aria2c commands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from colabkit._engine.source import ParsedSource, together
from colabkit._internal.disk.paths import expand
from colabkit.errors import AddressError
from colabkit.transfer.commands import curl as _curl
from colabkit.transfer.commands.options import CommandSpec, names, pairs, parse_options, refused

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPTIONS = CommandSpec(
    bare=names(
        "continue no-continue allow-overwrite no-allow-overwrite auto-file-renaming no-auto-file-renaming "
        "force-sequential quiet check-certificate no-check-certificate remote-time always-resume human-readable "
        "enable-color show-console-readout conditional-get async-dns disable-ipv6 optimize-concurrent-downloads "
        "enable-http-keep-alive enable-http-pipelining http-accept-gzip no-conf truncate-console-readout "
        "allow-piece-length-change content-disposition-default-utf8 check-integrity"
    ),
    valued=names(
        "dir out split max-connection-per-server min-split-size max-concurrent-downloads console-log-level "
        "summary-interval file-allocation max-tries retry-wait timeout connect-timeout user-agent referer header "
        "http-user http-passwd checksum log log-level lowest-speed-limit max-download-limit max-overall-download-limit "
        "disk-cache input-file stream-piece-selector piece-length uri-selector max-file-not-found download-result stop"
    ),
    short=pairs(
        "c continue Z force-sequential q quiet d dir o out s split x max-connection-per-server k "
        "min-split-size i input-file j max-concurrent-downloads U user-agent m max-tries t timeout l log R remote-time "
        "V check-integrity"
    ),
    switches=frozenset({"true", "false"}),
)
_ALGORITHMS = {"sha-1": "sha1", "sha1": "sha1", "sha-256": "sha256", "md5": "md5"}


def read(words: Sequence[str]) -> ParsedSource:  # noqa: C901 - one branch an option
    """Read the words of an aria2c command.

    Raises:
        AddressError: It fetches several files, or has an option that is not known; the message names it.

    Example:
        >>> order = read("aria2c -x 16 -s16 -k 1M -c https://example.org/m.bin -d models -o model.bin".split())
        >>> order.to, order.source.name
        ('models/model.bin', 'm.bin')
    """
    options = list(parse_options(list(words[1:]), _OPTIONS))
    if lists := [value for _, name, value in options if name == "input-file"]:
        return _listed(lists[-1], options)
    curl = ["curl"]
    folder, out, checksum, note, replaces, each = "", "", "", "", False, False
    for option, name, value in options:
        if name in ("url", "user-agent", "referer", "header"):
            curl += [value] if name == "url" else [f"--{name}", value]
        elif name == "dir":
            folder = value
        elif name == "out":
            out = value
        elif name == "checksum":
            algorithm, _, digits = value.partition("=")
            if algorithm.lower() not in _ALGORITHMS:
                raise refused(f"{option} {algorithm}", "the checksums that are known are sha-256, sha-1 and md5")
            checksum = f"{_ALGORITHMS[algorithm.lower()]}:{digits}"
        elif name in ("http-user", "http-passwd"):
            raise refused(option, "write the name and the password into the address: https://USER:PASSWORD@HOST/PATH")
        elif name == "no-check-certificate":
            note = "--check-certificate=false is ignored: the certificate of the server is checked"
        elif name == "allow-overwrite":
            replaces = True
        elif name == "force-sequential":
            each = True
    addresses = [word for word in curl[1:] if "://" in word and not word.startswith("-")]
    if any(
        word.startswith(("magnet:", "ftp://", "sftp://")) or word.endswith((".torrent", ".metalink")) for word in curl
    ):
        raise AddressError(
            "the pasted aria2c command fetches by another protocol",
            why="fetch speaks https and http",
            hint="use an https address of the file",
        )
    if each and len(addresses) > 1:
        if out or checksum:
            raise refused("-o" if out else "--checksum", f"it is for one file, and -Z fetches {len(addresses)}")
        words = [word for word in words if word not in addresses]
        return together([read([*words, address]) for address in addresses])
    if len(addresses) > 1 and len({address.rpartition("/")[2] for address in addresses}) > 1:
        raise AddressError(
            f"the pasted aria2c command has {len(addresses)} addresses",
            why="aria2c takes them for the same file on several servers",
            hint="write -Z to fetch several, or pass a list of addresses",
        )
    order = _curl.read([*curl[:2], *curl[2:]] if len(addresses) < 2 else _first_address_only(curl, addresses))
    # aria2c puts the name behind the folder, also one that begins with "/".
    to = f"{folder or '.'}{os.sep}{out}" if out else f"{folder or '.'}{os.sep}"
    return ParsedSource(
        source=order.source,
        to=os.path.normpath(to) if out else to,
        placing="file" if out else "folder",
        unpack=False,
        existing="replace" if replaces else "refuse",
        checksum=checksum,
        note=note,
    )


def _listed(path: str, options: Sequence[tuple[str, str, str]]) -> ParsedSource:
    """Read the file of `-i`: a line with the addresses of each file, indented lines with its own options behind it.

    Raises:
        AddressError: There is no such file, or it holds what cannot be fetched.
    """
    option = f"-i {path[:60]}"
    if any(name == "url" for _, name, _ in options):
        raise refused(
            option, "aria2c passes over the addresses beside it; leave those out, or write them into the file"
        )
    try:
        lines = expand(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        raise refused(option, "there is no such file here") from None
    # The name that -o gives is for an address of the command line only.
    common = ["aria2c", *(_word(name, value) for _, name, value in options if name not in ("input-file", "out"))]
    files: list[list[str]] = []
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        if line[0] not in " \t":
            files.append([*common, *line.split("\t")])
        elif files:
            name, _, value = line.strip().partition("=")
            if name == "input-file":
                raise refused(option, "a list in a list is not read; write its lines into the file")
            files[-1].append(f"--{name}={value}")
    if not files:
        raise refused(option, "it holds no address")
    return together([read(words) for words in files])


def _word(name: str, value: str) -> str:
    return f"--{name}={value}" if name in _OPTIONS.valued else f"--{name}"


def _first_address_only(curl: list[str], addresses: list[str]) -> list[str]:
    """Keep the first of several addresses of one file."""
    first = curl.index(addresses[0])
    return [word for at, word in enumerate(curl) if at == first or word not in addresses]
