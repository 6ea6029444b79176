"""unzip, tar, 7z and their like: on archives that are here, behind a download, or behind a pipe."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from colabkit._engine.source import After, ParsedSource, together
from colabkit._internal.disk.paths import expand
from colabkit.errors import AddressError
from colabkit.transfer.commands.options import CommandSpec, names, pairs, parse_options, refused

if TYPE_CHECKING:
    from collections.abc import Sequence

Format = Literal["zip", "tar", "7z", "gz", "bz2", "xz", "zst"]


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What a command takes out of an archive.

    Attributes:
        archive: The file; "-" is what comes through a pipe.
        format: What the program reads.
        to: The folder of its members, or the file that it makes of a single one.
        existing: What it does with files of the same names: asked for by its options.
        keeps: The archive stays; only gunzip and its like take it away.
        strip: How many leading parts of each member's path are taken off.
    """

    archive: str
    format: Format
    to: str = "."
    existing: Literal["refuse", "replace", "keep"] = "refuse"
    keeps: bool = True
    strip: int = 0

    @property
    def single(self) -> bool:
        """Whether it is one compressed file."""
        return self.format in ("gz", "bz2", "xz", "zst")


_UNZIP = CommandSpec(
    bare=names("quiet never-overwrite overwrite update verbose lower-case no-timestamps restore-permissions text"),
    valued=names("to"),
    short=pairs(
        "q quiet n never-overwrite o overwrite u update d to L lower-case D no-timestamps X "
        "restore-permissions K restore-permissions a text"
    ),
)
_TAR = CommandSpec(
    bare=names(
        "extract get gzip gunzip ungzip bzip2 xz zstd lzma lzip verbose preserve-permissions same-permissions "
        "no-same-owner no-same-permissions same-owner keep-old-files skip-old-files overwrite touch totals "
        "auto-compress keep-newer-files show-transformed-names overwrite-dir ignore-zeros keep-directory-symlink "
        "numeric-owner xattrs no-xattrs acls no-acls selinux no-selinux delay-directory-restore "
        "no-delay-directory-restore sparse full-time force-local seek no-seek utc read-full-records same-order "
        "no-auto-compress"
    ),
    valued=names(
        "file directory strip-components use-compress-program warning checkpoint checkpoint-action "
        "blocking-factor record-size quoting-style"
    ),
    others=names(
        "absolute-names add-file after-date anchored append atime-preserve backup block-number catenate "
        "check-device check-links clamp-mtime compare compress concatenate confirmation create delete dereference "
        "diff exclude exclude-backups exclude-caches exclude-caches-all exclude-caches-under exclude-from "
        "exclude-ignore exclude-ignore-recursive exclude-tag exclude-tag-all exclude-tag-under exclude-vcs "
        "exclude-vcs-ignores files-from format group group-map hard-dereference help hole-detection ignore-case "
        "ignore-command-error ignore-failed-read incremental index-file info-script interactive label level list "
        "listed-incremental lzop mode mtime multi-volume new-volume-script newer newer-mtime no-anchored "
        "no-check-device no-ignore-case no-ignore-command-error no-null no-overwrite-dir no-quote-chars "
        "no-recursion no-unquote no-verbatim-files-from no-wildcards no-wildcards-match-slash null occurrence "
        "old-archive one-file-system one-top-level owner owner-map pax-option portability posix preserve-order "
        "quote-chars recursion recursive-unlink remove-files restrict rmt-command rsh-command show-defaults "
        "show-omitted-dirs show-snapshot-field-ranges show-stored-names sort sparse-version starting-file suffix "
        "tape-length test-label to-command to-stdout transform uncompress unlink-first unquote update usage "
        "verbatim-files-from verify version volno-file wildcards wildcards-match-slash xattrs-exclude "
        "xattrs-include xform"
    ),
    short=pairs(
        "x extract z gzip j bzip2 J xz v verbose p preserve-permissions k keep-old-files m touch o "
        "no-same-owner f file C directory a auto-compress I use-compress-program i ignore-zeros S sparse B "
        "read-full-records b blocking-factor s same-order"
    ),
)
_SINGLE: dict[str, Format] = {
    "gunzip": "gz",
    "gzip": "gz",
    "pigz": "gz",
    "unpigz": "gz",
    "bunzip2": "bz2",
    "bzip2": "bz2",
    "unxz": "xz",
    "xz": "xz",
    "unzstd": "zst",
    "zstd": "zst",
    "zcat": "gz",
    "bzcat": "bz2",
    "xzcat": "xz",
    "zstdcat": "zst",
}
_SUFFIXES: dict[str, tuple[str, ...]] = {
    "gz": (".gz", "-gz", ".z", "-z", "_z", ".tgz", ".taz"),
    "bz2": (".bz2", ".bz", ".tbz2", ".tbz"),
    "xz": (".xz", ".txz", ".lzma", ".tlz"),
    "zst": (".zst", ".tzst", ".gz", ".tgz", ".lzma", ".xz", ".txz"),
}
_ONE_FILE = CommandSpec(
    bare=names("decompress keep force quiet stdout verbose rm long no-name"),
    valued=names("threads output"),
    short=pairs("d decompress k keep f force q quiet c stdout v verbose T threads p threads o output n no-name"),
    others=names("best fast help license list no-warn recursive rsyncable stdin suffix synchronous test version name"),
)
_MODES = {
    "c": "makes an archive",
    "r": "adds to an archive",
    "u": "adds to an archive",
    "t": "only lists what is in it",
}
_ONE_LAYER = re.compile(r"\.t?(gz|bz2?|xz|zst)$", re.IGNORECASE)
_COMPRESSIONS: dict[str, Format] = {"gz": "gz", "bz": "bz2", "bz2": "bz2", "xz": "xz", "zst": "zst"}
_SHOWS = ("ls", "echo", "cd", "pwd", "du", "mkdir", "true", "head", "wc", "stat", "file", "md5sum", "sha256sum", "tree")
"""What only shows something, or makes a folder that is made anyway."""
PROGRAMS = ("unzip", "tar", "bsdtar", "7z", "7za", "7zr", "7zz", "p7zip", *_SINGLE)


def read(words: Sequence[str], *, output: str = "") -> ParsedSource:
    """Read a command that unpacks one archive of this machine, or several.

    Args:
        words: The program and its arguments.
        output: The file that what it shows goes to, or "".

    Raises:
        AddressError: It does something else, or has an option that is not known; the message names it.

    Example:
        >>> order = read(["unzip", "-q", "data.zip", "-d", "data"])
        >>> str(order.source), order.to, order.placing
        ('data.zip', 'data', 'contents')
    """
    return together(
        [
            ParsedSource(
                source=expand(archive),
                to=made.to,
                placing="file" if made.single else "contents",
                unpack=True,
                format=made.format,
                existing=made.existing,
                strip=made.strip,
                note="" if made.keeps else f"{archive} stays where it is; {words[0]} would take it away",
            )
            for one in _each(words, globs=True)
            for made in [extraction(one, output=output)]
            for archive in _found(words[0], made)
        ]
    )


def _each(words: Sequence[str], *, globs: bool = False) -> list[list[str]]:
    """Give each file of gunzip and its like a command of its own; a pattern fits files that are here now if `globs`."""
    if words[0] not in _SINGLE:
        return [list(words)]
    plain = [value for _, name, value in parse_options(list(words[1:]), _ONE_FILE) if name == "url"]
    files = [path for word in plain for path in ((sorted(_glob(word)) if globs else []) or [word])]
    options = [word for word in words if word not in plain]
    return [[*options, file] for file in files] if files else [list(words)]


def after(
    order: ParsedSource,
    words: Sequence[str],
    *,
    folder: str = "",
    removed: set[str],
    joined: str,
    output: str = "",
    earlier: Sequence[ParsedSource] = (),
) -> ParsedSource:
    """Read what follows a download on the same line.

    Args:
        order: The download.
        words: The command.
        folder: Where it runs.
        removed: The files that the commands behind it take away.
        joined: What stands between, as "&&".
        output: The file that what it shows goes to, or "".
        earlier: The downloads before that one.

    Raises:
        AddressError: It is nothing that fetch does.
    """
    program = words[0]
    if program in _SHOWS:
        return order
    if program == "rm":
        known = {_name_of(one) for one in (*earlier, order)}
        known |= {os.path.normpath(step.archive) for one in (*earlier, order) for step in one.after}
        others = [word for word in words[1:] if word[:1] != "-" and _below(folder, word) not in known]
        if others and not (order.placing == "contents" and order.format):
            raise AddressError(
                f"the pasted line removes {others[0][:60]}",
                why="fetch removes nothing but the archive that it unpacked",
                hint="run the rest in a line of its own",
            )
        return order
    if program not in PROGRAMS:
        raise AddressError(
            f"the pasted line runs {program[:40]} behind the download",
            why="a pasted line is read, never run; only unzip, tar and their like can be done here",
            hint=f"paste the part before {joined} alone, and run the rest in a line of its own",
        )
    for one in _each(words):
        order = _with_step(order, extraction(one, output=output), folder, removed)
    return order


def _with_step(order: ParsedSource, made: Extraction, folder: str, removed: set[str]) -> ParsedSource:
    archive, to = _below(folder, made.archive), os.path.join(folder, made.to)  # noqa: PTH118
    gone = archive in removed or (made.single and not made.keeps)
    if gone and archive == _name_of(order) and not order.after:
        # The archive is gone in the end, as it is when its folder takes its place.
        return replace(
            order,
            to=to,
            placing="file" if made.single else "contents",
            unpack=True,
            format=made.format,
            existing=made.existing,
            strip=made.strip,
        )
    step = After(
        archive=archive,
        to=to,
        format=made.format,
        existing=made.existing,
        strip=made.strip,
        single=made.single,
        remove=gone,
    )
    return replace(order, after=(*order.after, step))


def _below(folder: str, path: str) -> str:
    return os.path.normpath(os.path.join(folder, path))  # noqa: PTH118


def _name_of(order: ParsedSource) -> str:
    """Return the path of what a download makes, where the command or the address tells."""
    name = "" if isinstance(order.source, Path) else order.source.name
    if order.to is None:
        return name
    if order.placing == "folder" or order.to.endswith(("/", os.sep)):
        return os.path.normpath(os.path.join(order.to, name))  # noqa: PTH118
    return os.path.normpath(order.to)


def piped(order: ParsedSource, words: Sequence[str], output: str) -> ParsedSource | None:
    """Read what a download is piped into; None for what does not unpack."""
    if words[0] not in PROGRAMS:
        return None
    made = extraction(words, piped=True)
    if made.archive != "-":
        return None
    if made.single:
        place = output or None
        return replace(order, to=place, placing="file" if place else "as named", unpack=True, format=made.format)
    return replace(
        order,
        to=made.to,
        placing="contents",
        unpack=True,
        format=made.format,
        existing=made.existing,
        strip=made.strip,
    )


def extraction(words: Sequence[str], *, piped: bool = False, output: str = "") -> Extraction:
    """Read the words of a program that unpacks.

    Args:
        words: The program and its arguments.
        piped: What it reads comes through a pipe.
        output: The file that what it shows goes to, or "".

    Raises:
        AddressError: It does something else.
    """
    program, rest = words[0], list(words[1:])
    if program == "unzip":
        return _unzip(rest)
    if program in ("tar", "bsdtar"):
        return _tar(rest, piped=piped)
    if program in _SINGLE:
        return _single(program, rest, piped=piped, output=output)
    return _seven_zip(program, rest)


def _unzip(words: list[str]) -> Extraction:
    archive, to, existing = "", ".", ""
    if any(word.startswith("-P") for word in words):
        raise _locked("unzip", "-P")
    for option, name, value in parse_options(words, _UNZIP):
        if name == "url" and not archive:
            archive = value
        elif name == "url":
            raise refused(value, "it takes some members only; unpack all of them")
        elif name == "to":
            to = value
        elif name == "overwrite":
            existing = "replace"
        elif name == "never-overwrite":
            existing = "keep"
        elif name in ("lower-case", "text"):
            raise refused(option, "it changes names or contents")
    return Extraction(archive=_named("unzip", archive), format="zip", to=to, existing=existing or "refuse")  # type: ignore[arg-type]


def _locked(program: str, option: str) -> AddressError:
    return AddressError(
        f"the pasted {program} command has a password, {option}",
        why="fetch opens no encrypted archive",
        hint="paste the part that downloads alone with unpack=False, and run the rest in a line of its own",
    )


def _seven_zip(program: str, words: list[str]) -> Extraction:
    verb, *words = words or [""]
    if verb != "x":
        raise AddressError(
            f"`{program} {verb[:20]}` is not a command that unpacks",
            why="only 7z x does",
            hint="write 7z x ARCHIVE -oDIR",
        )
    # -oDIR and its like have their value behind them without a blank.
    archive, to, existing = "", ".", "refuse"
    for word in words:
        if word.startswith("-o") and len(word) > 2:
            to = word[2:]
        elif word.startswith(("-t", "-scs", "-scc")) and len(word) > 2:
            continue  # what it holds tells the format
        elif word in ("-aoa", "-y"):
            existing = "replace" if word == "-aoa" else existing
        elif word == "-aos":
            existing = "keep"
        elif word.startswith(("-mmt", "-bs", "-bb", "-bd")):
            continue
        elif word.startswith("-p"):
            raise _locked(program, "-p")
        elif word.startswith("-"):
            raise refused(word)
        elif archive:
            raise refused(word, "it takes some members only; unpack all of them")
        else:
            archive = word
    return _taken_by_seven_zip(_named(program, archive), to, existing)


def _taken_by_seven_zip(archive: str, to: str, existing: str) -> Extraction:
    if re.search(r"\.\d{3}$", archive):
        raise refused(archive, "it is one of several volumes; join them first: cat NAME.7z.* > NAME.7z")
    if single := _ONE_LAYER.search(archive):  # 7z takes one layer off: of a .tar.gz it makes a .tar
        name = os.path.basename(archive)[: -len(single[0])]  # noqa: PTH119
        made = os.path.join(to, name + (".tar" if single[0].lower().startswith(".t") else ""))  # noqa: PTH118
        return Extraction(archive=archive, format=_COMPRESSIONS[single[1].lower()], to=made, existing=existing)  # type: ignore[arg-type]
    to = to.replace("*", os.path.splitext(os.path.basename(archive))[0])  # noqa: PTH119, PTH122
    return Extraction(archive=archive, format="7z", to=to, existing=existing)  # type: ignore[arg-type]


def _tar(words: list[str], *, piped: bool) -> Extraction:
    if words and not words[0].startswith("-"):
        words = _old_style(words)  # tar xzf a.tgz, the way without a hyphen
    options: dict[str, str] = {}
    to = "."
    for option, name, value in parse_options(_modes(words), _TAR):
        if name == "url":
            raise refused(value, "it takes some members only; unpack all of them")
        if name == "use-compress-program" and value.split()[0] not in (*_SINGLE, "lbzip2", "pbzip2"):
            raise refused(f"{option} {value.split()[0]}", "it runs another program")
        if name == "directory":
            to = os.path.join(to, value) if to != "." else value  # noqa: PTH118
        options[name] = value
    if not options.keys() & {"extract", "get"}:
        raise AddressError("the pasted tar command does not extract", why="only tar -x does", hint="run it as it is")
    if not (strip := options.get("strip-components", "0")).isdecimal():
        raise refused("--strip-components", "its value is not a number")
    keeps = options.keys() & {"keep-old-files", "skip-old-files"}
    return Extraction(
        archive=_named("tar", options.get("file", "-" if piped else "")),
        format="tar",
        to=to,
        existing="keep" if keeps else "replace" if "overwrite" in options else "refuse",
        strip=int(strip),
    )


def _old_style(words: list[str]) -> list[str]:
    letters, rest = words[0], words[1:]
    made = []
    for letter in letters:
        made.append(f"-{letter}")
        if letter in "fCI":
            if not rest:
                raise refused(f"-{letter}", "its value is missing")
            made.append(rest.pop(0))
    return made + rest


def _modes(words: list[str]) -> list[str]:
    for word in words:
        letters = word[1:] if word.startswith("-") and not word.startswith("--") else ""
        mode = next((letter for letter in letters.partition("f")[0].partition("C")[0] if letter in _MODES), "")
        if mode or word in ("--create", "--append", "--update", "--list"):
            raise AddressError(
                f"the pasted tar command {_MODES[mode or word[2]]}",
                why="fetch unpacks archives, and makes none",
                hint="run it as it is, in a line of its own",
            )
    return words


def _single(program: str, words: list[str], *, piped: bool, output: str) -> Extraction:
    seen: dict[str, str] = {}
    files = []
    for _, name, value in parse_options(words, _ONE_FILE):
        if name == "url":
            files.append(value)
        else:
            seen[name] = value
    unpacks = program.startswith(("un", "gun", "bun")) or program.endswith("cat") or "decompress" in seen
    if not unpacks:
        raise AddressError(
            f"the pasted {program} command packs",
            why="fetch only unpacks",
            hint="run it as it is, in a line of its own",
        )
    if piped and files in ([], ["-"]):
        return Extraction(archive="-", format=_SINGLE[program])
    if len(files) != 1:
        raise AddressError(
            f"the pasted {program} command names {len(files)} files", why="it needs one", hint="write one line for each"
        )
    if "stdout" in seen or program.endswith("cat"):
        if not output:
            raise refused("-c", "what it shows is not a file; leave it out, or write > FILE behind it")
        return Extraction(archive=files[0], format=_SINGLE[program], to=output, existing="replace")
    if not output and "output" not in seen:
        files[0] = _with_suffix(program, files[0])
    ending = files[0].rpartition(".")
    made = ending[0] if ending[1] else files[0]
    if ending[2] in ("tgz", "txz", "tbz2", "tzst"):
        made += ".tar"
    existing: Literal["refuse", "replace"] = "replace" if "force" in seen else "refuse"
    keeps = "keep" in seen or (_SINGLE[program] == "zst" and "rm" not in seen)
    return Extraction(
        archive=files[0], format=_SINGLE[program], to=seen.get("output") or made, existing=existing, keeps=keeps
    )


def _with_suffix(program: str, archive: str) -> str:
    """Return the file that gunzip or its like takes: one of this machine without its suffix is passed over.

    Raises:
        AddressError: It is such a file.
    """
    suffix = f".{_SINGLE[program]}"
    if archive.lower().endswith(_SUFFIXES[_SINGLE[program]]):
        return archive
    if expand(archive).exists():
        raise AddressError(
            f"{program} does not unpack {archive}",
            why=f"{program} knows what it unpacks by a suffix such as {suffix}, and passes over the others",
            hint=f"if it is compressed, rename it to {archive}{suffix}; if not, it is unpacked already",
        )
    return f"{archive}{suffix}" if suffix == ".gz" and expand(f"{archive}{suffix}").exists() else archive


def _named(program: str, archive: str) -> str:
    if not archive:
        raise AddressError(f"the pasted {program} command names no archive", hint="add its name")
    return archive


def _found(program: str, made: Extraction) -> list[str]:
    """Return the archives that a command means: a pattern for some, a name without its ending."""
    archive = made.archive
    if archive == "-":
        raise AddressError(f"{program} reads from a pipe, and nothing comes", hint="name the archive")
    if glob.has_magic(archive) and not Path(archive).exists():
        fitting = sorted(_glob(archive))
        if not fitting or (len(fitting) > 1 and program != "unzip"):
            raise AddressError(
                f"{archive} fits {len(fitting)} files",
                why=f"{program} unpacks one archive",
                hint="write a line for each: for path in glob.glob(...): ck.fetch(path, to=..., unpack=True)",
            )
        return fitting
    if program == "unzip" and not Path(archive).exists():
        return [next((f"{archive}{ending}" for ending in (".zip", ".ZIP") if Path(archive + ending).exists()), archive)]
    return [archive]


def _glob(pattern: str) -> list[str]:
    return glob.glob(os.path.expanduser(pattern)) if glob.has_magic(pattern) else []  # noqa: PTH111, PTH207
