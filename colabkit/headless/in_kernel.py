"""Runs inside the kernel of a headless run, before its first cell: tells what nobody is there to see.

The kernel may be any environment, so this file is run by its path and needs the standard library and IPython alone.
It writes a line of JSON into the run's folder for each `!` command that failed, each restart that a cell asks for, and
each question that nobody answers.
"""

from __future__ import annotations

import ast
import contextlib
import faulthandler
import inspect
import json
import linecache
import os
import re
import select
import signal
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import Any, NoReturn

NOTES = "notes.jsonl"
SETTINGS = "settings.json"
CRASH = "crash.txt"
ANSWER = "answer.json"
RUN_NAME = "colabkit_run"
_MOMENT, _LONGEST_DRAIN = 0.005, 2.0  # seconds
_INSTALLS = re.compile(r"(?:^|\s|/)(?:pip3?|uv|conda|mamba|apt|apt-get)\s+.*\binstall\b|condacolab")
_SHELL_MAGICS = frozenset(("pip", "uv", "conda", "mamba", "micromamba", "shell"))
_PLAIN_CALLS = frozenset(("print", "sleep", "kill", "_exit", "getpid", "system", "run_line_magic", "flush", "exit"))
_KEYS = {"huggingface_hub": "HF_TOKEN", "wandb": "WANDB_API_KEY", "kagglehub": "KAGGLE_API_TOKEN"}
_OUTSIDE_CELLS = ("/IPython/", "/ipykernel/", "/getpass.py", __file__)


def begin(folder: str) -> None:
    """Prepare the kernel."""
    from IPython.core.getipython import get_ipython

    with open(os.path.join(folder, SETTINGS), encoding="utf-8") as file:  # noqa: PTH118 - pathlib takes 10 ms
        settings = json.load(file)
    run = _Run(get_ipython(), folder, settings)
    run.prepare()
    if settings["shim"]:
        run.give_modules(settings["folder"])


class CommandFailedError(RuntimeError):
    """A command behind `!` ended with another code than 0, and the run is strict."""


class NobodyAnswersError(RuntimeError):
    """A cell asks, and nobody is there to answer."""


class _Run:
    def __init__(self, shell: Any, folder: str, settings: dict[str, Any]) -> None:
        self.shell = shell
        self.notes = os.path.join(folder, NOTES)  # noqa: PTH118
        self.answer_file = os.path.join(folder, ANSWER)  # noqa: PTH118
        self.strict: bool = settings["strict"]
        self.answers: dict[str, Any] = settings["parameters"]
        self.has_installed = False
        self.crash = open(os.path.join(folder, CRASH), "w")  # noqa: PTH118, SIM115

    def prepare(self) -> None:
        """Put the hooks in place."""
        faulthandler.enable(self.crash, all_threads=False)
        self.shell.colabkit_ended = self.command_ended
        self.shell.ast_transformers.append(_AfterCommands())
        self.shell.events.register("post_execute", _drain)
        self.shell.events.register("post_run_cell", self.cell_ended)
        kernel = self.shell.kernel
        kernel.raw_input = self.answer
        kernel.getpass = self.answer_hidden
        really_shut_down, really_kill, really_exit = kernel.do_shutdown, os.kill, os._exit

        def do_shutdown(restart: bool) -> Any:
            if restart and _is_in_cell(kernel):
                self.note(restart="the kernel's do_shutdown")
                return {"status": "ok", "restart": True}
            return really_shut_down(restart)

        def kill(pid: int, number: int, /) -> None:
            is_end = pid == os.getpid() and number in (signal.SIGKILL, signal.SIGTERM)
            if is_end and self.is_restart(inspect.currentframe()):
                self.note(restart="os.kill")
            really_kill(pid, number)

        def leave(status: int) -> NoReturn:
            if self.is_restart(inspect.currentframe()):
                self.note(restart="os._exit")
            really_exit(status)

        kernel.do_shutdown, os.kill, os._exit = do_shutdown, kill, leave

    def give_modules(self, folder: str) -> None:
        """Give the modules of Colab and Kaggle that are missing, where this environment has colabkit."""
        try:
            from colabkit.shims import colab_shim
        except ImportError:
            return
        self.note(said=colab_shim(content=folder, quiet=True))

    def note(self, **values: Any) -> None:
        """Write one line, whole and at once: the process may end behind it."""
        descriptor = os.open(self.notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, (json.dumps(values) + "\n").encode())
        finally:
            os.close(descriptor)

    def cell_ended(self, result: Any) -> None:
        """Write down how the cell has ended, should the kernel's answer be lost on its way."""
        error = result.error_before_exec or result.error_in_exec
        answer: dict[str, Any] = {"status": "ok"}
        if error is not None:
            answer = {"status": "error", "ename": type(error).__name__, "evalue": str(error), "traceback": []}
        with contextlib.suppress(AttributeError, KeyError, TypeError, OSError):  # an old kernel, or a disk that is full
            request = self.shell.kernel.get_parent("shell")["header"]["msg_id"]
            with open(f"{self.answer_file}.new", "w", encoding="utf-8") as file:
                json.dump({"request": request, "content": answer}, file)
            os.replace(f"{self.answer_file}.new", self.answer_file)

    def command_ended(self, command: str) -> None:
        """Look at the exit code of the command that has just run."""
        self.has_installed = self.has_installed or _INSTALLS.search(command) is not None
        code = self.shell.user_ns.get("_exit_code")
        if isinstance(code, int) and code:
            self.note(command=command, code=code)
            if self.strict:
                raise CommandFailedError(f"a command ended with {code}")

    def is_restart(self, frame: FrameType | None) -> bool:
        """Say whether a cell that ends its own kernel means a restart, as it does behind an installation.

        In a loop it is the crash of a training; and a cell that does other work is not run again for nothing.
        """
        if threading.current_thread() is not threading.main_thread() or not _is_in_cell(self.shell.kernel):
            return False
        while frame is not None and frame.f_code.co_name != "<module>":
            frame = frame.f_back
        if frame is None:
            return False
        tree = _parsed("".join(linecache.getlines(frame.f_code.co_filename)))
        loops = (node for node in ast.walk(tree) if isinstance(node, (ast.For, ast.While, ast.AsyncFor)))
        if any(node.lineno <= frame.f_lineno <= (node.end_lineno or 0) for node in loops):
            return False
        return self.has_installed or all(map(_is_plain, tree.body))

    def answer(self, prompt: str = "") -> str:
        """Answer `input()` by the parameter that has the name it is assigned to."""
        name = _target(inspect.currentframe()) or _as_name(str(prompt))
        if name not in self.answers:
            raise self._nobody(name, str(prompt), hidden=False)
        value = str(self.answers[name])
        print(f"{prompt}{value}")  # noqa: T201 - what stands there when a person has typed it
        return value

    def answer_hidden(self, prompt: str = "", stream: Any = None) -> str:  # noqa: ARG002 - getpass's own signature
        """Answer `getpass()` by the environment variable or the secret of its name; a parameter would be saved."""
        frame: FrameType | None = inspect.currentframe()
        name = _key_of(frame) or _target(frame) or _as_name(str(prompt))
        for variable in (name, name.upper()):
            if os.environ.get(variable):
                return os.environ[variable]
        raise self._nobody(name, str(prompt), hidden=True)

    def _nobody(self, name: str, prompt: str, *, hidden: bool) -> NobodyAnswersError:
        self.note(asked=name, prompt=prompt.strip()[:100], hidden=hidden)
        how = f"set the environment variable {name.upper()}" if hidden else f"pass -p {name}=VALUE"
        return NobodyAnswersError(f"the cell asks {prompt.strip()[:100]!r}, and nobody is there to answer; {how}")


class _AfterCommands(ast.NodeTransformer):
    """Puts a look at the exit code behind each statement that is a `!` command or `%pip`."""

    def visit_Expr(self, node: ast.Expr) -> Any:
        """Return the statement and the look behind it."""
        command = _command(node.value)
        if command is None:
            return node
        probe = ast.parse("get_ipython().colabkit_ended()").body[0]
        probe.value.args.append(ast.Constant(command))  # type: ignore[attr-defined]
        for each in ast.walk(probe):
            ast.copy_location(each, node)
        return [node, ast.fix_missing_locations(probe)]


def _drain() -> None:
    """Let what children wrote reach the notebook before its cell has ended: what comes later is dropped by nbclient."""
    until = time.monotonic() + _LONGEST_DRAIN
    for stream in (sys.stdout, sys.stderr):
        descriptor = getattr(stream, "_fid", None)
        if not isinstance(descriptor, int):
            continue
        while select.select([descriptor], [], [], 0)[0] and time.monotonic() < until:
            time.sleep(_MOMENT)
        time.sleep(_MOMENT)  # the thread has read, and now writes
        stream.flush()


def _command(value: ast.expr) -> str | None:
    if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute)):
        return None
    owner = value.func.value
    if not (isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "get_ipython"):
        return None
    words = [word.value for word in value.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    if value.func.attr == "system" and words:
        return words[0]
    if value.func.attr == "run_line_magic" and len(words) > 1 and words[0] in _SHELL_MAGICS:
        return words[1] if words[0] == "shell" else f"{words[0]} {words[1]}"
    return None


def _is_plain(statement: ast.stmt) -> bool:
    """Say whether a statement does no work that would be lost."""
    if isinstance(statement, (ast.Import, ast.ImportFrom, ast.Pass, ast.FunctionDef)):
        return True
    if isinstance(statement, ast.Expr):
        if isinstance(statement.value, ast.Constant):
            return True
        called = statement.value.func if isinstance(statement.value, ast.Call) else None
        name = getattr(called, "attr", None) or getattr(called, "id", "")
        return name in _PLAIN_CALLS or name == "colabkit_ended"
    if isinstance(statement, (ast.If, ast.Try)):
        return all(map(_is_plain, _inner(statement)))
    return False


def _inner(statement: ast.If | ast.Try) -> Iterator[ast.stmt]:
    yield from statement.body
    yield from statement.orelse
    if isinstance(statement, ast.Try):
        yield from statement.finalbody
        for handler in statement.handlers:
            yield from handler.body


def _is_in_cell(kernel: Any) -> bool:
    try:
        in_main = threading.current_thread() is threading.main_thread()
        return in_main and kernel.get_parent("shell")["header"]["msg_type"] == "execute_request"
    except (AttributeError, KeyError, TypeError):
        return False


def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module(body=[], type_ignores=[])


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _key_of(frame: FrameType | None) -> str:
    """The variable that a library which asks for its key would have read."""
    packages = (str(each.f_globals.get("__name__", "")).partition(".")[0] for each in _frames(frame))
    return next((_KEYS[package] for package in packages if package in _KEYS), "")


def _target(frame: FrameType | None) -> str:
    """The name that the answer is assigned to, in the line of the caller."""
    while frame is not None and any(part in frame.f_code.co_filename for part in _OUTSIDE_CELLS):
        frame = frame.f_back
    if frame is None:
        return ""
    tree = _parsed("".join(linecache.getlines(frame.f_code.co_filename)))
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or not (
            node.lineno <= frame.f_lineno <= (node.end_lineno or 0)
        ):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if isinstance(target, ast.Name):
            return target.id
        if isinstance(target, ast.Attribute):
            return target.attr
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            text = str(target.slice.value)
            return text if text.isidentifier() else _as_name(text)
    return ""


def _as_name(text: str) -> str:
    return "_".join(re.findall(r"[A-Za-z0-9]+", text)[:4]).lstrip("0123456789_").lower() or "answer"


if __name__ == RUN_NAME:
    begin(globals()["FOLDER"])
