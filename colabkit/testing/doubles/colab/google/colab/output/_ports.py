"""Pages that a server in the kernel's machine serves, shown in the notebook."""

import json
from typing import Any

from IPython import display

_WARNING = (
    "\x1b[31mWarning: This function may stop working due to changes in browser security.\n"
    "Try `serve_kernel_port_as_iframe` instead. \x1b[0m"
)
_IFRAME = """(async (port, path, width, height, cache, element) => {
  if (!google.colab.kernel.accessAllowed && !cache) return;
  const place = new URL(path, await google.colab.kernel.proxyPort(port, {cache}));
  const frame = Object.assign(document.createElement('iframe'), {src: place.toString(), width, height});
  element.appendChild(frame);
})"""
_LINK = """(async (port, path, text, element) => {
  if (!google.colab.kernel.accessAllowed) return;
  const place = new URL(path, await google.colab.kernel.proxyPort(port));
  const link = document.createElement('a');
  element.appendChild(Object.assign(link, {href: place.toString(), target: '_blank', textContent: text}));
})"""


def serve_kernel_port_as_iframe(
    port: int, path: str = "/", width: str = "100%", height: str = "400", cache_in_notebook: bool = False
) -> None:
    """Show what a port serves."""
    _show(_IFRAME, port, path, width, height, cache_in_notebook)


def serve_kernel_port_as_window(
    port: int, path: str = "/", anchor_text: str | None = None, skip_warning: bool = False
) -> None:
    """Show a link to what a port serves."""
    if not skip_warning:
        print(_WARNING)
    _show(_LINK, port, path, anchor_text or f"https://localhost:{port}{path}")


def _show(script: str, *words: Any) -> None:
    display.display(display.Javascript(f"{script}({', '.join(map(json.dumps, words))}, window.element)"))
