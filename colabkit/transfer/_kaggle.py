"""Kaggle: datasets, competitions and models, by handle, page address or pasted command.

Kaggle's interface answers a download with a redirect to a signed address of Google's storage; the engine takes it from
there. It is asked with plain HTTP: a POST with a piece of JSON. Importing kagglesdk for that would cost 0.7 s, and
importing kaggle signs in and prints help.
"""

from __future__ import annotations

import os
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from colabkit.errors import AccessError, NotFoundError, TransferError
from colabkit.transfer import _kaggle_here, archive
from colabkit.transfer._api import Reply, ask, unexpected
from colabkit.transfer._headers import url_name
from colabkit.transfer._kaggle_handle import parse, parse_command
from colabkit.transfer._kaggle_login import GET_ONE, PLACES, Login, logins, upload_key
from colabkit.transfer._words import split
from colabkit.transfer.base import Order, Remote, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from colabkit.transfer._kaggle_handle import Handle

API = "https://api.kaggle.com/v1"
_COMMAND = re.compile(r"\s*(?:[!$%>]\s*)*kaggle\s")


# In addresses they are written in any case; those that are not in this list are taken as they are spelt.
_FRAMEWORKS = (
    *("TENSOR_FLOW_1", "TENSOR_FLOW_2", "TF_LITE", "TF_JS", "PY_TORCH", "JAX", "FLAX", "PAX", "MAX_TEXT"),
    *("GEMMA_CPP", "GGML", "GGUF", "CORAL", "SCIKIT_LEARN", "MXNET", "ONNX", "KERAS", "TRANSFORMERS", "API"),
    *("OTHER", "TENSOR_RT_LLM", "TRITON", "VLLM"),
)


class KaggleSource:
    """Something at Kaggle: all of it, which comes as an archive, or one file.

    Args:
        handle: Which.
        env: The environment.
    """

    def __init__(self, handle: Handle, env: Mapping[str, str] = os.environ) -> None:
        self.handle = handle
        self._env = env
        self._login: Login | None = None
        self._asked_user = False

    @property
    def identity(self) -> str:
        """The handle."""
        return str(self.handle)

    @property
    def shown(self) -> str:
        """The handle."""
        return str(self.handle)

    @property
    def name(self) -> str:
        """The file's name, or that of the archive with all files."""
        if self.handle.file:
            return self.handle.file.rpartition("/")[2]
        handle = self.handle
        return f"{handle.variation}.tar.gz" if handle.kind == "models" else f"{handle.name}.zip"

    def here(self) -> Path | None:
        """Return where Kaggle, Colab or kagglehub has put it already."""
        return _kaggle_here.find(self.handle, self._env)

    def remote(self) -> Remote:
        """Ask Kaggle for a signed address; nothing secret is sent there.

        Raises:
            AccessError: Kaggle refuses, or wants to know who asks.
            NotFoundError: There is no such thing.
            BusyError: Too many requests.
        """
        service, body = self._download()
        reply = self._call(service, body)
        if not reply.location.startswith("https://"):
            raise unexpected(f"Kaggle gives no address for {self.shown}", reply)
        sent = url_name(reply.location)
        # Kaggle keeps some single files zipped, and says so by the name alone.
        packed = bool(self.handle.file) and sent == f"{self.name}.zip"
        name = self.name
        if not self.handle.file and (kind := archive.kind_of(sent)):
            name = f"{archive.stem(self.name)}.{kind}"
        return Remote(target=Target(url=reply.location, headers={}), shown=self.shown, name=name, packed=packed)

    def _download(self) -> tuple[str, dict[str, Any]]:
        handle = self.handle
        if handle.kind == "competitions":
            service = "competitions.CompetitionApiService/DownloadDataFile"
            body = {"competitionName": handle.name, "fileName": handle.file}
            return (service, body) if handle.file else (f"{service}s", {"competitionName": handle.name})
        if handle.kind == "datasets":
            body = {"ownerSlug": handle.owner, "datasetSlug": handle.name}
            more = {"datasetVersionNumber": handle.version, "fileName": handle.file}
            return "datasets.DatasetApiService/DownloadDataset", body | {key: it for key, it in more.items() if it}
        body = {
            "ownerSlug": handle.owner,
            "modelSlug": handle.name,
            "framework": _framework(handle.framework),
            "instanceSlug": handle.variation,
        }
        version = handle.version
        if version is None:
            version = self._call("models.ModelApiService/GetModelInstance", body).value().get("versionNumber")
        if not isinstance(version, int):
            raise TransferError(
                f"Kaggle does not tell the newest version of {self.shown}", do="add its number to the end"
            )
        file = {"path": handle.file} if handle.file else {}
        return "models.ModelApiService/DownloadModelInstanceVersion", {**body, "versionNumber": version, **file}

    def _call(self, method: str, body: Mapping[str, Any]) -> Reply:
        """Ask with each login until one is taken; public data is given to those who have none as well."""
        tried: list[str] = []
        for login in self._logins():
            reply = self._ask(method, body, login)
            if reply.status != HTTPStatus.UNAUTHORIZED:
                self._login = login
                return self._accepted(reply, login)
            tried.append(login.place)
        reply = self._ask(method, body, None)
        if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise self._unknown(tried)
        return self._accepted(reply, None)

    def _logins(self) -> Iterator[Login]:
        if self._login is not None:
            yield self._login
        found = False
        for login in logins(self._env):
            found = True
            if login != self._login:
                yield login
        if not found and not self._asked_user:
            self._asked_user = True
            if uploaded := upload_key(self._env):
                yield uploaded

    def _ask(self, method: str, body: Mapping[str, Any], login: Login | None) -> Reply:
        headers = {} if login is None else {"Authorization": login.authorization}
        return ask(f"{API}/{method}", what=f"cannot fetch {self.shown}", headers=headers, value=body)

    def _accepted(self, reply: Reply, login: Login | None) -> Reply:
        if reply.status == HTTPStatus.FORBIDDEN:
            raise self._forbidden(reply, login)
        if reply.status == HTTPStatus.NOT_FOUND:
            raise NotFoundError(
                f"Kaggle has no {self.shown}",
                why=reply.words() or "or it is private, and belongs to another account",
                do=f"check the name on {self.handle.page}",
            )
        if reply.status >= HTTPStatus.BAD_REQUEST:
            raise unexpected(f"cannot fetch {self.shown}", reply)
        return reply

    def _forbidden(self, reply: Reply, login: Login | None) -> AccessError:
        said = reply.words()
        account = f"asked with {login.place}" if login is not None else "asked without an account"
        if self.handle.kind == "competitions":
            why = "its rules are not accepted by this account yet, or it is closed"
            do = f"open {self.handle.page}/rules, accept them, and run the same again"
        else:
            why = "it is private, or its terms are not accepted by this account yet"
            do = f"open {self.handle.page} while signed in, accept what it asks for, and run the same again"
        return AccessError(
            f"Kaggle refuses {self.shown}", why=f"{why} ({account})" + (f"; it says: {said}" if said else ""), do=do
        )

    def _unknown(self, tried: list[str]) -> AccessError:
        if tried:
            return AccessError(
                f"Kaggle does not accept your credentials for {self.shown}",
                why=f"it refused what it found in: {', '.join(tried)}",
                do=f"they may have been withdrawn: {GET_ONE}",
            )
        return AccessError(
            f"Kaggle wants to know who asks for {self.shown}",
            why=f"no credentials were found; the places are {PLACES}",
            do=f"{GET_ONE}; then see that you can open {self.handle.page}",
        )


def _framework(name: str) -> str:
    """Write a framework as Kaggle's interface calls it.

    Example:
        >>> _framework("tensorFlow2"), _framework("pytorch"), _framework("newOne")
        ('MODEL_FRAMEWORK_TENSOR_FLOW_2', 'MODEL_FRAMEWORK_PY_TORCH', 'MODEL_FRAMEWORK_NEW_ONE')
    """
    plain = re.sub(r"[^A-Z0-9]", "", name.upper())
    spoken = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[a-z])(?=[0-9])", "_", name).upper()
    known = next((one for one in _FRAMEWORKS if one.replace("_", "") == plain), re.sub(r"[^A-Z0-9]+", "_", spoken))
    return f"MODEL_FRAMEWORK_{known}"


def open_source(text: str) -> Order:
    """Read a handle, a page address or a pasted command.

    Raises:
        AddressError: It is none.

    Example:
        >>> open_source("!kaggle competitions download -c digit-recognizer -f train.csv").source.shown
        'kaggle:competitions/digit-recognizer/train.csv'
    """
    if not _COMMAND.match(text):
        return Order(source=KaggleSource(parse(text)))
    command = parse_command(split(text)[1:])
    return Order(source=KaggleSource(command.handle), to=command.to, unpack=command.unpack)
