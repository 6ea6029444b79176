"""What the body of an answer is: the file as it was published, compressed on its way, or a web page instead of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from colabkit._http import coding as _coding
from colabkit._http import error_page, sent_secrets
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


_BINARY = re.compile(
    r"\.(npz|npy|h5|hdf5|keras|safetensors|tflite|onnx|pth?|ckpt|parquet|feather|arrow|png|jpe?g|gif|webp|bmp|tiff?|"
    r"mp[34]|wav|flac|avi|pdf|xlsx|docx|whl)$",
    re.IGNORECASE,
)
_PACKED = re.compile(r"\.(zip|7z|tar|t?gz|tbz2?|bz2|txz|xz|tzst|zst)$", re.IGNORECASE)
_ANSWERS = re.compile(
    rb"\s*(\{\s*\"|\[\s*\{\s*\"|<[?!a-z]|(\d{3}\b.{0,3})?(error|not found|forbidden|unauthori[sz]ed|access denied|bad "
    rb"request|too many requests|rate limit|quota|request has expired|invalid|no such)\b)",
    re.IGNORECASE,
)
LONGEST_ANSWER = 64 << 10


def is_binary_name(name: str, *, packed: bool) -> bool:
    """Say whether what has this name is never text.

    Args:
        name: What the file is to be called.
        packed: An archive stays packed, so that nobody looks into it.
    """
    return bool(_BINARY.search(name) or (packed and _PACKED.search(name)))


def answer_instead(data: bytes, name: str, address: str) -> WebPageError | None:
    r"""Make the error for a service's JSON, XML or one line of text that came under the name of a binary file.

    Args:
        data: All that came.
        name: What the file is to be called.
        address: Where it came from, without secrets.

    Example:
        >>> answer_instead(b'{"error": "quota exceeded"}', "train.npz", "https://a.org/train.npz").why
        'it says: {"error": "quota exceeded"}'
        >>> answer_instead(b"\x93NUMPY", "a.npy", "https://a.org/a.npy") is None
        True
    """
    if not _ANSWERS.match(data):
        return None
    line = " ".join(data.decode(errors="replace").split())
    if not line.isprintable() or "\ufffd" in line:
        return None
    words = error_page.words(data) if data.lstrip().startswith(b"<") else sent_secrets.scrub(line)
    return WebPageError(
        f"got words instead of the file {name} from {address}",
        why=f"it says: {words[:200]}" if words else "it is a page without words",
        hint="open the address in a browser; if these words themselves are wanted, pass to='NAME.txt'",
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
