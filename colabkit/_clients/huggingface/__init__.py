"""Hugging Face's Hub by its own client: addresses, what a repository holds, and every refusal in words."""

from __future__ import annotations

import fnmatch
import re
import threading
import urllib.parse
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from colabkit import config
from colabkit._http.service import ApiSession
from colabkit._internal.disk.checksum import Checksum
from colabkit._internal.disk.paths import expand
from colabkit._internal.optional import require
from colabkit._internal.retry import Backoff
from colabkit.errors import (
    AccessError,
    AddressError,
    BusyError,
    ColabKitError,
    ExistsError,
    NotFoundError,
    OfflineError,
    TransferError,
)
from colabkit.runtime.secrets import secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Kind = Literal["model", "dataset", "space"]
Result = TypeVar("Result")

ENDPOINT, TOKEN = "HF_ENDPOINT", "HF_TOKEN"
FORM = "hf:OWNER/NAME[@REF][/FILE], hf:datasets/OWNER/NAME or hf:spaces/OWNER/NAME"
NEW_TOKEN = f"make a token on https://huggingface.co/settings/tokens and put it into the secret or variable {TOKEN}"
_KINDS: dict[str, Kind] = {"datasets": "dataset", "spaces": "space", "models": "model"}
_PART = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
_REF = re.compile(r"refs/(?:pr|convert)/[\w.-]+|[\w.%+-]{1,200}", re.ASCII)
_PAGE = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TRIES = 4
_TIMEOUT = 30.0
_NO_ANSWER = {
    *("TransportError", "RequestException", "ConnectionError", "TimeoutError", "FileMetadataError", "TransientError")
}
_AS_IT_IS = {"Accept-Encoding": "identity"}
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, kw_only=True)
class HubAddress:
    """A place at the Hub.

    Attributes:
        kind: What the repository is.
        repo: OWNER/NAME, or the bare name of an old model.
        ref: A branch, a tag or a commit; "" for the newest.
        path: A file, a folder that ends with "/", a pattern, or "" for all of it.
    """

    kind: Kind
    repo: str
    ref: str = ""
    path: str = ""

    def __str__(self) -> str:
        kind = "" if self.kind == "model" else f"{self.kind}s/"
        ref = f"@{urllib.parse.quote(self.ref, safe='') if '/' in self.ref else self.ref}" if self.ref else ""
        return f"hf:{kind}{self.repo}{ref}" + (f"/{self.path}" if self.path else "")

    @property
    def page(self) -> str:
        """The address of its page, for people."""
        return f"{endpoint()}/{'' if self.kind == 'model' else f'{self.kind}s/'}{self.repo}"

    @property
    def is_file(self) -> bool:
        """Whether it names one file."""
        return bool(self.path) and not self.path.endswith("/") and not _WILD.search(self.path)

    @property
    def folder(self) -> str:
        """The part of the path up to the last slash before any wildcard."""
        plain = _WILD.split(self.path, maxsplit=1)[0]
        return plain[: plain.rfind("/") + 1]

    def takes(self, path: str) -> bool:
        """Say whether a file of the repository is meant."""
        if not self.path or self.path.endswith("/"):
            return path.startswith(self.path)
        return fnmatch.fnmatchcase(path, self.path) if _WILD.search(self.path) else path == self.path


def endpoint(env: Mapping[str, str] | None = None) -> str:
    """Return the address of the Hub, or of the mirror that the environment names."""
    env = config.environment(env)
    return (env.get(ENDPOINT) or "https://huggingface.co").rstrip("/")


def parse(text: str) -> HubAddress:
    """Read an address of the Hub, or of one of its pages.

    Raises:
        AddressError: It is none.

    Example:
        >>> parse("hf:datasets/ada/digits@v2/train/*.parquet")
        HubAddress(kind='dataset', repo='ada/digits', ref='v2', path='train/*.parquet')
        >>> parse("https://huggingface.co/ada/net/blob/main/config.json").path
        'config.json'
    """
    text = text.strip()
    if match := _PAGE.match(text):
        return _page(text, urllib.parse.unquote(urllib.parse.urlsplit(text[match.end() :]).path))
    rest = re.sub(r"^hf:(?://)?", "", text, flags=re.IGNORECASE)
    head = rest.partition("/")[0]
    kind = _KINDS.get(head, "model")
    rest = rest.partition("/")[2] if head in _KINDS else rest
    owner, _, more = rest.partition("/")
    name, _, path = more.partition("/")
    name, at, ref = name.partition("@")
    if not more:  # an old model without an owner, as gpt2
        owner, at, ref = owner.partition("@")
    if at and ref == "refs" and (match := re.match(r"((?:pr|convert)/[\w.-]+)(?:/|$)", path)):
        ref, path = f"refs/{match[1]}", path[match.end() :]
    repo = f"{owner}/{name}" if more else owner
    return _made(text, kind, repo, urllib.parse.unquote(ref), path, wants_ref=bool(at))


def _page(text: str, path: str) -> HubAddress:
    parts = [part for part in path.split("/") if part]
    kind = _KINDS.get(parts[0], "model") if parts else "model"
    parts = parts[1:] if parts and parts[0] in _KINDS else parts
    repo, rest = "/".join(parts[:2]), parts[2:]
    if rest and rest[0] in ("blob", "tree", "resolve", "raw") and len(rest) > 1:
        end = "/" if rest[0] == "tree" and len(rest) > 2 else ""
        return _made(text, kind, repo, rest[1], "/".join(rest[2:]) + end)
    if rest:
        raise _unreadable(text, f"its part {rest[0][:40]!r} is not known")
    return _made(text, kind, repo, "", "")


def _made(text: str, kind: Kind, repo: str, ref: str, path: str, *, wants_ref: bool = False) -> HubAddress:
    names = repo.split("/")
    if len(names) > 2 or not all(_PART.fullmatch(name) and ".." not in name for name in names):
        raise _unreadable(text)
    if (wants_ref and not ref) or (ref and (not _REF.fullmatch(ref) and not _REF.fullmatch(ref.replace("/", "-")))):
        raise _unreadable(text, "there is no branch, tag or commit behind the @")
    parts = path.removesuffix("/").split("/") if path else []
    if not path.isprintable() or "\\" in path or {"", ".", ".."} & set(parts):
        raise _unreadable(text, "the name of the file is not a plain path")
    return HubAddress(kind=kind, repo=repo, ref=ref, path=path)


def _unreadable(text: str, why: str = "") -> AddressError:
    return AddressError(f"cannot read {text[:200]!r} as a Hub address", why=why, hint=f"write it as {FORM}")


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """One file of a repository, at one commit.

    Attributes:
        address: Where it is; its ref is the commit.
        size: Bytes, when they are known.
        version: What changes when the file does.
        checksum: Its hash, when the Hub tells one of its bytes.
        headers: What has to be sent to get it.
        modified: When its repository was written last, in seconds since 1970; 0.0 when that is not known.
    """

    address: HubAddress
    size: int | None = None
    version: str = ""
    modified: float = 0.0
    checksum: Checksum | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        """The address of its bytes."""
        quoted = urllib.parse.quote(self.address.path)
        return f"{self.address.page}/resolve/{urllib.parse.quote(self.address.ref, safe='')}/{quoted}"


class Hub:
    """Asks the Hub, without an account where that is enough.

    Attributes:
        retry_after: Seconds that the Hub has asked for in its last refusal.

    Args:
        token: What the user gave.
        env: The environment.
        tries: How many failures in a row a call forgives.
    """

    def __init__(self, token: str = "", env: Mapping[str, str] | None = None, *, tries: int = _TRIES) -> None:
        env = config.environment(env)
        self._env = env
        self._tries = tries
        self._token = token or _near(env)
        self._sought_token = bool(token)
        self._pause = threading.Event()  # never set: a sleep that Ctrl-C interrupts on every platform
        self._session = ApiSession(endpoint(env))
        self.retry_after = 0.0

    def file(self, address: HubAddress) -> HubFile:
        """Ask what a file is now.

        Raises:
            NotFoundError: There is none.
            AccessError: It may not be read.
        """
        hub = _client()
        url = HubFile(address=replace(address, ref=address.ref or "main")).url
        about = self.call(
            address,
            lambda token: hub.get_hf_file_metadata(url, token=token or False, timeout=_TIMEOUT),
        )
        return self._file(
            replace(address, ref=about.commit_hash or address.ref or "main"), about.size, about.etag or ""
        )

    def files(self, address: HubAddress) -> list[HubFile]:
        """List the files that are meant.

        Raises:
            NotFoundError: There are none, or there is no such repository.
            AccessError: It may not be read.
        """
        about = self.call(
            address,
            lambda token: self.api(token).repo_info(
                address.repo,
                repo_type=address.kind,
                revision=address.ref or None,
                files_metadata=True,
                timeout=_TIMEOUT,
            ),
        )
        chosen = [file for file in self.listed(address, about) if address.takes(file.address.path)]
        if not chosen:
            raise NotFoundError(
                f"there is nothing at {address}", why="no file matches", hint=f"look at what is on {address.page}"
            )
        return chosen

    def listed(self, address: HubAddress, about: Any) -> list[HubFile]:
        """Return the files that the client tells of a repository."""
        files = []
        for sibling in about.siblings or []:
            lfs = sibling.lfs if isinstance(sibling.lfs, dict) else vars(sibling.lfs) if sibling.lfs else {}
            version = str(lfs.get("sha256") or sibling.blob_id or "")
            files.append(self._file(replace(address, ref=about.sha, path=sibling.rfilename), sibling.size, version))
        if written := getattr(about, "last_modified", None):
            return [replace(file, modified=written.timestamp()) for file in files]
        return files

    def read(self, file: HubFile, size: int | None = None) -> bytes:
        """Return a small file, or the first bytes of one.

        Raises:
            TransferError: Or one of its kinds.
        """
        most = file.size if size is None else size

        def do(token: str) -> bytes:
            url, headers = file.url, {"Authorization": f"Bearer {token}"} if token else {}
            ranged = {"Range": f"bytes=0-{max(0, size - 1)}"} if size is not None else {}
            for _ in range(_TRIES):
                answer = self._session.send("GET", url, {**headers, **ranged, **_AS_IT_IS}, None, str(file.address))
                if answer.status_code == 416:
                    return b""
                if answer.status_code >= 400:
                    raise _StatusError(answer)
                if not answer.is_redirect:
                    return bytes(answer.content[:most])
                target = urllib.parse.urljoin(url, answer.headers["Location"])
                if urllib.parse.urlsplit(target)[:2] != urllib.parse.urlsplit(url)[:2]:
                    headers = {}  # the token is for the Hub alone
                url = target
            raise _StatusError(answer)

        return self.call(file.address, do)

    def _file(self, address: HubAddress, size: int | None, version: str) -> HubFile:
        checksum = Checksum(algorithm="sha256", digits=version) if _SHA256.fullmatch(version) else None
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        return HubFile(address=address, size=size, version=version, checksum=checksum, headers=headers)

    def api(self, token: str) -> Any:
        """Return the client itself."""
        return _client().HfApi(endpoint=endpoint(self._env), token=token or False, library_name="colabkit")

    def call(
        self, address: HubAddress, ask: Callable[[str], Result], *, verb: str = "fetch", tries: int | None = None
    ) -> Result:
        """Ask, again where it failed in passing, with the user's token where nobody is refused.

        Args:
            address: What it is about, for messages.
            ask: Asks with a token, or with "".
            verb: What is done, for messages.
            tries: How many failures in a row are forgiven, if not as many as by any call.

        Raises:
            TransferError: Or one of its kinds.
        """
        if config.is_offline() or self._env.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            name = config.OFFLINE if config.is_offline() else "HF_HUB_OFFLINE"
            raise OfflineError(f"cannot {verb} {address}", why=f"{name} is set", hint=f"unset {name}")
        backoff = Backoff(tries=self._tries if tries is None else tries)
        while True:
            try:
                return ask(self._token)
            except ColabKitError:
                raise
            except Exception as raised:  # noqa: BLE001 - its client raises whatever an answer brings about
                # What goes wrong with the bytes of one file is wrapped by the client.
                wrapped = type(raised) is RuntimeError and isinstance(raised.__cause__, Exception)
                error: Exception = raised.__cause__ if wrapped else raised  # type: ignore[assignment]
                status = getattr(getattr(error, "response", None), "status_code", 0)
                if status in (401, 403, 404) and self._found_token():
                    continue
                refusal = _translated(error, status, address, verb, signed_in=bool(self._token)) or TransferError(
                    f"cannot {verb} {address}",
                    why=f"its client says {type(error).__name__}: {_words(error)}",
                    hint=f"see {address.page}, and whether there is a newer huggingface_hub",
                )
                if not isinstance(refusal, OfflineError | BusyError):
                    raise refusal from None
                self.retry_after = _retry_after(error) or 0.0
                if (wait := backoff.wait(_retry_after(error))) is None:
                    raise refusal from None
                self._pause.wait(wait)

    def _found_token(self) -> bool:
        """Look for a token in the notebook's secrets, once, and only when nobody may not."""
        if self._sought_token:
            return False
        self._sought_token = True
        token = secret(TOKEN, "", prompt=False, env=self._env)
        if not token or token == self._token:
            return False
        self._token = str(token)
        return True


class _StatusError(Exception):
    """An answer to a request of ours that is no success."""

    def __init__(self, response: Any) -> None:
        super().__init__(f"the Hub answered {response.status_code}")
        self.response = response


def _client() -> Any:
    return require("huggingface_hub", extra="hf", why="the Hub of Hugging Face is accessed through its own client")


def _near(env: Mapping[str, str]) -> str:
    """Return the token that the Hub's own programs would use without asking anybody."""
    for name in (TOKEN, "HUGGING_FACE_HUB_TOKEN"):
        if given := "".join(env.get(name, "").split()):
            return given
    place = env.get("HF_TOKEN_PATH") or f"{home(env)}/token"
    try:
        return "".join(expand(place).read_text(encoding="utf-8").split())
    except (OSError, ValueError):
        return ""


def near_place(env: Mapping[str, str]) -> str:
    """Return where that token is; "" where there is none."""
    for name in (TOKEN, "HUGGING_FACE_HUB_TOKEN"):
        if env.get(name, "").strip():
            return name
    return (env.get("HF_TOKEN_PATH") or f"{home(env)}/token") if _near(env) else ""


def home(env: Mapping[str, str] | None = None) -> str:
    """Return where the Hub's own client keeps things."""
    env = config.environment(env)
    return env.get("HF_HOME") or f"{env.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"


def _retry_after(error: Exception) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        return float(headers.get("Retry-After", ""))
    except (TypeError, ValueError):
        return None


def _translated(
    error: Exception, status: int, address: HubAddress, verb: str, *, signed_in: bool
) -> ColabKitError | None:
    """Turn an error of the client into ours; None for what is no refusal of the Hub's."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    message = _words(error)
    what = f"cannot {verb} {address}"
    if "GatedRepoError" in kinds or (status == 403 and "gated" in message.lower()):
        return AccessError(
            f"{address} is gated",
            why="its terms are not accepted by this account yet" if signed_in else "the Hub requires a login",
            hint=f"open {address.page}, accept what it asks for, and {NEW_TOKEN}",
        )
    if "RevisionNotFoundError" in kinds:
        return NotFoundError(f"{address} has no {address.ref or 'main'}", hint=f"see its branches on {address.page}")
    if "EntryNotFoundError" in kinds:
        return NotFoundError(
            f"there is no file {address}",
            why="the repository has no file of that name",
            hint=f"look at what is on {address.page}/tree/{address.ref or 'main'}; "
            "for all files of a folder write a slash at its end",
        )
    if "RepositoryNotFoundError" in kinds or status == 401:
        hidden = "or this account may not see it" if signed_in else "or it is private, and nobody said who asks"
        return NotFoundError(
            f"the Hub has no {address}",
            why=f"there is no such repository, {hidden}",
            hint=f"check its name; {NEW_TOKEN}",
        )
    if status == 403:
        return AccessError(what, why=message or "this token may not", hint=f"check its permissions, or {NEW_TOKEN}")
    if status in (409, 412):
        return ExistsError(
            f"{address} was written by someone else in the meantime",
            why="it is no longer at the commit that was seen when this began",
            hint="look at what is there now, then run it again",
        )
    if status == 429 or status >= 500:
        return BusyError(what, why=f"the Hub answered {status}", hint="run it again later")
    if status:
        return TransferError(what, why=message or f"the Hub answered {status}", hint=f"see {address.page}")
    if "OfflineModeIsEnabled" in kinds:
        return OfflineError(what, why="HF_HUB_OFFLINE is set", hint="unset HF_HUB_OFFLINE")
    if kinds & _NO_ANSWER:
        return OfflineError(
            what, why=f"{urllib.parse.urlsplit(endpoint()).hostname} cannot be reached", hint="check the network"
        )
    if kinds & {"HFValidationError", "HfUriError"}:
        return TransferError(what, why=message, hint=f"write it as {FORM}")
    return None


def _words(error: Exception) -> str:
    message = getattr(error, "server_message", None) or str(error)
    lines = [line for line in str(message).splitlines() if line.strip()]
    return " ".join(" ".join(lines).split())[:300]
