"""Give the machine back: as google.colab's `runtime.unassign` does, from a kernel or a command of it."""

from __future__ import annotations

import contextlib
import http.client
from typing import TYPE_CHECKING

from colabkit import config
from colabkit.errors import UnsupportedError
from colabkit.runtime import detect, frontend
from colabkit.runtime.frontend import rpc as frontend_rpc

if TYPE_CHECKING:
    from collections.abc import Mapping

_ADDRESS = "TBE_RUNTIME_ADDR"
_PATIENCE = 30.0  # seconds
_OK = 200


def release(*, env: Mapping[str, str] | None = None) -> str:
    """End this session, so that it costs nothing more; say what was done.

    On Colab the machine is given back at once. On Kaggle a batch run ends with its notebook, which is said.

    Args:
        env: Other environment variables than this process'.

    Raises:
        UnsupportedError: This machine is nobody's to take back, or it could not be given back; the message says what
            to do by hand.
    """
    variables = config.environment() if env is None else env
    host = detect().host
    if host == "kaggle":
        return "Kaggle takes the machine back when this notebook ends; stop an interactive session by its power button"
    address = variables.get(_ADDRESS)
    if host != "colab" or not address:
        raise UnsupportedError(
            f"this machine cannot be given back from here ({host})",
            why="only Colab takes a machine back when a program asks for it",
            hint="stop the machine where you started it",
        )
    _post(address)
    shell = frontend.running_shell()
    if frontend_rpc.is_kernel(shell) and frontend_rpc.may_ask():
        with contextlib.suppress(Exception):  # the machine may be gone before the page answers
            from google.colab import output

            output.eval_js("google.colab.kernel.disconnect();", ignore_result=True)
    return "the machine was given back to Colab"


def _post(address: str) -> None:
    connection = http.client.HTTPConnection(address, timeout=_PATIENCE)
    try:
        connection.request("POST", "/unassign")
        status = connection.getresponse().status
    except OSError as error:
        raise _failed(str(error)) from error
    finally:
        connection.close()
    if status != _OK:
        raise _failed(f"its runtime service answered {status}")


def _failed(why: str) -> UnsupportedError:
    return UnsupportedError(
        "Colab did not take the machine back", why=why, hint="choose Runtime, Disconnect and delete runtime"
    )
