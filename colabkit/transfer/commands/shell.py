"""The line around a pasted command: what it is piped into, where its output goes, what is done with the file then."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from colabkit._engine.source import together
from colabkit.errors import AddressError
from colabkit.transfer.commands import programs
from colabkit.transfer.commands.shell_lexer import Operator, tokens
from colabkit.transfer.commands.unpacking import archives

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colabkit._engine.source import ParsedSource

_NOTHING = frozenset({"/dev/null", "NUL", "nul"})
_CELL = re.compile(r"\A\s*%%(?:bash|sh|script\s+(?:ba)?sh)\b[^\n]*\n\s*")
_GRAMMAR = re.compile(r"\s*(?:!\s*)?(for|while|until|if|case)\s.*(?:;|&&|\|\||\n)", re.DOTALL)
_SET = re.compile(
    r"\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)="
    r"(?P<value>'[^'\"$`\\\s]*'|\"[^'\"$`\\\s]*\"|[\w./:@%+,=~-]*)[ \t]*(?:;|&&|\n)"
)
"""A variable that is set for what follows, to a value without blanks."""
_USED = re.compile(r"'[^']*'|\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_SHOWN = frozenset({"tail", "head", "grep", "sed", "awk", "wc", "tr", "less", "more", "true"})
_BESIDE = ("set", "ls", "pwd")
"""What only shows something, or sets how the shell takes a failure, in front of what fetches."""
_JOINED = frozenset({"&&", ";", "||"})


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of a line.

    Attributes:
        words: The program and its arguments.
        before: What stands before it, as "&&" or "|"; "" for the first.
        output: The file that its output goes to, or "".
    """

    words: tuple[str, ...]
    before: str = ""
    output: str = ""


def open_source(text: str) -> ParsedSource:
    """Read a line that was copied from a notebook or a shell.

    Raises:
        AddressError: It does something that fetch does not do; the message names it, and the way.

    Example:
        >>> order = open_source("!wget -q https://example.org/a.zip && unzip -q a.zip -d data && rm a.zip")
        >>> order.source.name, order.to, order.placing
        ('a.zip', 'data', 'contents')
    """
    if cell := _CELL.match(text):
        text = f"!{_with_values(text[cell.end() :])}"
    elif not text.lstrip().startswith("!"):  # there the notebook may have a value of its own
        text = _with_values(text)
    if match := _GRAMMAR.match(text):
        raise programs.unknown([match[1]])
    places = list(_in_their_folders(_steps(tokens(programs.without_cookies(text)))))
    orders: list[ParsedSource] = []
    for at, (step, folder) in enumerate(places):
        if step.before == "|" and orders:
            orders[-1] = _piped(orders[-1], step, folder)
        elif not orders or programs.fetches(step.words):
            if orders and step.before == "||":
                raise _refused(f"|| {step.words[0]}", "it is a way out for the case that the first download fails")
            order = programs.read(step.words, output=step.output)
            order = _redirected(order, step) if step.output else order
            order = order.inside(folder) if folder else order
            orders += [replace(order, more=()), *order.more]
        else:
            orders[-1] = archives.after(
                orders[-1],
                programs.without_prefix(list(step.words)),
                folder=folder,
                removed=_named(places[at + 1 :], removes=True),
                used=_named(places[at + 1 :], removes=False),
                joined=step.before,
                output=step.output,
                earlier=orders[:-1],
            )
    if not orders:
        raise AddressError(
            "the pasted line only makes or enters a folder", why="nothing is fetched by it", hint="leave it as it is"
        )
    return together(orders)


def _with_values(text: str) -> str:
    r"""Put the values of variables that a script sets at its beginning in their places.

    Example:
        >>> _with_values('URL=https://e.org/a.zip\nwget "$URL" -O ${URL}.zip')
        'wget "https://e.org/a.zip" -O https://e.org/a.zip.zip'
    """
    values: dict[str, str] = {}
    while (
        (match := _SET.match(text)) and "$" in text[match.end() :] and not programs.MATTERS.match(f"{match['name']}=")
    ):
        values[match["name"]] = match["value"].strip("'\"")
        text = text[match.end() :]

    def value(used: re.Match[str]) -> str:
        name = used[1] or used[2] or ""
        if name not in values:
            return used[0]
        double = text.count('"', 0, used.start()) % 2
        plain = double or re.fullmatch(r"[\w./:@%+,=~-]*", values[name])
        return values[name] if plain else f"'{values[name]}'"

    return _USED.sub(value, text) if values else text


def _steps(lexed: Sequence[str | Operator]) -> list[Step]:
    reader = _Reader(lexed)
    return reader.steps()


class _Reader:
    """Takes a line apart into its commands."""

    def __init__(self, lexed: Sequence[str | Operator]) -> None:
        self._found = list(lexed)
        self._steps: list[Step] = []
        self._words: list[str] = []
        self._before = self._output = ""

    def steps(self) -> list[Step]:
        while self._found:
            token = self._found.pop(0)
            if not isinstance(token, Operator):
                self._words.append(token)
            elif token.text in _JOINED or token.text == "|":
                self._end(token.text)
            elif ">" in token.text:
                self._redirect(token.text)
            elif token.text == "&" and all(_assigns(word) for word in self._found):
                self._background()
            elif token.text == "&" and programs.is_known(self._found[0]):
                self._end(";")  # in the background, and the next one beside it
            elif token.text == "&":
                raise _refused("&", "an unquoted & ends the command: put the address in quotes")
            else:
                raise _refused(token.text, "it means something to the shell that is not done here")
        self._end("")
        return self._steps

    def _end(self, following: str) -> None:
        if self._words:
            self._steps.append(Step(words=tuple(self._words), before=self._before, output=self._output))
        elif following not in ("", ";"):
            raise _refused(following, "it joins nothing")
        self._words.clear()
        self._before, self._output = following, ""

    def _redirect(self, text: str) -> None:
        if text.endswith((">&1", ">&2")):
            return
        target = self._found.pop(0) if self._found else None
        if not isinstance(target, str):
            raise _refused(text, "no file is named behind it")
        if target in _NOTHING or text.startswith("2"):
            return  # what is shown there is nothing that is fetched
        if text not in (">", "1>", ">|"):
            raise _refused(f"{text} {target}", "it adds to a file, or puts messages into it")
        self._output = target

    def _background(self) -> None:
        """Take a line whose address is cut at an unquoted "&": the rest sets variables of the shell."""
        behind = [word for word in self._found if isinstance(word, str)]
        if behind and not programs.may_lose(self._words, behind):
            raise _refused(f"& {behind[0]}", "an unquoted & ends the command: put the address in quotes")
        self._found.clear()


def _assigns(word: str | Operator) -> bool:
    return word.text == "&" if isinstance(word, Operator) else "=" in word and word.partition("=")[0].isidentifier()


def _in_their_folders(steps: Sequence[Step]) -> Iterator[tuple[Step, str]]:
    """Yield each step that does more than make or enter a folder, with the folder that it runs in."""
    folder = before = ""
    for at, step in enumerate(steps):
        program, words = step.words[0], [word for word in step.words[1:] if not word.startswith("-")]
        if step.before == "|" or (at + 1 < len(steps) and steps[at + 1].before == "|"):
            yield step, folder
        elif program in ("cd", "%cd", "pushd"):
            back = step.words[1:] == ("-",)
            entered = os.path.normpath(os.path.join(folder, words[0] if words else "~"))  # noqa: PTH118
            before, folder = folder, before if back else "" if entered == "." else entered
        elif program not in ("mkdir", "sleep", "echo", "wait") and not (program in _BESIDE and at + 1 < len(steps)):
            yield step, folder


def _redirected(order: ParsedSource, step: Step) -> ParsedSource:
    if order.to is not None:
        return order  # what is shown beside the file
    return replace(order, to=step.output, placing="file", unpack=order.unpack or False)


def _piped(order: ParsedSource, step: Step, folder: str) -> ParsedSource:
    made = _through_pipe(order, step)
    # What came before has its folder already.
    return made if order.to is not None or not folder else made.inside(folder)


def _through_pipe(order: ParsedSource, step: Step) -> ParsedSource:
    program = step.words[0]
    if order.to is not None and program in _SHOWN:
        return order  # messages, as the file goes elsewhere
    if order.to is not None:
        raise _refused(f"| {program}", f"what {program} gets is not the file that is fetched")
    if program == "tee" and len(step.words) == 2 and not step.output:
        return replace(order, to=step.words[1], placing="file", unpack=False)
    if program == "cat" and len(step.words) == 1:
        return replace(order, to=step.output, placing="file", unpack=False) if step.output else order
    made = archives.piped(order, step.words, step.output)
    if made is None:
        raise _refused(f"| {program}", f"{program} would get what is fetched, and nothing is run here")
    return made


def _named(rest: Sequence[tuple[Step, str]], *, removes: bool) -> set[str]:
    """Return the files that the following steps remove, or those that the others name."""
    return {
        os.path.normpath(os.path.join(folder, word))  # noqa: PTH118
        for step, folder in rest
        if (step.words[0] == "rm") is removes
        for word in step.words[1:]
        if word[:1] != "-"
    }


def _refused(what: str, why: str) -> AddressError:
    return AddressError(
        f"the pasted line has {what[:80]!r}, which fetch does not do",
        why=why,
        hint="paste the command that downloads alone, and run the rest in a line of its own",
    )
