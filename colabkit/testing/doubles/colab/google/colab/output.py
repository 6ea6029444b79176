"""JavaScript in the notebook's page."""

from typing import Any

from google.colab import _message
from ipykernel.kernelapp import IPKernelApp


def eval_js(script: str, ignore_result: bool = False, timeout_sec: float | None = None) -> Any:
    """Run a script in the page and return its value; waits forever where no page answers and no time is given."""
    parent = IPKernelApp.instance().kernel.get_parent("shell")
    body = {"script": script}
    if ignore_result:
        _message.send_request("cell_javascript_eval", body, parent=parent, expect_reply=False)
        return None
    return _message.blocking_request("cell_javascript_eval", request=body, timeout_sec=timeout_sec, parent=parent)
