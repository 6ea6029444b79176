"""One pass over a notebook's cells: what is rewritten, what stays, and the cells' new texts."""

from __future__ import annotations

import ast
import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from colabkit.port import calls, clear_text, colab_guards, commands, context, kaggle_json, shell_cell, training
from colabkit.port import cell as cells
from colabkit.port.report import Change, Kept
from colabkit.port.training import torch_loop, weights

if TYPE_CHECKING:
    from collections.abc import Collection

    from colabkit.port.cell import Cell
    from colabkit.port.context import Context

_FORGETS = re.compile(
    r"google\.colab\.(?:drive|userdata|files)|(?:kagglehub|gdown|opendatasets|wget|kaggle_secrets)\b.*"
)
_BAR = re.compile(r"tqdm\.(?:\w+\.)*tqdm")
_RESUMED = re.compile(r"\.(?:resume(?:_\w+)?|loop)\(")
_IN_CLEAR = "a secret stands in it in clear: take ck.secret, and have it replaced"


class _PortedRun:
    """The run of the ported trainings: opened once, before the first; where there are several, each is a phase of it.

    Args:
        read_cells: All cells, as they were.
        names: What they import and bind.
    """

    def __init__(self, read_cells: Collection[Cell], names: Context) -> None:
        self._names = names
        self._opened = names.has_run
        self._trainings, self._phase = len(_RESUMED.findall(names.text)), 0
        for cell in read_cells:
            self._trainings += sum(isinstance(one, torch_loop.TorchLoop) for one in torch_loop.find(cell, names))
            self._trainings += sum(not one.reason for one in training.find(cell, names))
        self._mounts = list(colab_guards.mounts(read_cells, names))

    def open_before(self, cell: Cell, statement: ast.stmt) -> list[tuple[int, int, str]] | None:
        """Return the edit that opens the run before a training, if it is the first; None where no line is free."""
        start = cell.span(statement)[0]
        line = cell.source[:start].rpartition("\n")[2]
        if line.strip() not in ("", "%time"):
            return None
        start -= len(line.lstrip())
        if self._opened:
            return []
        self._opened = True
        where = self._where((self._names.order[id(cell)], statement.lineno))
        return [(start, start, f"{self._names.run} = {self._names.alias}.open_run({where})\n")]

    def next_phase(self) -> str:
        """Return the name of a training's phase; "" for the only training."""
        self._phase += 1
        while f'"fit-{self._phase}"' in self._names.text:
            self._phase += 1
        return f"fit-{self._phase}" if self._trainings > 1 else ""

    def _where(self, place: tuple[int, int]) -> str:
        """Return the text of the place of the run: on Drive where the notebook has mounted it by then."""
        name = re.sub(r"[^\w.-]+", "-", self._names.stem).strip("-.") or "notebook"
        if self._names.keep:
            return json.dumps(f"{self._names.keep.rstrip('/')}/runs/{name}", ensure_ascii=False)
        here = json.dumps(f"runs/{name}", ensure_ascii=False)
        on_drive = json.dumps(f"drive:runs/{name}", ensure_ascii=False)
        asks = [asks for mounted, asks in self._mounts if mounted < place]
        if asks and all(asks):
            return f'{on_drive} if {self._names.alias}.detect().host == "colab" else {here}'
        return on_drive if asks else here


class Rewriting:
    """The work on one notebook.

    Attributes:
        new: The texts of the cells that changed; None for a cell that went.
        changes: What was rewritten.
        kept: What stays.
        first: The text of the new first cell, or "".
    """

    def __init__(self, texts: dict[int, str], *, is_script: bool, stem: str, keep: str | None) -> None:
        self.kind: Literal["notebook", "script"] = "script" if is_script else "notebook"
        self.texts = texts
        self.cells = {number: cells.read(text, kind=self.kind) for number, text in texts.items()}
        self.context = context.read(self.cells.values(), stem=stem, keep=keep)
        self.new: dict[int, str | None] = {}
        self.changes: list[Change] = []
        self.kept: list[Kept] = []
        self.first = ""
        self._run = _PortedRun(self.cells.values(), self.context)

    def run(self) -> None:
        """Rewrite all cells."""
        for number, cell in self.cells.items():
            self._rewrite(number, cell)
        self._remove_kaggle_json()
        self._remove_clients()
        self._remove_imports()
        self._open_first()

    def _rewrite(self, number: int, cell: Cell) -> None:
        if cell.tree is None:
            if not self._shell_cell(number, cell):
                reason = f"it stands in a %%{cell.magic} cell" if cell.magic else cell.problem
                for line in _setup_lines(cell):
                    self._keep(number, "system", line, reason)
            return
        edits: list[tuple[int, int, str]] = []
        changes: list[Change] = []
        secrets = partial(_secrets, self.context)
        for parts in (self._commands, self._calls, secrets, self._trainings, self._loops, self._weights):
            proposed, made = parts(number, cell)
            free = [edit for edit in proposed if not any(_overlap(edit, other) for other in edits)]
            if len(free) == len(proposed):
                edits += proposed
                changes += made
        text = _edited(cell.source, edits)
        if text == cell.source:
            return
        again = cells.read(text, kind=self.kind)
        if again.tree is None:
            self._keep(number, "system", cell.source.strip().partition("\n")[0], "its new text would not parse")
            return
        self.new[number] = text
        self.changes += changes

    def _shell_cell(self, number: int, cell: Cell) -> bool:
        """Write a cell of a shell as Python, or say why it stays; says whether it is one."""
        if cell.magic not in shell_cell.SHELLS or clear_text.masked(cell.source) != cell.source:
            return False
        line = next(
            (one.strip() for one in cell.source.splitlines()[1:] if commands.SETUP_WITHIN.search(one.strip())), ""
        )
        try:
            lines = shell_cell.python_of(cell.source, partial(_read_command, self.context))
            text = "\n".join(lines or [])
            if lines is not None and cells.read(text, kind=self.kind).tree is None:
                raise shell_cell.NoWayError("its new text would not parse")
        except shell_cell.NoWayError as error:
            if line:
                self._keep(number, "system", line, f"it stands in a %%{cell.magic} cell that stays: {error}")
            return True
        if lines is not None:
            self.new[number] = text
            self.changes.append(_change(number, "system", cell.source.strip().partition("\n")[0], text))
        return True

    def _commands(self, number: int, cell: Cell) -> tuple[list[tuple[int, int, str]], list[Change]]:
        edits, changes = [], []
        tree: Any = cell.tree
        for statement in ast.walk(tree):
            command = cell.command(statement)
            if command is None:
                continue
            reading = commands.read(command, self.context)
            if (reading is None or not reading.calls) and ("&&" in command.text or ";" in command.text):
                several = _several(command, self.context)
                if several is not None and (
                    several.calls or (reading is None and commands.SETUP_WITHIN.search(command.text))
                ):
                    reading = several
            before = cell.source[command.start : command.end]
            if clear_text.masked(before) != before and (reading is None or not reading.calls):
                self._keep(number, "secret", before, _IN_CLEAR)
                continue
            if reading is None:
                setup = commands.SETUP_WITHIN.search(command.text)
                if setup and setup.start():
                    self._keep(number, "system", before, commands.NOT_READ)
                continue
            if not reading.calls:
                self._keep(number, reading.kind, before, reading.reason, works=reading.works)
                continue
            line = cell.source[: command.start].rpartition("\n")[2]
            text = f"\n{line}".join(reading.calls) + (f"  {reading.comment}" if reading.comment else "")
            edits.append((command.start, command.end, text))
            changes.append(_change(number, reading.kind, before, text))
            if clear_text.masked(text) != text:
                self._keep(number, "secret", before, _IN_CLEAR)
        return edits, changes

    def _calls(self, number: int, cell: Cell) -> tuple[list[tuple[int, int, str]], list[Change]]:
        edits, changes = [], []
        for call in calls.read(cell, self.context):
            before = cell.text(call.node)
            if isinstance(call, calls.Stay):
                self._keep(number, call.kind, before, call.reason, works=call.works)
                continue
            edits.append((*cell.span(call.node), call.text))
            changes.append(_change(number, call.kind, before, call.text))
        return edits, changes

    def _trainings(self, number: int, cell: Cell) -> tuple[list[tuple[int, int, str]], list[Change]]:
        edits: list[tuple[int, int, str]] = []
        changes: list[Change] = []
        for one in training.find(cell, self.context):
            before = cell.text(one.node)
            if one.reason:
                self._keep(number, "train", before, one.reason)
                continue
            opened = self._run.open_before(cell, one.statement)
            if opened is None:
                self._keep(number, "train", before, "another statement stands before it in its line")
                continue
            edits += opened
            phase = self._run.next_phase()
            edit = training.with_callback(one, cell, self.context, training.callback(one, self.context, phase))
            edits.append(edit)
            changes.append(_change(number, "train", before, edit[2].strip(", \n")))
        for call, reason in training.without_callback(cell, self.context):
            self._keep(number, "train", cell.text(call), reason)
        return edits, changes

    def _weights(self, number: int, cell: Cell) -> tuple[list[tuple[int, int, str]], list[Change]]:
        edits: list[tuple[int, int, str]] = []
        changes: list[Change] = []
        names = weights.written(self.cells.values(), self.context)
        for node, name in weights.edits(cell, self.context, names):
            before, quote = cell.text(node), cell.text(node).lstrip("rRuU")[:1]
            text = f"{quote}{name}{quote}"
            if before.strip("\"'") == node.value and before[:1] in "\"'":  # one plain text, as nearly all are
                edits.append((*cell.span(node), text))
                changes.append(_change(number, "weights", before, text))
        for call in weights.unread(cell, self.context, names):
            self._keep(number, "weights", cell.text(call), weights.NOT_READ)
        return edits, changes

    def _loops(self, number: int, cell: Cell) -> tuple[list[tuple[int, int, str]], list[Change]]:
        edits: list[tuple[int, int, str]] = []
        changes: list[Change] = []
        for one in torch_loop.find(cell, self.context):
            opened = self._run.open_before(cell, one.outer) if isinstance(one, torch_loop.TorchLoop) else None
            if not isinstance(one, torch_loop.TorchLoop) or opened is None:
                statement = one.outer if isinstance(one, torch_loop.TorchLoop) else one
                self._keep(number, "train", cell.text(statement).partition("\n")[0], torch_loop.by_hand(statement))
                continue
            phase = self._run.next_phase()
            run = self.context.run + (f'.phase("{phase}")' if phase else "")
            name = "ck_loop" if "loop" in self.context.bound else "loop"
            before = "".join(text for _, _, text in opened)
            bar = next((name for name, what in self.context.imports.items() if _BAR.fullmatch(what)), "")
            made, through_run = torch_loop.rewritten(one, cell, name=name, run=run, before=before, bar=bar)
            edits += through_run
            changes.append(_change(number, "train", cell.text(one.outer).partition("\n")[0], made))
        return edits, changes

    def _remove_kaggle_json(self) -> None:
        for number, text in kaggle_json.without(self._now(), self.context, self.kind).items():
            before = self._text(number)
            self.new[number] = text if text.strip() else None
            gone = [line.strip() for line in before.splitlines() if line not in text.splitlines()]
            self.kept = [
                kept for kept in self.kept if kept.cell != number + 1 or not any(kept.line in line for line in gone)
            ]
            self.changes.append(
                Change(cell=number + 1, kind="kaggle", before="\n".join(gone), after=text.strip() and "…")
            )

    def _now(self) -> dict[int, str]:
        return {number: self._text(number) for number in self.texts}

    def _text(self, number: int) -> str:
        return self.new.get(number, self.texts[number]) or ""

    def _remove_clients(self) -> None:
        """Take out the makers of Kaggle's secrets that only what was rewritten has used."""
        for number, cell in list(self.cells.items()):
            for statement in cell.tree.body if cell.tree is not None else ():
                text = cell.text(statement)
                name = text.partition("=")[0].strip()
                is_client = isinstance(statement, ast.Assign) and self.context.made_by.get(name) == calls.KAGGLE_CLIENT
                now = cells.read(self._text(number), kind=self.kind)
                again = next((one for one in now.tree.body if now.text(one) == text), None) if now.tree else None
                present = (cells.read(other, kind=self.kind) for other in self._now().values())
                if is_client and again is not None and not context.uses(present, name):
                    left = remove(now, again)
                    self.new[number] = left if left.strip() else None

    def _remove_imports(self) -> None:
        """Take out the imports that only what was rewritten has used."""
        present = {number: cells.read(self._text(number), kind=self.kind) for number in self.texts}
        for name, what in list(self.context.imports.items()):
            if not _FORGETS.fullmatch(what):
                continue
            if not context.uses(self.cells.values(), name) or context.uses(present.values(), name):
                continue
            for number, cell in present.items():
                text = _without_import(cell, name)
                if text is None or cells.read(text, kind=self.kind).tree is None:
                    continue
                self.new[number] = text if text.strip() else None
                present[number] = cells.read(text, kind=self.kind)
                self.changes.append(Change(cell=number + 1, kind="colab", before=f"import of {name}", after=""))

    def _open_first(self) -> None:
        now = self._now()
        asking = colab_guards.names_that_ask(self.cells.values())
        mount = f"{self.context.alias}.drive.mount" if any(change.kind == "drive" for change in self.changes) else ""
        has_colab = any(
            colab_guards.needs_colab(
                cells.read(text, kind=self.kind), asking, mount, is_notebook=self.kind == "notebook"
            )
            for text in now.values()
        )
        lines = []
        if self.changes and not self.context.has_import:
            name = f"import colabkit as {self.context.alias}" if self.context.alias != "colabkit" else "import colabkit"
            lines.append(f"{name}  # where it is missing: %pip install its wheel or its git address first")
        if has_colab and not any("colab_shim(" in text for text in now.values()):
            if not lines and not self.context.has_import:
                lines.append("import colabkit as ck")
            lines.append(f"{self.context.alias}.colab_shim()  # google.colab where Colab's own is missing")
        self.first = "\n".join(lines)

    def _keep(self, number: int, kind: str, line: str, reason: str, *, works: bool = False) -> None:
        line = clear_text.masked(line)[:300]
        self.kept.append(Kept(cell=number + 1, kind=kind, line=line, reason=reason, works=works))


def _setup_lines(cell: Cell) -> list[str]:
    """Give the lines of a cell that set up, where it is read as text alone."""
    lines = map(str.strip, cell.source.splitlines())
    return [line for line in lines if commands.SETUP_LINE.match(line.lstrip("!% "))]


def _secrets(context: Context, number: int, cell: Cell) -> tuple[list[tuple[int, int, str]], list[Change]]:
    edits, changes = [], []
    for node, name in clear_text.find(cell):
        text = f'{context.alias}.secret("{name}")'
        edits.append((*cell.span(node), text))
        changes.append(Change(cell=number + 1, kind="secret", before="(a secret in clear)", after=text))
    return edits, changes


def _read_command(notebook: Context, text: str) -> commands.Found | None:
    """Find what one command of a shell is."""
    reading = commands.read(cells.Command(sigil="!", text=text, target="", start=0, end=len(text)), notebook)
    return None if reading is not None and reading.kind == "train" else reading


def _several(command: cells.Command, notebook: Context) -> commands.Found | None:
    """Find what a line of several commands is, each by itself."""
    if command.target or not command.sigil.startswith("!"):
        return None
    try:
        lines = shell_cell.of_line(command.text, partial(_read_command, notebook))
    except shell_cell.NoWayError as error:
        return commands.Found(kind="system", reason=str(error))
    return None if lines is None else commands.Found(kind="system", calls=tuple(lines))


def _change(number: int, kind: str, before: str, after: str) -> Change:
    return Change(cell=number + 1, kind=kind, before=clear_text.masked(before), after=clear_text.masked(after))


def _overlap(one: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    for start, end, new in sorted(edits, key=lambda edit: (edit[0], edit[1]), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _without_import(cell: Cell, name: str) -> str | None:
    """Return the cell's text without the import of a name; None when it has none."""
    for node in ast.walk(cell.tree or ast.Module(body=[], type_ignores=[])):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        rest = [one for one in node.names if (one.asname or one.name.partition(".")[0]) != name]
        if len(rest) == len(node.names):
            continue
        if rest:
            words = ", ".join(f"{one.name} as {one.asname}" if one.asname else one.name for one in rest)
            head = f"from {node.module} import " if isinstance(node, ast.ImportFrom) else "import "
            return _edited(cell.source, [(*cell.span(node), head + words)])
        return remove(cell, node)
    return None


def remove(cell: Cell, node: ast.stmt) -> str:
    """Return the cell's text without a statement; `pass` where a block would be empty."""
    start, end = cell.span(node)
    tree: Any = cell.tree
    for parent in ast.walk(tree):
        for block in ("body", "orelse", "finalbody"):
            statements = getattr(parent, block, None)
            if isinstance(statements, list) and node in statements and len(statements) == 1 and parent is not tree:
                return _edited(cell.source, [(start, end, "pass")])
    before, after = cell.source[:start], cell.source[end:]
    if match := re.match(r"[ \t]*;[ \t]*", after):
        return before + after[match.end() :]
    if match := re.search(r"[ \t]*;[ \t]*$", before):
        return before[: match.start()] + after
    if not before.rpartition("\n")[2].strip() and not after.partition("\n")[0].partition("#")[0].strip():
        return before[: len(before) - len(before.rpartition("\n")[2])] + after.partition("\n")[2]
    return _edited(cell.source, [(start, end, "pass")])
