"""ModelScope by its HTTP interface, as modelscope_hub 0.5 asks it: its own client takes five seconds to import."""

from __future__ import annotations

import itertools
import json
import re
import urllib.parse
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from colabkit import config
from colabkit._clients import huggingface
from colabkit._clients.huggingface import HubAddress
from colabkit._http import headers as _headers
from colabkit._http.service import ApiSession
from colabkit._http.types import TransientError
from colabkit._internal.disk.checksum import Checksum
from colabkit.errors import AccessError, AddressError, NotFoundError, TransferError
from colabkit.runtime.secrets import secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENDPOINT, TOKEN = "MODELSCOPE_ENDPOINT", "MODELSCOPE_API_TOKEN"
FORM = "modelscope:OWNER/NAME[@REF][/FILE] or modelscope:datasets/OWNER/NAME"
MOST = 3000
"""Entries of one listing of a model; more are left out without a word, so it is asked for folder by folder."""
_PAGE = 200  # entries of one listing of a data set, which has pages
_PAGES = re.compile(r"https?://(?:www\.)?modelscope\.cn/(models|datasets)/([^/?#]+/[^/?#]+)(/[^?#]*)?", re.IGNORECASE)
_VIEW = re.compile(r"/(?:file/view|resolve)/([^/]+)/(.+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class ScopeAddress(HubAddress):
    """A place at ModelScope, whose repositories are named as those of Hugging Face are."""

    def __str__(self) -> str:
        return super().__str__().replace("hf:", "modelscope:", 1)

    @property
    def page(self) -> str:
        """The address of its page, for people."""
        return f"{endpoint()}/{self.kind}s/{self.repo}"


@dataclass(frozen=True, kw_only=True)
class ScopeFile:
    """One file of a repository.

    Attributes:
        address: Where it is.
        size: Bytes, when they are known.
        version: What changes when the file does.
        checksum: Its hash.
        headers: What has to be sent to get it.
    """

    address: ScopeAddress
    size: int | None = None
    version: str = ""
    checksum: Checksum | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        """The address of its bytes."""
        query = urllib.parse.urlencode({"Revision": self.address.ref or "master", "FilePath": self.address.path})
        return f"{_repo(self.address)}?{query}"


def endpoint(env: Mapping[str, str] | None = None) -> str:
    """Return the address of ModelScope, or of the one that the environment names."""
    return (config.environment(env).get(ENDPOINT) or "https://www.modelscope.cn").rstrip("/")


def parse(text: str) -> ScopeAddress:
    """Read an address of ModelScope, or of one of its pages.

    Raises:
        AddressError: It is none.

    Example:
        >>> str(parse("modelscope:Qwen/Qwen3-0.6B@v1/config.json"))
        'modelscope:Qwen/Qwen3-0.6B@v1/config.json'
        >>> str(parse("https://www.modelscope.cn/datasets/ada/digits/files"))
        'modelscope:datasets/ada/digits'
    """
    text = text.strip()
    if match := _PAGES.match(text):
        kind, ref, path = "datasets/" if match[1].lower() == "datasets" else "", "", ""
        if view := _VIEW.fullmatch(urllib.parse.unquote(match[3] or "")):
            ref, path = f"@{view[1]}", f"/{view[2]}"
        rest = f"{kind}{match[2]}{ref}{path}"
    else:
        rest = re.sub(r"^modelscope:(?://)?", "", text, flags=re.IGNORECASE)
    try:
        address = huggingface.parse(f"hf:{rest}")
    except AddressError as error:
        raise _unreadable(text, error.why) from None
    if "/" not in address.repo or address.kind == "space":
        raise _unreadable(text, "it names no owner" if "/" not in address.repo else "spaces are not there")
    return ScopeAddress(kind=address.kind, repo=address.repo, ref=address.ref, path=address.path)


def _unreadable(text: str, why: str) -> AddressError:
    return AddressError(f"cannot read {text[:200]!r} as a ModelScope address", why=why, hint=f"write it as {FORM}")


class Scope(ApiSession):
    """Asks ModelScope, without an account where that is enough.

    Args:
        env: The environment.
    """

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self._env = config.environment(env)
        super().__init__(endpoint(self._env))
        self._token = "".join(self._env.get(TOKEN, "").split())
        self._sought_token = bool(self._token)

    def files(self, address: ScopeAddress) -> list[ScopeFile]:
        """List the files that are meant.

        Raises:
            NotFoundError: There are none, or there is no such repository.
            AccessError: It may not be read.
            TransferError: The listing would not be whole.
        """
        listed = self._pages(address) if address.kind == "dataset" else self._tree(address, address.folder.rstrip("/"))
        scope_files = [self._file(address, entry) for entry in listed if str(entry.get("Type", "blob")) != "tree"]
        scope_files = [file for file in scope_files if address.takes(file.address.path)]
        if not scope_files:
            raise NotFoundError(
                f"there is nothing at {address}", why="no file matches", hint=f"look at what is on {address.page}"
            )
        return scope_files

    def _tree(self, address: ScopeAddress, root: str) -> list[dict[str, Any]]:
        query = {"Revision": address.ref or "master", "Recursive": "True", **({"Root": root} if root else {})}
        entries = self._list(address, "files", query)
        if len(entries) < MOST:
            return entries
        here = self._list(address, "files", {**query, "Recursive": "False"})
        if len(here) >= MOST:
            raise TransferError(
                f"{address} cannot be listed as a whole",
                why=f"ModelScope lists at most {MOST} entries of a folder, and {root or 'its top'} has as many or more",
                hint="name the files that you need",
            )
        below = [
            entry for folder in here if folder.get("Type") == "tree" for entry in self._tree(address, _path(folder))
        ]
        return [*(entry for entry in here if entry.get("Type") != "tree"), *below]

    def _pages(self, address: ScopeAddress) -> Iterator[dict[str, Any]]:
        for number in itertools.count(1):
            query = {"Revision": address.ref or "master", "Recursive": "True", "PageNumber": number, "PageSize": _PAGE}
            entries = self._list(address, "tree", {**query, **({"Root": address.folder} if address.folder else {})})
            yield from entries
            if len(entries) < _PAGE:
                return

    def _list(self, address: ScopeAddress, verb: str, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        answer = self._ask(address, f"{_repo(address)}/{verb}?{urllib.parse.urlencode(query)}")
        try:
            value = json.loads(answer)
            data = value.get("Data") or {}
            entries = data if isinstance(data, list) else data.get("Files") or []
            if value.get("Success") is False or not all(_path(entry) for entry in entries):
                raise ValueError
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            raise TransferError(
                f"cannot fetch {address}",
                why="ModelScope's answer is not a list of files",
                hint=f"see {address.page}, and run it again",
            ) from None
        return list(entries)

    def _ask(self, address: ScopeAddress, url: str) -> bytes:
        backoff = self.tries()
        while True:
            try:
                answer = self.send("GET", url, self._headers(), None, str(address))
                if answer.status_code in (401, 403, 404) and self._found_token():
                    continue
                if answer.status_code == 429 or answer.status_code >= 500:
                    raise TransientError(
                        f"ModelScope answered {answer.status_code}", retry_after=_headers.retry_after(answer.headers)
                    )
            except TransientError as error:
                self.wait(backoff, error, str(address))
                continue
            if answer.status_code == 200:
                return bytes(answer.content)
            raise self._refusal(address, answer.status_code)

    def _refusal(self, address: ScopeAddress, status: int) -> TransferError:
        why = f"ModelScope answered {status}"
        new = f"make a token on {endpoint(self._env)}/my/myaccesstoken and put it into the secret or variable {TOKEN}"
        if status in (401, 403):
            return AccessError(f"{address} may not be read", why=why, hint=new)
        if status == 404:
            return NotFoundError(
                f"ModelScope has no {address}",
                why=f"{why}; there is no such repository, version or folder, or it is private",
                hint=f"check its name on {address.page}; {new}",
            )
        return TransferError(f"cannot fetch {address}", why=why, hint=f"see {address.page}")

    def _file(self, address: ScopeAddress, entry: Mapping[str, Any]) -> ScopeFile:
        digits = str(entry.get("Sha256") or "").lower()
        size = entry.get("Size")
        return ScopeFile(
            address=replace(address, path=_path(entry)),
            size=size if type(size) is int and size >= 0 else None,
            version=digits or str(entry.get("Revision") or ""),
            checksum=Checksum(algorithm="sha256", digits=digits) if _SHA256.fullmatch(digits) else None,
            headers=self._headers(),
        )

    def _headers(self) -> dict[str, str]:
        # The older half of the interface reads the cookie, the newer one the header.
        return (
            {"Authorization": f"Bearer {self._token}", "Cookie": f"m_session_id={self._token}"} if self._token else {}
        )

    def _found_token(self) -> bool:
        if self._sought_token:
            return False
        self._sought_token = True
        self._token = str(secret(TOKEN, "", prompt=False, env=self._env) or "")
        return bool(self._token)


def _repo(address: ScopeAddress) -> str:
    return f"{endpoint()}/api/v1/{address.kind}s/{urllib.parse.quote(address.repo)}/repo"


def _path(entry: Mapping[str, Any]) -> str:
    return str(entry["Path"])
