"""The parts of a cell's output: header, footer, any element of its page."""

import contextlib
import hashlib
import json
import uuid
from collections.abc import Iterator

from IPython import display

_API = "google.colab.output"


def _keep(expression: str) -> str:
    """Evaluate an expression in the page, and return the expression for its value."""
    kept = f'window["{uuid.uuid1()}"]'
    script = f"{kept} = {expression};"
    name = hashlib.md5(script.encode(), usedforsecurity=False).hexdigest()[:10]
    display.display(display.Javascript(f"{script}\n//# sourceURL=js_{name}"))
    return kept


@contextlib.contextmanager
def _redirected(expression: str) -> Iterator[None]:
    before = _keep(f"{_API}.getActiveOutputArea()")
    _keep(f"{_API}.setActiveOutputArea({_keep(expression)})")
    try:
        yield
    finally:
        _keep(f"{_API}.setActiveOutputArea({before})")


def redirect_to_element(selector: str) -> contextlib.AbstractContextManager[None]:
    """Show what follows within an element of the page."""
    return _redirected(f"document.querySelector({json.dumps(selector)})")


def to_header_area() -> contextlib.AbstractContextManager[None]:
    """Show it above."""
    return redirect_to_element("#output-header")


def to_footer_area() -> contextlib.AbstractContextManager[None]:
    """Show it below."""
    return redirect_to_element("#output-footer")


def to_default_area() -> contextlib.AbstractContextManager[None]:
    """Show it where outputs are shown otherwise."""
    return _redirected(f"{_API}.getDefaultOutputArea()")


def no_vertical_scroll() -> None:
    """Make the output as high as it has to be."""
    _keep(f'{_API}.setIframeHeight(-1, true, {{"interactive": true, "maxHeight": 99999}})')
