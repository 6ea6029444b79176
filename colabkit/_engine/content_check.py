"""What the body of an answer is: the file as it was published, compressed on its way, or a web page instead of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit._http import coding as _coding
from colabkit._http import error_page
from colabkit._http.types import NoRangesError
from colabkit.errors import WebPageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colabkit._http.client import Response


def is_page(response: Response) -> bool:
    """Say whether a web page came."""
    return error_page.is_page(response.peek(), response.content_type)


def page_instead(response: Response) -> WebPageError:
    """Make the error for a web page that came where a file was expected."""
    words = error_page.words(response.peek())
    return WebPageError(
        f"got a web page instead of a file from {response.shown}",
        why=f"the page says: {words}" if words else "the page has no text",
        hint="open the address in a browser; if the page itself is wanted, pass to='NAME.html'",
    )


def settle_coding(response: Response, names: Sequence[str], *, hashed: bool) -> bool:
    """Decide whether the body is what was published, or was compressed on its way; then it is decoded from here on.

    Args:
        response: The answer; nothing of it was read.
        names: What the file is called, by the source and by the server.
        hashed: Its publisher or the user told a hash.

    Returns:
        Whether it comes compressed as it is stored, and the hash may be that of what is in it: both are looked at when
        all is there.

    Raises:
        NoRangesError: That can be told from the whole body only, which must be asked for.
        UnsupportedError: It was compressed, and nothing here can undo it.
    """
    for coding in reversed(response.codings):
        head = response.peek() if response.start == 0 else b""
        if response.start == 0 and (not head or _coding.fits(coding, head) is False):
            break  # the label is wrong
        in_parts = response.measured or not response.partial
        if hashed and in_parts and coding in _coding.GZIP and len(response.codings) == 1:
            return True
        inner = _coding.begins_with(coding, head)
        twice = _coding.fits(coding, inner) or error_page.is_page(inner, response.content_type)
        if in_parts and _coding.is_packed_name(coding, names) and not twice:
            break
        if response.partial:
            raise NoRangesError
        response.decode(coding)
    return False
