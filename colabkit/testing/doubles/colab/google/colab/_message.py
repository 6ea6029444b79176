"""Requests to the frontend on the iopub channel, answers on the stdin channel. Not for two threads at once."""

import itertools
import time
from typing import Any

import zmq
from google.colab import errors
from ipykernel.kernelapp import IPKernelApp

_numbers = itertools.count(1)
_POLL = 0.025


class MessageError(errors.Error):
    """The frontend answered with an error."""


def send_request(request_type: str, request_body: Any, parent: Any = None, expect_reply: bool = True) -> int | None:
    """Send a request; return its number where a reply is expected."""
    kernel = IPKernelApp.instance().kernel
    metadata: dict[str, Any] = {"colab_request_type": request_type}
    number = None
    if expect_reply:
        number = metadata["colab_msg_id"] = next(_numbers)
    if parent is None and (running := kernel.get_parent("shell")):  # in a thread or a callback there may be none
        parent = {"header": {"session": running["header"]["session"]}}
    content = {"request": request_body}
    kernel.session.send(kernel.iopub_socket, "colab_request", content=content, metadata=metadata, parent=parent)
    return number


def blocking_request(request_type: str, request: Any = "", timeout_sec: float | None = 5, parent: Any = None) -> Any:
    """Ask the frontend and wait: its data, or None when nobody answered in time; foreign answers are dropped."""
    return read_reply_from_input(send_request(request_type, request, parent=parent), timeout_sec)


def read_reply_from_input(message_id: int | None, timeout_sec: float | None = None) -> Any:
    """Wait for the answer to a request, as `blocking_request` does."""
    kernel = IPKernelApp.instance().kernel
    deadline = time.monotonic() + timeout_sec if timeout_sec else None
    while deadline is None or time.monotonic() < deadline:
        try:
            _, reply = kernel.session.recv(kernel.stdin_socket, zmq.NOBLOCK)
        except Exception:  # noqa: BLE001 - what is no message is passed over
            reply = None
        value = {} if reply is None else reply["content"].get("value")
        if isinstance(value, dict) and value.get("type") == "colab_reply" and value.get("colab_msg_id") == message_id:
            if "error" in value:
                raise MessageError(value["error"])
            return value.get("data")
        time.sleep(_POLL)
    return None
