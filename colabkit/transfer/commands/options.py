"""The options of curl and wget that a pasted command may have, and the walk over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, kw_only=True)
class CommandSpec:
    """The options that one program has, as far as we know what they mean.

    Attributes:
        bare: The long names of options without a value.
        valued: The long names of options with one.
        short: The long name of each short option.
        switches: What may stand behind "=" of a bare option.
        others: The long names of its other options; where they are told, a long name may be cut short as long as it
            fits one option alone, as GNU's programs take it.
    """

    bare: frozenset[str]
    valued: frozenset[str]
    short: dict[str, str]
    switches: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()


def names(text: str) -> frozenset[str]:
    """Make a set of the words of a text."""
    return frozenset(text.split())


def pairs(text: str) -> dict[str, str]:
    """Make a table of words that come in pairs.

    Example:
        >>> pairs("q quiet O output")
        {'q': 'quiet', 'O': 'output'}
    """
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


# Besides the options that are obeyed (see _curl.py) these hold those that change nothing about which bytes arrive.
CURL = CommandSpec(
    bare=names(
        "basic compressed create-dirs disable fail fail-early fail-with-body get globoff http1.0 http1.1 http2 "
        "http2-prior-knowledge http3 insecure ipv4 ipv6 location netrc netrc-optional no-alpn no-buffer "
        "no-clobber no-keepalive no-progress-meter no-sessionid parallel parallel-immediate progress-bar "
        "remote-header-name remote-name remote-name-all remote-time remove-on-error retry-all-errors "
        "retry-connrefused show-error silent skip-existing ssl-no-revoke ssl-reqd styled-output tcp-fastopen "
        "tcp-nodelay tlsv1 tlsv1.2 tlsv1.3 verbose"
    ),
    valued=names(
        "ciphers connect-timeout continue-at cookie cookie-jar create-file-mode data data-ascii data-binary data-raw "
        "data-urlencode header json keepalive-time limit-rate max-filesize max-redirs max-time oauth2-bearer "
        "output output-dir parallel-max proto proto-default proto-redir rate referer request retry retry-delay "
        "retry-max-time speed-limit speed-time stderr tls-max url user user-agent write-out"
    ),
    short=pairs(
        "# progress-bar 0 http1.0 4 ipv4 6 ipv6 A user-agent C continue-at G get H header J "
        "remote-header-name L location c cookie-jar N no-buffer O remote-name R remote-time S show-error X request Y "
        "speed-limit Z parallel b cookie d data e referer f fail g globoff k insecure m max-time n netrc o "
        "output q disable s silent u user v verbose w write-out y speed-time"
    ),
)
WGET = CommandSpec(
    bare=names(
        "clobber content-disposition continue debug inet4-only inet6-only no-cache no-check-certificate "
        "no-clobber no-config no-cookies no-directories no-dns-cache no-glob no-host-directories no-hsts "
        "no-http-keep-alive no-if-modified-since no-iri no-netrc no-parent no-passive-ftp "
        "no-use-server-timestamps no-verbose quiet random-wait retry-connrefused server-response show-progress "
        "timestamping trust-server-names verbose auth-no-challenge background https-only keep-session-cookies "
        "xattr recursive mirror force-directories no-remove-listing "
        "ask-password delete-after"
    ),
    valued=names(
        "accept append-output body-data compression connect-timeout cut-dirs directory-prefix dns-timeout "
        "exclude-directories execute header hsts-file http-password http-user input-file level limit-rate "
        "load-cookies max-redirect method output-document "
        "output-file password post-data prefer-family progress read-timeout referer reject report-speed "
        "retry-on-http-error save-cookies secure-protocol timeout tries user user-agent wait waitretry"
    ),
    others=names(
        "accept-regex adjust-extension backup-converted backups base "
        "bind-address body-file ca-certificate ca-directory certificate certificate-type ciphers config "
        "content-on-error convert-file-only convert-links crl-file default-page domains "
        "exclude-domains follow-ftp follow-tags force-html ftp-password "
        "ftp-user ftps-clear-data-connection ftps-fallback-to-ftp ftps-implicit ftps-resume-ssl help ignore-case "
        "ignore-length ignore-tags include-directories local-encoding no-proxy "
        "no-warc-compression no-warc-digests no-warc-keep-log page-requisites pinnedpubkey post-file "
        "preserve-permissions private-key private-key-type protocol-directories proxy-password proxy-user quota "
        "regex-type reject-regex rejected-log relative remote-encoding restrict-file-names "
        "retr-symlinks save-headers span-hosts spider start-pos strict-comments unlink use-askpass "
        "version warc-cdx warc-dedup warc-file warc-header warc-max-size warc-tempdir"
    ),
    short=pairs(
        "4 inet4-only 6 inet6-only N timestamping O output-document P directory-prefix S server-response T "
        "timeout U user-agent A accept R reject X exclude-directories l level m mirror r recursive "
        "x force-directories a append-output b background c continue e execute i input-file d debug "
        "nH no-host-directories nc no-clobber nd no-directories "
        "np no-parent nv no-verbose o output-file q quiet t tries v verbose w wait"
    ),
)


def parse_options(words: list[str], spec: CommandSpec) -> Iterator[tuple[str, str, str]]:
    """Yield (as written, long name, value) for each option, and ("", "url", word) for each other word.

    Raises:
        AddressError: An option is not known, or its value is missing; the message names it.

    Example:
        >>> list(parse_options(["-sLo", "a.zip", "https://example.org/a"], CURL))[2:]
        [('-o', 'output', 'a.zip'), ('', 'url', 'https://example.org/a')]
    """
    at = 0
    plain = False
    while at < len(words):
        word = words[at]
        at += 1
        if plain or not word.startswith("-") or word == "-":
            yield "", "url", word
        elif word == "--":
            plain = True
        else:
            for written, name, attached in _letters(word, spec):
                value = attached
                if name in spec.valued and value is None:
                    if at >= len(words):
                        raise refused(written, "its value is missing")
                    value = words[at]
                    at += 1
                yield written, name, value or ""


def _letters(word: str, spec: CommandSpec) -> Iterator[tuple[str, str, str | None]]:
    if word.startswith("--"):
        yield from _long(word, spec)
        return
    if word[1:] in spec.short:
        yield word, spec.short[word[1:]], None
        return
    for at, letter in enumerate(word[1:], 1):
        if letter == "n" and "nc" in spec.short:  # wget -qnc is -q -nc, and -ncd is -nc -nd
            yield from _behind_n(word[at + 1 :], spec)
            return
        name = spec.short.get(letter, "")
        if not name:
            raise refused(f"-{letter}")
        yield f"-{letter}", name, (word[at + 1 :] or None) if name in spec.valued else None
        if name in spec.valued:
            return


def _long(word: str, spec: CommandSpec) -> Iterator[tuple[str, str, str | None]]:
    name, equals, attached = word[2:].partition("=")
    if equals and attached.lower() in spec.switches and name in spec.bare:
        # aria2c writes --continue=true, and turns off by =false; what is off and has no name of its own is not done.
        name = f"no-{name}" if attached.lower() == "false" else name
        if name in spec.bare:
            yield f"--{name}", name, None
        return
    names = spec.bare | spec.valued
    if name not in names and spec.others:
        fitting = [known for known in names | spec.others if known.startswith(name)]
        name = fitting[0] if len(fitting) == 1 else name
    if name not in names or (equals and name in spec.bare):
        raise refused(f"--{name}")
    yield f"--{name}", name, attached if equals else None


def _behind_n(letters: str, spec: CommandSpec) -> Iterator[tuple[str, str, str | None]]:
    for letter in letters or "?":
        if f"n{letter}" not in spec.short:
            raise refused(f"-n{letter}")
        yield f"-n{letter}", spec.short[f"n{letter}"], None


def refused(option: str, why: str = "it may change which bytes arrive, or how they are trusted") -> AddressError:
    """Make the error for an option that cannot be obeyed."""
    return AddressError(
        f"the pasted command has {option[:60]}, which fetch does not do",
        why=why,
        hint="leave it out if it does not matter, or pass the plain address",
    )
