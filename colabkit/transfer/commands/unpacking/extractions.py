"""The words of unzip, tar, 7z, gunzip and their like: what each takes out of which archive."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from colabkit._archive.choice import Choice, Pattern
from colabkit._internal.disk.paths import expand
from colabkit.errors import AddressError
from colabkit.transfer.commands.options import CommandSpec, names, pairs, parse_options, refused
from colabkit.transfer.commands.unpacking.members import left_out_by_tar, of_seven_zip, of_tar, of_unzip

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
        members: Those that are wanted; None for all.
        note: What is worth telling before it begins.
    """

    archive: str
    format: Format
    to: str = "."
    existing: Literal["refuse", "replace", "keep"] = "refuse"
    keeps: bool = True
    strip: int = 0
    members: Choice | None = None
    note: str = ""

    @property
    def single(self) -> bool:
        """Whether it is one compressed file."""
        return self.format in ("gz", "bz2", "xz", "zst")


_UNZIP = CommandSpec(
    bare=names(
        "quiet never-overwrite overwrite update verbose lower-case no-timestamps restore-permissions text junk-paths "
        "ignore-case exclude pipe"
    ),
    valued=names("to"),
    short=pairs(
        "q quiet n never-overwrite o overwrite u update d to L lower-case D no-timestamps X "
        "restore-permissions K restore-permissions a text j junk-paths C ignore-case x exclude p pipe c pipe"
    ),
)
_TAR = CommandSpec(
    bare=names(
        "extract get gzip gunzip ungzip bzip2 xz zstd lzma lzip verbose preserve-permissions same-permissions "
        "no-same-owner no-same-permissions same-owner keep-old-files skip-old-files overwrite touch totals "
        "auto-compress keep-newer-files show-transformed-names overwrite-dir ignore-zeros keep-directory-symlink "
        "numeric-owner xattrs no-xattrs acls no-acls selinux no-selinux delay-directory-restore "
        "no-delay-directory-restore sparse full-time force-local seek no-seek utc read-full-records same-order "
        "no-auto-compress to-stdout wildcards no-wildcards anchored no-anchored"
    ),
    valued=names(
        "exclude file directory strip-components use-compress-program warning checkpoint checkpoint-action "
        "blocking-factor record-size quoting-style"
    ),
    others=names(
        "absolute-names add-file after-date append atime-preserve backup block-number catenate "
        "check-device check-links clamp-mtime compare compress concatenate confirmation create delete dereference "
        "diff exclude-backups exclude-caches exclude-caches-all exclude-caches-under exclude-from "
        "exclude-ignore exclude-ignore-recursive exclude-tag exclude-tag-all exclude-tag-under exclude-vcs "
        "exclude-vcs-ignores files-from format group group-map hard-dereference help hole-detection ignore-case "
        "ignore-command-error ignore-failed-read incremental index-file info-script interactive label level list "
        "listed-incremental lzop mode mtime multi-volume new-volume-script newer newer-mtime "
        "no-check-device no-ignore-case no-ignore-command-error no-null no-overwrite-dir no-quote-chars "
        "no-recursion no-unquote no-verbatim-files-from no-wildcards-match-slash null occurrence "
        "old-archive one-file-system one-top-level owner owner-map pax-option portability posix preserve-order "
        "quote-chars recursion recursive-unlink remove-files restrict rmt-command rsh-command show-defaults "
        "show-omitted-dirs show-snapshot-field-ranges show-stored-names sort sparse-version starting-file suffix "
        "tape-length test-label to-command transform uncompress unlink-first unquote update usage "
        "verbatim-files-from verify version volno-file wildcards-match-slash xattrs-exclude "
        "xattrs-include xform"
    ),
    short=pairs(
        "x extract z gzip j bzip2 J xz v verbose p preserve-permissions k keep-old-files m touch o "
        "no-same-owner f file C directory a auto-compress I use-compress-program i ignore-zeros S sparse B "
        "read-full-records O to-stdout b blocking-factor s same-order"
    ),
)
COMPRESSORS: dict[str, Format] = {
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
ONE_FILE = CommandSpec(
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
PROGRAMS = ("unzip", "tar", "bsdtar", "7z", "7za", "7zr", "7zz", "p7zip", *COMPRESSORS)


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
        return _tar(rest, piped=piped, program=program)
    if program in COMPRESSORS:
        return _single(program, rest, piped=piped, output=output)
    return _seven_zip(program, rest)


def _unzip(words: list[str]) -> Extraction:
    archive, to, existing, listed = "", ".", "", "patterns"
    lists: dict[str, list[str]] = {"patterns": [], "exclusions": []}
    seen = set()
    if any(word.startswith("-P") for word in words):
        raise _locked("unzip", "-P")
    _refuse_pipe(words, _UNZIP, "unzip -jo ARCHIVE MEMBER -d FOLDER")
    for option, name, value in parse_options(words, _UNZIP):
        seen.add(name)
        if name == "url" and not archive:
            archive = value
        elif name == "url" and "exclude" in seen and listed == "patterns":
            raise refused(value, "it stands behind the list of -x, and unzip passes over it")
        elif name == "url":
            lists[listed].append(value)
        elif name == "to":
            to, listed = value, "patterns"
        elif name == "exclude":
            listed = "exclusions"
        elif name == "overwrite":
            existing = "replace"
        elif name == "never-overwrite":
            existing = "keep"
        elif name in ("lower-case", "text"):
            raise refused(option, "it changes names or contents")
    patterns, exclusions = (
        tuple(of_unzip(word, ignores_case="ignore-case" in seen) for word in words) for words in lists.values()
    )
    return Extraction(
        archive=_named("unzip", archive),
        format="zip",
        to=to,
        existing=existing or "refuse",  # type: ignore[arg-type]
        members=Choice(
            patterns=patterns,
            exclusions=exclusions,
            flat="files" if "junk-paths" in seen else "",
            twice=existing or "refuse",  # type: ignore[arg-type]
        ),
    )


def _refuse_pipe(words: list[str], spec: CommandSpec, way: str) -> None:
    """Refuse what shows a member instead of making a file of it."""
    for option, name, _ in parse_options(words, spec):
        if name in ("pipe", "to-stdout"):
            raise AddressError(
                f"the pasted command has {option}, which shows a member",
                why="what it shows goes through a pipe, and members are unpacked to files here",
                hint=f"write it as: {way}",
            )


def _locked(program: str, option: str) -> AddressError:
    return AddressError(
        f"the pasted {program} command has a password, {option}",
        why="fetch opens no encrypted archive",
        hint="paste the part that downloads alone with unpack=False, and run the rest in a line of its own",
    )


def _seven_zip(program: str, words: list[str]) -> Extraction:
    verb, *words = words or [""]
    if verb not in ("x", "e"):
        raise AddressError(
            f"`{program} {verb[:20]}` is not a command that unpacks",
            why="only 7z x and 7z e do",
            hint="write 7z x ARCHIVE -oDIR",
        )
    # -oDIR and its like have their value behind them without a blank.
    archive, to, existing = "", ".", "refuse"
    recursive = "-r" in words
    patterns: list[Pattern] = []
    exclusions: list[Pattern] = []
    for word in words:
        if word.startswith("-o") and len(word) > 2:
            to = word[2:]
        elif word.startswith(("-t", "-scs", "-scc")) and len(word) > 2:
            continue  # what it holds tells the format
        elif match := re.fullmatch(r"-([xi])(r?)!(.+)", word, re.DOTALL):
            pattern = of_seven_zip(match[3], recursive=recursive or bool(match[2]))
            (exclusions if match[1] == "x" else patterns).append(pattern)
        elif word in ("-aoa", "-y"):
            existing = "replace" if word == "-aoa" else existing
        elif word == "-aos":
            existing = "keep"
        elif word == "-r" or word.startswith(("-mmt", "-bs", "-bb", "-bd")):
            continue
        elif word.startswith("-p"):
            raise _locked(program, "-p")
        elif word.startswith("-"):
            raise refused(word)
        elif archive:
            patterns.append(of_seven_zip(word, recursive=recursive))
        else:
            archive = word
    choice = Choice(
        patterns=tuple(patterns),
        exclusions=tuple(exclusions),
        flat="all" if verb == "e" else "",
        twice=existing,  # type: ignore[arg-type]
    )
    return _taken_by_seven_zip(_named(program, archive), to, existing, choice)


def _taken_by_seven_zip(archive: str, to: str, existing: str, choice: Choice) -> Extraction:
    if re.search(r"\.\d{3}$", archive):
        raise refused(archive, "it is one of several volumes; join them first: cat NAME.7z.* > NAME.7z")
    if single := _ONE_LAYER.search(archive):  # 7z takes one layer off: of a .tar.gz it makes a .tar
        if choice.patterns or choice.exclusions:
            raise refused((choice.patterns or choice.exclusions)[0].text, f"{archive} is one compressed file for 7z")
        name = os.path.basename(archive)[: -len(single[0])]  # noqa: PTH119
        made = os.path.join(to, name + (".tar" if single[0].lower().startswith(".t") else ""))  # noqa: PTH118
        return Extraction(archive=archive, format=_COMPRESSIONS[single[1].lower()], to=made, existing=existing)  # type: ignore[arg-type]
    to = to.replace("*", os.path.splitext(os.path.basename(archive))[0])  # noqa: PTH119, PTH122
    return Extraction(archive=archive, format="7z", to=to, existing=existing, members=choice)  # type: ignore[arg-type]


def _tar(words: list[str], *, piped: bool, program: str = "tar") -> Extraction:
    if words and not words[0].startswith("-"):
        words = _old_style(words)  # tar xzf a.tgz, the way without a hyphen
    options, choice, places = _walk_tar(_modes(words), wildcards=program == "bsdtar")
    to, note = places[-1], ""
    if choice.patterns and places[0] != to and program == "tar":
        to = places[0]
        note = f"{choice.patterns[0].text} is unpacked into {to}: to tar, -C counts for the names behind it"
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
        members=choice,
        note=note,
    )


def _walk_tar(words: list[str], *, wildcards: bool) -> tuple[dict[str, str], Choice, list[str]]:
    """Return the options, the members that are chosen, and the folders at the first name and at the end."""
    _refuse_pipe(words, _TAR, "tar xf ARCHIVE -C FOLDER MEMBER")
    options: dict[str, str] = {}
    to, places, anchored = ".", [], True
    patterns: list[Pattern] = []
    exclusions: list[Pattern] = []
    for option, name, value in parse_options(words, _TAR):
        options[name] = value
        if name == "url":
            places.append(to)
            patterns.append(of_tar(value, wildcards=wildcards, anchored=anchored))
        elif name == "exclude":
            exclusions.append(left_out_by_tar(value))
        elif name in ("wildcards", "no-wildcards"):
            wildcards = name == "wildcards"
        elif name in ("anchored", "no-anchored"):
            anchored = name == "anchored"
        elif name == "directory":
            to = os.path.join(to, value) if to != "." else value  # noqa: PTH118
        elif name == "use-compress-program" and value.split()[0] not in (*COMPRESSORS, "lbzip2", "pbzip2"):
            raise refused(f"{option} {value.split()[0]}", "it runs another program")
    if len(set(places)) > 1:
        raise refused("-C", "names stand before it and behind it, and would go into different folders")
    if exclusions and options.keys() & {"anchored", "no-anchored", "wildcards", "no-wildcards"}:
        raise refused("--exclude", "with --wildcards or --anchored beside it another pattern is meant")
    return options, Choice(patterns=tuple(patterns), exclusions=tuple(exclusions)), [*places[:1], to]


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
    for _, name, value in parse_options(words, ONE_FILE):
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
        return Extraction(archive="-", format=COMPRESSORS[program])
    if len(files) != 1:
        raise AddressError(
            f"the pasted {program} command names {len(files)} files", why="it needs one", hint="write one line for each"
        )
    if "stdout" in seen or program.endswith("cat"):
        if not output:
            raise refused("-c", "what it shows is not a file; leave it out, or write > FILE behind it")
        return Extraction(archive=files[0], format=COMPRESSORS[program], to=output, existing="replace")
    if not output and "output" not in seen:
        files[0] = _with_suffix(program, files[0])
    ending = files[0].rpartition(".")
    made = ending[0] if ending[1] else files[0]
    if ending[2] in ("tgz", "txz", "tbz2", "tzst"):
        made += ".tar"
    existing: Literal["refuse", "replace"] = "replace" if "force" in seen else "refuse"
    keeps = "keep" in seen or (COMPRESSORS[program] == "zst" and "rm" not in seen)
    return Extraction(
        archive=files[0], format=COMPRESSORS[program], to=seen.get("output") or made, existing=existing, keeps=keeps
    )


def _with_suffix(program: str, archive: str) -> str:
    """Return the file that gunzip or its like takes: one of this machine without its suffix is passed over.

    Raises:
        AddressError: It is such a file.
    """
    suffix = f".{COMPRESSORS[program]}"
    if archive.lower().endswith(_SUFFIXES[COMPRESSORS[program]]):
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
