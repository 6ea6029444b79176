"""Custom widgets: the page loads what shows them only where an output says from where."""

from typing import Any

import IPython

_HASHES = {"5.0.0a": "2b70e893a8ba7c0f"}
_URL = "https://ssl.gstatic.com/colaboratory-static/widgets/colab-cdn-widget-manager/{}/manager.min.js"
_VIEW = "application/vnd.jupyter.widget-view+json"
_installed: list[str] = []


def enable_custom_widget_manager(version: str = "5.0.0a") -> None:
    """Show custom widgets from now on."""
    if version not in _HASHES:
        raise ValueError(f"Unknown widgets version: {version}")
    _install(_URL.format(_HASHES[version]))


def disable_custom_widget_manager() -> None:
    """Show only those that Colab has itself."""
    _install(None)


def _install(url: str | None) -> None:
    shell: Any = IPython.get_ipython()
    if url and not _installed:
        shell.display_pub.register_hook(_name_the_manager)
    elif _installed and not url:
        shell.display_pub.unregister_hook(_name_the_manager)
    _installed[:] = [url] if url else []


def _name_the_manager(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content", {})
    if _installed and _VIEW in content.get("data", {}):
        view = content.setdefault("metadata", {}).setdefault(_VIEW, {})
        view["colab"] = {"custom_widget_manager": {"url": _installed[0]}}
    return message
