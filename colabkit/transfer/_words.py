"""Splitting a pasted command into words, as bash or the Windows command line would, without running anything."""

from __future__ import annotations

import re

from colabkit.errors import AddressError

_ANSI = re.compile(r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})|(.))", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "v": "\v"}
_CONTROL = ";|&<>()"
_EXPANDS = re.compile(r"\$[A-Za-z_{(0-9?!#@*$-]|`")


def split(command: str) -> list[str]:
    r"""Split a command into its words.

    Args:
        command: One line, or several that are joined by "\" (bash) or "^" (Windows) at their ends.

    Raises:
        AddressError: A quote is open, or the shell would do more than split: pipes, variables, several commands.

    Example:
        >>> split("curl -H $'X-Name: caf\\u00e9' \"https://example.org/a b\"")
        ['curl', '-H', 'X-Name: café', 'https://example.org/a b']
    """
    text = command.strip().replace("\r\n", "\n")
    text = re.sub(r"\A(?:[!$%>]\s*)+", "", text)  # the prompt of a shell or a notebook
    if re.search(r'\^"|[ \t]\^\n', text):
        return _windows(_without_carets(text))
    return _Bash(text).words()


def _refuse(what: str) -> AddressError:
    return AddressError(
        f"the pasted command cannot be read: {what}",
        why="it is read, never run, so only a plain command with its own options can be understood",
        do="paste one curl or wget command, with its address in quotes",
    )


class _Bash:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def words(self) -> list[str]:
        found: list[str] = []
        word: str | None = None
        while self._at < len(self._text):
            letter = self._text[self._at]
            if letter in " \t\n":
                if letter == "\n" and self._text[self._at :].strip():
                    raise _refuse("there is a second command on another line")
                if word is not None:
                    found.append(word)
                word = None
                self._at += 1
            elif letter == "#" and word is None:
                break
            elif letter in _CONTROL:
                raise _refuse(f"an unquoted {letter!r} means something to the shell")
            else:
                part = self._part(letter)
                if part is not None:
                    word = (word or "") + part
        if word is not None:
            found.append(word)
        return found

    def _part(self, letter: str) -> str | None:
        if letter == "'":
            return self._until("'", 1)
        if letter == '"':
            return self._double()
        if self._text.startswith("$'", self._at):
            return self._ansi()
        if self._text.startswith('$"', self._at):
            self._at += 1
            return self._double()
        if letter == "\\":
            following = self._text[self._at + 1 : self._at + 2]
            if not following:
                raise _refuse("it ends with a backslash")
            self._at += 2
            return None if following == "\n" else following
        self._no_expansion(self._at)
        self._at += 1
        return letter

    def _until(self, quote: str, skip: int) -> str:
        end = self._text.find(quote, self._at + skip)
        if end < 0:
            raise _refuse(f"a {quote} is never closed")
        inside = self._text[self._at + skip : end]
        self._at = end + 1
        return inside

    def _double(self) -> str:
        out: list[str] = []
        self._at += 1
        while self._at < len(self._text):
            letter = self._text[self._at]
            if letter == '"':
                self._at += 1
                return "".join(out)
            following = self._text[self._at + 1 : self._at + 2]
            if letter == "\\" and following and following in '"\\$`\n':
                out.append("" if following == "\n" else following)
                self._at += 2
                continue
            self._no_expansion(self._at)
            out.append(letter)
            self._at += 1
        raise _refuse('a " is never closed')

    def _ansi(self) -> str:
        end = self._at + 2
        while end < len(self._text) and self._text[end] != "'":
            end += 2 if self._text[end] == "\\" else 1
        if end >= len(self._text):
            raise _refuse("a $' is never closed")
        inside = self._text[self._at + 2 : end]
        self._at = end + 1
        return _ANSI.sub(_ansi_letter, inside)

    def _no_expansion(self, at: int) -> None:
        if match := _EXPANDS.match(self._text, at):
            raise _refuse(f"the shell would replace {self._text[at : match.end() + 10]!r}, which is not known here")


def _ansi_letter(match: re.Match[str]) -> str:
    for group, base in ((1, 16), (2, 16), (3, 16), (4, 8)):
        if match[group]:
            code = int(match[group], base)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF or code == 0:
                raise _refuse(f"{match[0]!r} is no letter")
            return chr(code)
    return _LETTERS.get(match[5], match[5] if match[5] in "\\'\"?" else f"\\{match[5]}")


def _without_carets(text: str) -> str:
    """Do what cmd.exe does first: outside of quotes a ^ makes the next letter an ordinary one."""
    out: list[str] = []
    quoted = False
    at = 0
    while at < len(text):
        letter = text[at]
        if letter == "^" and not quoted:
            at += 1
            if text[at : at + 1] == "\n":
                at += 1
            out.append(text[at : at + 1])
        elif letter == "\n":
            if text[at:].strip():
                raise _refuse("there is a second command on another line")
        elif letter in "|<>&" and not quoted:
            raise _refuse(f"an unquoted {letter!r} means something to the shell")
        elif letter == "%" and re.match(r"%[A-Za-z_]\w*%", text[at:]):
            raise _refuse("the shell would replace a %variable%, which is not known here")
        else:
            quoted ^= letter == '"'
            out.append(letter)
        at += 1
    return "".join(out)


def _windows(text: str) -> list[str]:
    """Split as a Windows program splits its command line: backslashes count only before a quote."""
    found: list[str] = []
    word: str | None = None
    quoted = False
    at = 0
    while at < len(text):
        slashes = len(text[at:]) - len(text[at:].lstrip("\\"))
        if slashes:
            at += slashes
            before_quote = text[at : at + 1] == '"'
            word = (word or "") + "\\" * (slashes // 2 if before_quote else slashes)
            if before_quote and slashes % 2:
                word += '"'
                at += 1
            continue
        letter = text[at]
        if letter == '"':
            if quoted and text[at + 1 : at + 2] == '"':
                word = (word or "") + '"'
                at += 1
            else:
                quoted = not quoted
                word = word or ""
        elif letter in " \t" and not quoted:
            if word is not None:
                found.append(word)
            word = None
        else:
            word = (word or "") + letter
        at += 1
    if quoted:
        raise _refuse('a " is never closed')
    if word is not None:
        found.append(word)
    return found
