"""JavaScript in the notebook's page, and functions of the kernel that it calls."""

import json
from collections.abc import Callable
from typing import Any

from google.colab import _message
from ipykernel.kernelapp import IPKernelApp

_functions: dict[str, Callable[..., Any]] = {}


def eval_js(script: str, ignore_result: bool = False, timeout_sec: float | None = None) -> Any:
    """Run a script in the page and return its value; waits forever where no page answers and no time is given."""
    parent = IPKernelApp.instance().kernel.get_parent("shell")
    number = _message.send_request("cell_javascript_eval", {"script": script}, parent=parent)
    # An answer that is ignored comes all the same; whoever asks next passes it over.
    return None if ignore_result else _message.read_reply_from_input(number, timeout_sec)


def register_callback(function_name: str, callback: Callable[..., Any]) -> None:
    """Let scripts in the page call a function by `google.colab.kernel.invokeFunction(name, args, kwargs)`."""
    _functions[function_name] = callback


def unregister_callback(function_name: str) -> None:
    """Take it back."""
    try:
        del _functions[function_name]
    except KeyError as error:
        raise ValueError(f"Callback function not registered: {function_name}.") from error


def _invoke_function(function_name: str, json_args: str, json_kwargs: str) -> Any:
    """Do what the page's `invokeFunction` asks for; the page sends this call as a cell that nobody sees."""
    args, kwargs = json.loads(json_args), json.loads(json_kwargs)
    callback = _functions.get(function_name)
    if callback is None:
        raise ValueError(f"Function not found: {function_name}")
    return callback(*args, **kwargs)
