"""What runs in each worker: the script, and a last word to the supervisor when colabkit refuses.

Started as `python -m colabkit.launch.worker SCRIPT ARGS…`; nobody calls it by hand.
"""

from __future__ import annotations

import ctypes
import json
import os
import runpy
import signal
import sys
from pathlib import Path

from colabkit.config import WORKER_REPORT
from colabkit.errors import ColabKitError

_PR_SET_PDEATHSIG = 1
_LONGEST_PART = 600  # characters; JSON may make twelve bytes of one, and a pipe takes 64 KiB at once


def main() -> None:
    """Run the script as if it were started by its own name."""
    _hear_interrupts()
    _die_with(os.getppid())
    pipe = int(os.environ.pop(WORKER_REPORT))
    os.set_inheritable(pipe, False)
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except ColabKitError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        last = {name: part[:_LONGEST_PART] for name, part in error.to_json().items()}
        os.write(pipe, json.dumps(last).encode())
        sys.exit(error.exit_code)


def _hear_interrupts() -> None:
    """Let SIGINT reach the script: nodes of Ray block it in what they start, a shell ignores it behind `&`."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _die_with(parent: int) -> None:
    """Ask Linux to end this process when its supervisor is killed; a worker without one would train on for ever."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(1)


if __name__ == "__main__":
    main()
