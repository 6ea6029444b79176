"""Kaggle: datasets, competitions, models and what notebooks made, by handle, page address or pasted command.

Kaggle's interface answers a download with a redirect to a signed address of Google's storage; the engine takes it from
there.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from colabkit.errors import TransferError
from colabkit.transfer import _kaggle_here, archive
from colabkit.transfer._api import unexpected
from colabkit.transfer._headers import url_name
from colabkit.transfer._kaggle_api import KaggleApi
from colabkit.transfer._kaggle_handle import parse, parse_command
from colabkit.transfer._sources import COMMAND
from colabkit.transfer._words import split
from colabkit.transfer.base import Order, Remote, Target

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from colabkit.transfer._kaggle_handle import Handle

_COMMAND = re.compile(COMMAND + r"kaggle\s")


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
        self._api = KaggleApi(handle, env)

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

    def here(self, *, ask: bool = True) -> Path | None:
        """Return where Kaggle, Colab or kagglehub has put it already."""
        return _kaggle_here.find(self.handle, self._env, ask=ask)

    def remote(self) -> Remote:
        """Ask Kaggle for a signed address; nothing secret is sent there.

        Raises:
            AccessError: Kaggle refuses, or wants to know who asks.
            NotFoundError: There is no such thing.
            BusyError: Too many requests.
        """
        service, body = self._download()
        reply = self._api.call(service, body)
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
        body: dict[str, Any]
        if handle.kind == "competitions":
            service = "competitions.CompetitionApiService/DownloadDataFile"
            body = {"competitionName": handle.name, "fileName": handle.file}
            return (service, body) if handle.file else (f"{service}s", {"competitionName": handle.name})
        if handle.kind == "datasets":
            body = {"ownerSlug": handle.owner, "datasetSlug": handle.name}
            more = {"datasetVersionNumber": handle.version, "fileName": handle.file}
            return "datasets.DatasetApiService/DownloadDataset", body | {key: it for key, it in more.items() if it}
        if handle.kind == "code":
            return self._output()
        body = {
            "ownerSlug": handle.owner,
            "modelSlug": handle.name,
            "framework": _framework(handle.framework),
            "instanceSlug": handle.variation,
        }
        version = handle.version
        if version is None:
            version = self._api.call("models.ModelApiService/GetModelInstance", body).value().get("versionNumber")
        file = {"path": handle.file} if handle.file else {}
        body |= {"versionNumber": self._number(version), **file}
        return "models.ModelApiService/DownloadModelInstanceVersion", body

    def _output(self) -> tuple[str, dict[str, Any]]:
        handle, version = self.handle, self.handle.version
        if version is None:
            body = {"userName": handle.owner, "kernelSlug": handle.name}
            about = self._api.call("kernels.KernelsApiService/GetKernel", body).value().get("metadata")
            version = about.get("currentVersionNumber") if isinstance(about, dict) else None
        which = {"ownerSlug": handle.owner, "kernelSlug": handle.name, "versionNumber": self._number(version)}
        file = {"filePath": handle.file} if handle.file else {}
        return "kernels.KernelsApiService/DownloadKernelOutput", which | file

    def _number(self, version: Any) -> int:
        if not isinstance(version, int):
            raise TransferError(
                f"Kaggle does not tell the newest version of {self.shown}", do="add its number to the end"
            )
        return version


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
