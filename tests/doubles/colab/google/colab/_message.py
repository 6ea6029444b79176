"""Requests to the frontend on the iopub channel, answers on the stdin channel."""

import itertools
import time

import zmq
from google.colab import errors
from ipykernel.kernelapp import IPKernelApp

_numbers = itertools.count(1)


class MessageError(errors.Error):
    """The frontend answered with an error."""


def blocking_request(request_type, request="", timeout_sec=5, parent=None):
    """Ask the frontend and wait: its data, or None when nobody answered in time; foreign answers are dropped."""
    kernel = IPKernelApp.instance().kernel
    number = next(_numbers)
    if parent is None:
        parent = {"header": {"session": kernel.get_parent("shell")["header"]["session"]}}
    kernel.session.send(
        kernel.iopub_socket,
        "colab_request",
        content={"request": request},
        metadata={"colab_request_type": request_type, "colab_msg_id": number},
        parent=parent,
    )
    deadline = None if timeout_sec is None else time.monotonic() + timeout_sec
    while deadline is None or time.monotonic() < deadline:
        _, reply = kernel.session.recv(kernel.stdin_socket, zmq.NOBLOCK)
        value = {} if reply is None else reply["content"].get("value")
        if isinstance(value, dict) and value.get("type") == "colab_reply" and value.get("colab_msg_id") == number:
            if "error" in value:
                raise MessageError(value["error"])
            return value.get("data")
        time.sleep(0.025)
    return None
