"""Google Colab on this machine: a real kernel with google.colab in it, a frontend in front of it, Drive behind it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from colabkit import config
from colabkit.runtime.hosts import colab
from colabkit.testing._colab.kernel import PATIENCE, Kernel
from colabkit.testing._colab.page import Page
from colabkit.testing._drive_mount import daemon
from colabkit.testing.drive_folder import DriveFolder
from colabkit.testing.web import FakeWeb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from colabkit._types import StrPath
    from colabkit.testing.web import World

_USER = "user-consent"
_DOUBLES = Path(__file__).parent / "doubles" / "colab"

Frontend = Literal["browser", "vscode", "cli", "silent", "headless"]
"""Who shows the notebook. VS Code and the `colab` command answer `request_auth` only; a silent one answers nothing,
and a headless run does not even allow prompts."""

Consent = Literal["granted", "refused", "silent"]
"""What the user does when asked for credentials; silent is a dialog that nobody clicks."""

MOUNT_FAULTS: Mapping[str, tuple[str, str]] = {
    "policy": ("The domain policy has disabled Drive File Stream", "DriveFS is disabled by policy"),
    "timeout": ("", "QueryManager timed out during the initial read of the root folder"),
    "quota": ("", "fetch of root failed: QUOTA_EXCEEDED"),
    "unseen": ("", "fatal: ended before anybody looked"),
    "stops": ("Drive File Stream encountered a problem and has stopped", "fatal: database is corrupt"),
}
"""What Drive's program says and what it logs, by the fault that ends it at its start."""


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
        root: The root of the machine's files: `root/content` is its `/content`.
        mountpoint: Where its Drive is to be mounted.
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
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="colab-") if folder is None else folder).absolute()
        self.root = self.folder / "root"
        self.mountpoint = self.root / "content" / "drive"
        self.drive = DriveFolder(self.folder / "drive", mountpoint=self.mountpoint, **(drive or {}))
        self.frontend, self.consent, self.secrets = frontend, consent, dict(secrets or {})
        self.delay = delay
        self.requests: list[Request] = []
        self._answers, self._javascript, self._env = answers, javascript, dict(env or {})
        self._enterprise, self._python = enterprise, python
        self._double = _DOUBLES if colabtools is None else Path(colabtools).absolute()
        self._fault = mount_fault
        self._page = Page(uploads=uploads)
        self.displays, self.viewed, self.downloads = self._page.displays, self._page.viewed, self._page.downloads
        self._kernel = Kernel(self._page, self._reply_to)
        self._web, self._open = tuple(web), ExitStack()
        self._proxy: dict[str, str] = {}

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
        return self._fault

    @mount_fault.setter
    def mount_fault(self, fault: str | None) -> None:
        self._fault = fault
        file, unseen = self.drive.state / daemon.FAULT, self.drive.state / "unseen"
        unseen.unlink(missing_ok=True)
        if fault == "unseen":
            unseen.touch()
        if fault is None:
            file.unlink(missing_ok=True)
        else:
            file.write_text("\n".join(MOUNT_FAULTS[fault]))

    def environment(self) -> dict[str, str]:
        """Return the variables of the machine, which a subprocess of it gets as well."""
        modules = map(str, (self._double, Path(config.__file__).parents[1]))
        enterprise = {"VERTEX_PRODUCT": "COLAB_ENTERPRISE"} if self._enterprise else {}
        return {
            colab.TAG: "release-colab_20260825-060134_RC00",
            "COLAB_BACKEND_VERSION": "next",
            "COLAB_GPU": "",
            "COLAB_IMAGE_TYPE": "cpu",
            "COLAB_NOTEBOOK_ID": "1aBcD",
            "CLOUDSDK_CONFIG": str(self.root / "content" / ".config"),
            "TBE_RUNTIME_ADDR": "127.0.0.1:9",
            "TBE_CREDS_ADDR": "127.0.0.1:9",
            "TBE_EPHEM_CREDS_ADDR": "127.0.0.1:9",
            "USE_AUTH_EPHEM": "1",
            "UV_SYSTEM_PYTHON": "true",
            "IPYTHONDIR": str(self.folder / "ipython"),
            "PYTHONPATH": os.pathsep.join(modules),
            config.MACHINE_ROOT: str(self.root),
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            **self.drive.environment(),
            **enterprise,
            **self._proxy,
            **self._env,
        }

    def start(self) -> None:
        """Lay the machine's files out and start the kernel."""
        self._lay_out()
        if self._web:
            self._proxy = dict(self._open.enter_context(FakeWeb(*self._web)).env)
        argv = [str(self._python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        argv.append("--IPKernelApp.kernel_class=google.colab._kernel.Kernel")
        self._kernel.start(argv, self.folder / "kernels", env=self.environment(), cwd=self.root / "content")
        if self.frontend == "vscode":
            self.run("__vsc_ipynb_file__ = '/content/notebook.ipynb'")

    def _lay_out(self) -> None:
        for name, text in {"var/colab/hostname": "m-s-1x2y3z4a5b6c", "opt/google/drive/drive": self._program()}.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (self.root / "opt/google/drive/drive").chmod(0o755)
        for name in ("content/sample_data", "content/.config"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for name in ("proc", "sys"):  # memory and cores are this machine's
            if not (self.root / name).is_symlink():
                (self.root / name).symlink_to(f"/{name}")
        (self.drive.state / daemon.CONSENT).unlink(missing_ok=True)
        self.mount_fault = self._fault
        gcloud = self.folder / "bin" / "gcloud"  # authenticate_user runs it; it needs to do nothing here
        gcloud.parent.mkdir(exist_ok=True)
        gcloud.write_text("#!/bin/sh\nexit 0\n")
        gcloud.chmod(0o755)

    def _program(self) -> str:
        """Write Drive's program: what google.colab starts has few of the kernel's variables, so it brings its own."""
        variables = {**self.drive.environment(), "PYTHONPATH": str(Path(config.__file__).parents[1])}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        return "\n".join(["#!/bin/sh", *lines, f'exec {shlex.quote(sys.executable)} -m {daemon.__name__} "$@"', ""])

    def run(self, code: str, *, answer: str | None = None, timeout: float = PATIENCE) -> str:
        """Run a cell as the frontend does, answering what it asks; return what was printed or raised, and not cleared.

        A file that the cell hands to the browser is in `downloads` then.

        Args:
            code: The cell.
            answer: What the user types where the cell prompts.
            timeout: Seconds after which the cell is given up.

        Raises:
            TimeoutError: It did not end in time; the message has what it printed.
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
        name = daemon.CONSENT if scope == "dfs_ephemeral" else _USER
        (self.drive.state / name).touch()
        return {}

    def set_back(self) -> None:
        """Make the machine what it was, but for the kernel: no Drive, an empty cloud, nothing allowed or asked."""
        self.drive.unmount()
        for folder in (self.drive.home, self.drive.state / "cloud", self.drive.trash, self.mountpoint):
            shutil.rmtree(folder, ignore_errors=True)
        self.drive.home.mkdir()
        for name in (daemon.CONSENT, _USER):
            (self.drive.state / name).unlink(missing_ok=True)
        self.frontend, self.consent, self.mount_fault, self.uploads = "browser", "granted", None, None
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
        self._open.close()
        self.drive.close()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
