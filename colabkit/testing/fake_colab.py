"""Google Colab on this machine: a real kernel with google.colab in it, a frontend in front of it, Drive behind it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from colabkit.testing._colab.kernel import PATIENCE, Kernel
from colabkit.testing._colab.page import Page
from colabkit.testing.colab_machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from colabkit._types import StrPath
    from colabkit.testing.web import World

Frontend = Literal["browser", "vscode", "cli", "silent", "headless"]
"""Who shows the notebook. VS Code and the `colab` command answer `request_auth` only; a silent one answers nothing,
and a headless run does not even allow prompts."""

Consent = Literal["granted", "refused", "silent"]
"""What the user does when asked for credentials; silent is a dialog that nobody clicks."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One message from the kernel to the frontend.

    Attributes:
        kind: Its type: `request_auth`, `GetSecret`, `cell_javascript_eval`.
        body: What was asked.
    """

    kind: str
    body: Any


class FakeColab:
    r"""A Colab runtime for tests, to be used in a `with` statement: `run()` executes a cell.

    The kernel is a real one, with a double of google.colab whose messages, errors and words are Colab's; the host's
    variables and files are there (the files under `root`), and `drive.mount()` starts a program that really mounts a
    `DriveFolder`. `secrets`, `consent`, `frontend`, `delay`, `uploads` and `mount_fault` may be changed between cells.

    Attributes:
        drive: What is behind the mount: the cloud, the trash, the faults.
        requests: What the kernel asked the frontend so far.
        displays: What the cells showed beside plain text so far.
        viewed: The paths that `files.view` opened in the page.
        downloads: The files that `files.download` handed to the browser, by name.

    Args:
        folder: Where everything is kept; a temporary folder that goes at the end, when None.
        frontend: Who shows the notebook.
        consent: What the user does when asked for credentials.
        secrets: The user's secrets by name; None where the notebook has no access.
        delay: Seconds until the page answers, as on a slow line or in a tab that sleeps.
        answers: How many requests are answered before the frontend falls silent; None is all.
        uploads: The files that the user chooses in a dialog of `files.upload`, by name; {} cancels it, and None leaves
            it open.
        javascript: Returns the value of a script that runs in the page.
        mount_fault: What ends Drive's program at its start: "policy", "timeout", "quota", "stops", "unseen" (which
            google.colab misses, so that it waits for half a minute more than its time), or None.
        enterprise: Whether it is Colab Enterprise.
        env: More variables for the kernel.
        python: The interpreter of the kernel.
        colabtools: A checkout of the real google.colab, to be used in the place of the double; its `drive` asks for
            files of the whole machine and works on a real Colab only.
        drive: Fields of `DriveSettings`.
        web: What plays the internet to the kernel, as `FakeKaggle()`; other hosts cannot be reached then. The real
            internet, when empty.

    Example:
        >>> with FakeColab(secrets={"HF_TOKEN": "abc"}) as colab:
        ...     colab.run("from google.colab import userdata; print(userdata.get('HF_TOKEN'))")
        'abc\n'
    """

    def __init__(
        self,
        folder: StrPath | None = None,
        *,
        frontend: Frontend = "browser",
        consent: Consent = "granted",
        secrets: Mapping[str, str | None] | None = None,
        delay: float = 0.0,
        answers: int | None = None,
        uploads: Mapping[str, bytes] | None = None,
        javascript: Callable[[str], Any] | None = None,
        mount_fault: str | None = None,
        enterprise: bool = False,
        env: Mapping[str, str] | None = None,
        python: StrPath = sys.executable,
        colabtools: StrPath | None = None,
        drive: Mapping[str, Any] | None = None,
        web: Sequence[World] = (),
    ) -> None:
        more = {"VERTEX_PRODUCT": "COLAB_ENTERPRISE"} if enterprise else {}
        self._machine = Machine(
            folder,
            drive=drive or {},
            fault=mount_fault,
            colabtools=colabtools,
            web=web,
            env={**more, **(env or {})},
        )
        self.drive = self._machine.drive
        self.frontend, self.consent, self.secrets = frontend, consent, dict(secrets or {})
        self.delay = delay
        self.requests: list[Request] = []
        self._answers, self._javascript, self._python = answers, javascript, python
        self._page = Page(uploads=uploads)
        self.displays, self.viewed, self.downloads = self._page.displays, self._page.viewed, self._page.downloads
        self._kernel = Kernel(self._page, self._reply_to)

    @property
    def folder(self) -> Path:
        """Where everything is kept."""
        return self._machine.folder

    @property
    def root(self) -> Path:
        """The root of the machine's files: `root/content` is its `/content`."""
        return self._machine.root

    @property
    def mountpoint(self) -> Path:
        """Where its Drive is to be mounted."""
        return self._machine.mountpoint

    @property
    def secrets_asked(self) -> list[str]:
        """The names of the secrets that were asked for."""
        return [request.body["key"] for request in self.requests if request.kind == "GetSecret"]

    @property
    def uploads(self) -> Mapping[str, bytes] | None:
        """What the user chooses when asked for files."""
        return self._page.uploads

    @uploads.setter
    def uploads(self, files: Mapping[str, bytes] | None) -> None:
        self._page.uploads = files

    @property
    def mount_fault(self) -> str | None:
        """What ends Drive's program at its start."""
        return self._machine.mount_fault

    @mount_fault.setter
    def mount_fault(self, fault: str | None) -> None:
        self._machine.mount_fault = fault

    def environment(self) -> dict[str, str]:
        """Return the variables of the machine, which a subprocess of it gets as well."""
        return self._machine.environment()

    def start(self) -> None:
        """Lay the machine's files out and start the kernel."""
        self._machine.start()
        argv = [str(self._python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        argv.append("--IPKernelApp.kernel_class=google.colab._kernel.Kernel")
        self._kernel.start(argv, self.folder / "kernels", env=self.environment(), cwd=self.root / "content")
        if self.frontend == "vscode":
            self.run("__vsc_ipynb_file__ = '/content/notebook.ipynb'")

    def run(self, code: str, *, answer: str | None = None, timeout: float = PATIENCE) -> str:
        """Run a cell as the frontend does, answering what it asks; return what was printed or raised, and not cleared.

        A file that the cell hands to the browser is in `downloads` then.

        Args:
            code: The cell.
            answer: What the user types where the cell prompts.
            timeout: Seconds after which the cell is given up.

        Raises:
            TimeoutError: It did not end in time; the message has what it printed.
            RuntimeError: The kernel died, as where memory ends; `restart_kernel` begins another one.
        """
        self._page.runs_scripts = self.frontend == "browser"
        return self._kernel.run(code, answer=answer, timeout=timeout, may_ask=self.frontend != "headless")

    def invoke(self, name: str, *args: Any, **kwargs: Any) -> Mapping[str, Any]:
        """Call a function that a cell registered by `output.register_callback`, as a script in the page does.

        Args:
            name: The name that it has for the page.
            args: What `google.colab.kernel.invokeFunction` is given; what JSON can say.
            kwargs: The same.

        Returns:
            The value in all the types that it can be shown in, as "text/plain".

        Raises:
            RuntimeError: It failed, in its words.
        """
        module, words = "__import__('google.colab.output', fromlist=['_js'])", (name, *map(json.dumps, (args, kwargs)))
        value = self._kernel.evaluate(f"{module}._js._invoke_function({', '.join(map(repr, words))})")
        if value["status"] != "ok":
            raise RuntimeError(f"{value['ename']}: {value['evalue']}")
        data: Mapping[str, Any] = value["data"]
        return data

    def _reply_to(self, message: Mapping[str, Any]) -> tuple[float, dict[str, Any]] | None:
        kind, body = message["metadata"]["colab_request_type"], message["content"]["request"]
        self.requests.append(Request(kind=kind, body=body))
        if self._answers is not None and len(self.requests) > self._answers:
            return None
        number = message["metadata"].get("colab_msg_id")
        answer = self._answer(kind, body)
        if number is None or answer is None:
            return None
        return self.delay, {"type": "colab_reply", "colab_msg_id": number, **answer}

    def _answer(self, kind: str, body: Any) -> dict[str, Any] | None:
        """Return what the reply carries beside its number; None is no reply."""
        if self.frontend in ("silent", "headless"):
            return None
        if kind == "request_auth":
            return self._ask_for_consent(body["authType"])
        if self.frontend != "browser":
            return None
        if kind == "GetSecret":
            value = self.secrets.get(body["key"])
            return {
                "data": {"exists": body["key"] in self.secrets, "access": value is not None, "payload": value or ""}
            }
        if kind == "cell_javascript_eval" and self._page.knows(body["script"]):
            step = self._page.evaluate(body["script"])
            return None if step is None else {"data": step}
        if kind == "cell_javascript_eval":
            return {"data": None if self._javascript is None else self._javascript(body["script"])}
        return None

    def _ask_for_consent(self, scope: str) -> dict[str, Any] | None:
        if self.consent == "silent":
            return None
        if self.consent == "refused":
            return {"error": "Error: credential propagation was unsuccessful"}
        self._machine.note_consent(scope)
        return {}

    def set_back(self) -> None:
        """Make the machine what it was, but for the kernel: no Drive, an empty cloud, nothing allowed or asked."""
        self._machine.set_back()
        self.frontend, self.consent, self._page.uploads = "browser", "granted", None
        self.delay = 0.0
        for recorded in (self.requests, self.displays, self.viewed, self.downloads):
            recorded.clear()

    def interrupt(self) -> str:
        """Interrupt the cell that `run` gave up, as the page's stop button does; return what it still said."""
        return self._kernel.interrupt()

    def restart_kernel(self) -> None:
        """Start the kernel anew, as the menu does; Drive stays mounted."""
        self._kernel.restart()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the kernel and Drive, and remove what was made."""
        self._kernel.close()
        self._machine.close()
