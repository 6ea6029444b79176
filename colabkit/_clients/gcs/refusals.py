"""What Cloud Storage refuses, and why, in words."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from colabkit._clients.gcs.auth import PAYING_PROJECT, SIGN_IN
from colabkit._http import error_page, sent_secrets
from colabkit._http import headers as _headers
from colabkit._http.types import TransientError
from colabkit._internal import foreign
from colabkit.errors import AccessError, AddressError, NotFoundError, TransferError

if TYPE_CHECKING:
    from colabkit._clients.gcs.auth import Caller

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
NO_BUCKET = "there is no bucket"
_MOST_WORDS = 65536
_NO_SUCH_BUCKET = re.compile(r"\bbucket\b.*does not exist", re.IGNORECASE)


class ConditionError(Exception):
    """A 412: the object is not the generation that the request was for.

    Attributes:
        perhaps_ours: An earlier try of the same request may have arrived, and only its answer was lost.
    """

    perhaps_ours = False


def refusal(caller: Caller, status: int, message: str, bucket: str, name: str, answer: Any = None) -> Exception:
    """Turn an answer that is no success into an error.

    Args:
        caller: Who asked.
        status: The status code.
        message: What the service says.
        bucket: The bucket.
        name: The object, or "".
        answer: The answer itself, for what it says about waiting.
    """
    display = f"gs://{bucket}/{name}" if name else f"gs://{bucket}"
    why = f"the service answered {status}" + (f": {message}" if message else "")
    if status in TRANSIENT:
        after = _headers.retry_after(answer.headers) if answer is not None else None
        return TransientError(why, retry_after=after, crowded=status in (429, 503))
    if status == 412:
        return ConditionError(why)
    if "requester pays" in message.lower():
        do = f"set {PAYING_PROJECT} to the id of your project, which then pays for the traffic, and run it again"
        return AccessError(f"the bucket {bucket} charges its readers, and no project is named", why=why, hint=do)
    if status == 401 and not caller.anonymous:
        return AccessError(f"the sign-in of {caller.name} is not accepted", why=why, hint=SIGN_IN)
    if status == 401 or (status == 403 and caller.anonymous):
        what = f"{display} is not public, and nobody is signed in"
        return AccessError(what, why=f"{caller.why_anonymous or 'no credentials are accepted'}; {why}", hint=SIGN_IN)
    if status == 403:
        return AccessError(f"{caller.name} may not do this with {display}", why=why, hint=_remedy(message))
    if status == 404 and (not name or _NO_SUCH_BUCKET.search(message)):
        return NotFoundError(f"{NO_BUCKET} {bucket}", why=why, hint="check its name: gs://BUCKET/OBJECT")
    if status == 404:
        return NotFoundError(f"there is no object {display}", why=why, hint="check its name; a folder ends with /")
    if status == 400:
        return AddressError(
            f"the service cannot do this with {display}", why=why, hint="check the names in the address"
        )
    return TransferError(f"the service refuses {display}", why=why, hint="run it again later")


def words(answer: Any) -> str:
    """Return what a refusal says, on one line; an answer is whatever has the bytes of one."""
    if answer is None:
        return ""
    content: bytes = answer.content[:_MOST_WORDS]
    try:
        message = " ".join(str(json.loads(content)["error"]["message"]).split())
        return sent_secrets.scrub(foreign.printable(message))
    except (ValueError, KeyError, TypeError, RecursionError):
        return error_page.words(content)


def _remedy(message: str) -> str:
    lower = message.lower()
    if "billing" in lower or "accountdisabled" in lower.replace(" ", ""):
        return "the project that owns the bucket has no billing account: its owner must attach one in the Cloud console"
    if "userproject" in lower.replace(" ", "") or "serviceusage" in lower:
        return f"set {PAYING_PROJECT} to a project of your own, in which you may use services"
    return "ask the bucket's owner for the role Storage Object Viewer to read, or Storage Object User to write"
