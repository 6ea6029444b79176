"""google.colab.output: what Jupyter can do of it; what needs Colab's page says so."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from colabkit.shims.google_colab.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "clear",
    "disable_custom_widget_manager",
    "enable_custom_widget_manager",
    "eval_js",
    "no_vertical_scroll",
    "redirect_to_element",
    "register_callback",
    "serve_kernel_port_as_iframe",
    "serve_kernel_port_as_window",
    "temporary",
    "unregister_callback",
    "use_tags",
]


def clear(wait: bool = False, output_tags: Any = ()) -> None:
    """Clear the cell's output."""
    del output_tags
    from IPython.display import clear_output

    clear_output(wait=wait)


def eval_js(script: str, ignore_result: bool = False, timeout_sec: float | None = None) -> Any:
    """Refuse: only Colab's page runs JavaScript and answers.

    Raises:
        Error: Always, unless the result does not matter.
    """
    del script, timeout_sec
    if ignore_result:
        return
    raise Error("output.eval_js needs Colab's page, which answers a cell; there is none here")


def serve_kernel_port_as_iframe(
    port: int, path: str = "/", width: str = "100%", height: str = "400", cache_in_notebook: bool = False
) -> None:
    """Show a server of this machine in the output."""
    del cache_in_notebook
    from IPython.display import IFrame, display

    display(IFrame(f"http://localhost:{port}{path}", width=width, height=height))


def serve_kernel_port_as_window(port: int, path: str = "/", anchor_text: str | None = None, **_more: Any) -> None:
    """Print the address of a server of this machine."""
    print(f"{anchor_text or 'Open'}: http://localhost:{port}{path}")  # noqa: T201 - a link elsewhere


@contextlib.contextmanager
def _as_it_is(*_args: Any, **_more: Any) -> Iterator[None]:
    yield


temporary = use_tags = redirect_to_element = _as_it_is


def register_callback(function_name: str, callback: Callable[..., Any]) -> None:
    """Do nothing: no page calls it."""


def unregister_callback(function_name: str) -> None:
    """Do nothing."""


def no_vertical_scroll() -> None:
    """Do nothing: the frontend decides."""


def enable_custom_widget_manager(version: str = "") -> None:
    """Do nothing: Jupyter shows all widgets."""


def disable_custom_widget_manager() -> None:
    """Do nothing."""
