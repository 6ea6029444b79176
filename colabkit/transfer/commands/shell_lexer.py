"""Splitting a pasted command into words, as bash or the Windows command line would, without running anything."""

from __future__ import annotations

import re
from dataclasses import dataclass

from colabkit.errors import AddressError

_ANSI = re.compile(r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})|(.))", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "v": "\v"}
_CONTROL = ";|&<>()"
_OPERATOR = re.compile(r"&>>?|>&\d|>>?\|?|<<?<?|&&|\|\|?|[;&()]")
_PROMPT = re.compile(r"\A(?:[!$%>]\s*)+")
_NAME = r"[A-Za-z_]\w*"
_BRACES = re.compile(r"(?<![%$\\{])\{\s*(" + _NAME + r"(?:\s*[.\[(+*/%|-][^{}]*)?)\s*(?:![rsa])?(?::[^{}]*)?\}(?!\})")
"""What a notebook replaces in a line behind "!": an expression of Python."""
_DOLLAR = re.compile(r"(?<!\\)\$(?:\{(" + _NAME + r")\}|(" + _NAME + "))")
_OPEN, _CLOSE, _COMMA = "\ue000", "\ue001", "\ue002"
_MARKED = str.maketrans("{},", _OPEN + _CLOSE + _COMMA)
_PLAIN = str.maketrans(_OPEN + _CLOSE + _COMMA, "{},")
"""Braces that are not quoted, while a word is read: bash makes several words of one with them."""
_SEQUENCE = re.compile(r"(-?\d+|[A-Za-z])\.\.(-?\d+|[A-Za-z])(?:\.\.-?(\d+))?")
_MOST = 10_000
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
    lexed = []
    for token in tokens(command):
        if isinstance(token, Operator):
            raise _refuse(f"an unquoted {token.text!r} means something to the shell")
        lexed.append(token)
    return lexed


@dataclass(frozen=True, kw_only=True)
class Operator:
    """What stands between words and means something to the shell, such as "|", "&&" or "2>"."""

    text: str


def tokens(command: str) -> list[str | Operator]:
    """Split a command into its words and what stands between them.

    Raises:
        AddressError: As for `split`, without the operators.

    Example:
        >>> [getattr(one, "text", one) for one in tokens("!wget -q https://e.org/a.zip > log 2>&1 && unzip a.zip")]
        ['wget', '-q', 'https://e.org/a.zip', '>', 'log', '2>&1', '&&', 'unzip', 'a.zip']
    """
    text = command.strip().replace("\r\n", "\n")
    prompt = _PROMPT.match(text)
    text = text[prompt.end() :] if prompt else text
    _refuse_variables(text, in_notebook=prompt is not None and "!" in prompt[0])
    if re.search(r'\^"|[ \t]\^\n', text):
        return [*_windows(_without_carets(text))]
    return _Bash(text).words()


def _refuse_variables(text: str, *, in_notebook: bool) -> None:
    """Refuse what a notebook or the shell would replace: read as letters, it makes a folder that is called {HOME}."""
    match = _BRACES.search(text)
    if match is None and in_notebook:  # which looks into single quotes, too
        match = _DOLLAR.search(text)
    if match is None:
        match = next((each for each in _DOLLAR.finditer(text) if not _in_single_quotes(text, each.start())), None)
    if match is None:
        return
    name = match[1] or (match[2] if match.re is _DOLLAR else "")
    is_set = match.re is _DOLLAR and re.search(rf"(?:^|[;&\s]){name}=", text)
    who = "the notebook" if match[0].startswith("{") or in_notebook else "the shell"
    raise AddressError(
        f"the pasted command holds the variable {match[0][:60]}",
        why=f"{who} would replace it by its value, which is not known here",
        hint="write its value in its place" if is_set else f"write it as an f-string: ck.fetch({_f_string(text)})",
    )


def _in_single_quotes(text: str, at: int) -> bool:
    single = double = False
    for letter in text[:at]:
        single ^= letter == "'" and not double
        double ^= letter == '"' and not single
    return single


def _f_string(text: str) -> str:
    r"""Write a command as an f-string that says the same.

    Example:
        >>> print(_f_string('wget "$url" -O {name}.zip'))
        f'wget "{url}" -O {name}.zip'
    """
    kept: list[str] = []

    def keep(expression: str) -> str:
        kept.append(expression)
        return f"\0{len(kept) - 1}\0"

    text = _BRACES.sub(lambda each: keep(each[0]), text)
    text = _DOLLAR.sub(lambda each: keep(f"{{{each[1] or each[2]}}}"), text)
    text = text.replace("\\", "\\\\").replace("{", "{{").replace("}", "}}").replace("\n", "\\n")
    text = re.sub("\0(\\d+)\0", lambda each: kept[int(each[1])], text)
    if '"' not in text:
        return f'f"{text}"'
    if "'" not in text:
        return f"f'{text}'"
    return f"f'''{text}{' ' * text.endswith(chr(39))}'''"


def _refuse(what: str) -> AddressError:
    return AddressError(
        f"the pasted command cannot be read: {what}",
        why="it is read, never run, so only a plain command with its own options can be understood",
        hint="paste one curl or wget command, with its address in quotes",
    )


def expand_braces(word: str) -> list[str]:
    """Return the words that bash makes of one whose unquoted braces are marked.

    Raises:
        AddressError: They are too many.

    Example:
        >>> expand_braces("a{,b}{1..3}".translate(_MARKED)), expand_braces("{x}".translate(_MARKED))
        (['a1', 'a2', 'a3', 'ab1', 'ab2', 'ab3'], ['{x}'])
    """
    at = word.find(_OPEN)
    while at >= 0:
        depth, parts, begun = 0, [], at + 1
        for end in range(at, len(word)):
            depth += (word[end] == _OPEN) - (word[end] == _CLOSE)
            if depth == 0 or (depth == 1 and word[end] == _COMMA):
                parts.append(word[begun:end])
                begun = end + 1
            if depth == 0:
                parts = parts if len(parts) > 1 else _sequence(parts[0])
                break
        else:
            parts = []
        if parts:
            before = word[:at].translate(_PLAIN)
            made = [before + rest for part in parts for rest in expand_braces(part + word[end + 1 :])]
            if len(made) > _MOST:
                raise _refuse(f"its braces stand for more than {_MOST:,} words")
            return made
        at = word.find(_OPEN, at + 1)
    return [word.translate(_PLAIN)]


def _sequence(text: str) -> list[str]:
    match = _SEQUENCE.fullmatch(text)
    if match is None or match[1].isalpha() != match[2].isalpha():
        return []
    letters = match[1].isalpha()
    first, last = (ord(bound) if letters else int(bound) for bound in match.group(1, 2))
    by = max(1, int(match[3] or 1))
    if abs(last - first) // by > _MOST:
        raise _refuse(f"its braces stand for more than {_MOST:,} words")
    numbers = range(first, last + 1, by) if first <= last else range(first, last - 1, -by)
    padded = any(re.match(r"-?0\d", bound) for bound in match.group(1, 2))
    width = max(len(match[1]), len(match[2])) if padded else 0
    return [chr(number) if letters else f"{number:0{width}}" for number in numbers]


class _Bash:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def words(self) -> list[str | Operator]:
        lexed: list[str | Operator] = []
        word: str | None = None
        while self._at < len(self._text):
            letter = self._text[self._at]
            if letter in " \t\n":
                if word is not None:
                    lexed += expand_braces(word)
                word = None
                self._at += 1
                if letter == "\n" and lexed and self._text[self._at :].strip():
                    lexed.append(Operator(text=";"))
                    left = self._text[self._at :].lstrip()
                    prompt = _PROMPT.match(left)
                    self._at = len(self._text) - len(left) + (prompt.end() if prompt else 0)
            elif letter == "#" and word is None:
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif letter in _CONTROL:
                if word is not None and not (letter in "<>" and word.isdigit()):
                    lexed += expand_braces(word)
                number = word if word is not None and letter in "<>" and word.isdigit() else ""
                word = None
                lexed.append(self._operator(number))
            else:
                part = self._part(letter)
                if part is not None:
                    word = (word or "") + part
        if word is not None:
            lexed += expand_braces(word)
        return lexed

    def _operator(self, number: str) -> Operator:
        match = _OPERATOR.match(self._text, self._at)
        assert match is not None  # noqa: S101 - each letter of _CONTROL begins one
        self._at = match.end()
        return Operator(text=number + match[0])

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
        return letter.translate(_MARKED)

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
    words: list[str] = []
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
                words.append(word)
            word = None
        else:
            word = (word or "") + letter
        at += 1
    if quoted:
        raise _refuse('a " is never closed')
    if word is not None:
        words.append(word)
    return words
