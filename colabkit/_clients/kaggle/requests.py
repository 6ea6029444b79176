"""Kaggle's requests and answers, as its own kagglesdk writes them; who asks, how long and how often is ours.

`import kaggle` signs in and may print a page of help, so it never happens; kagglesdk does nothing when it is imported.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from colabkit._internal.optional import require

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from colabkit._clients.kaggle.handle import Handle, Kind

_SERVICES = {
    "blobs": ("blobs", "blob_api_service", "BlobApiClient"),
    "competitions": ("competitions", "competition_api_service", "CompetitionApiClient"),
    "datasets": ("datasets", "dataset_api_service", "DatasetApiClient"),
    "code": ("kernels", "kernels_api_service", "KernelsApiClient"),
    "models": ("models", "model_api_service", "ModelApiClient"),
    "users": ("users", "account_service", "AccountClient"),
}


@dataclass(frozen=True, kw_only=True)
class KaggleRequest:
    """One request.

    Attributes:
        method: SERVICE/METHOD.
        body: What is posted.
        answers: The type of the answer, in kagglesdk; None for none.
    """

    method: str
    body: Mapping[str, Any] = field(repr=False)
    answers: Any = field(default=None, repr=False)

    def read(self, value: Mapping[str, Any]) -> Any:
        """Return an answer as kagglesdk reads it; None for one that it cannot read."""
        try:
            return self.answers.from_dict(dict(value))
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


class _Recorder:
    """Stands where kagglesdk's services have their HTTP client, and hands back what they would send."""

    def call(self, service_name: str, request_name: str, request: Any, response_type: Any) -> KaggleRequest:
        return KaggleRequest(
            method=f"{service_name}/{request_name}", body=type(request).to_dict(request), answers=response_type
        )


def _sdk(module: str) -> Any:
    require("kagglesdk", extra="", why="Kaggle is accessed through its own client")
    return importlib.import_module(f"kagglesdk.{module}")


def _types(service: str) -> Any:
    package, module, _ = _SERVICES[service]
    return _sdk(f"{package}.types.{module}")


def _filled(kind: Any, **fields: Any) -> Any:
    """Make an object of kagglesdk; a field that it does not know is an error, and what is None stays unset."""
    made = kind()
    for name, value in fields.items():
        if value is not None:
            setattr(made, name, value)
    return made


def _recorded(service: str, call: str, request: str, **fields: Any) -> KaggleRequest:
    package, module, client = _SERVICES[service]
    made = _filled(getattr(_types(service), request), **fields)
    services: Any = getattr(_sdk(f"{package}.services.{module}"), client)
    recorded: KaggleRequest = getattr(services(_Recorder()), call)(made)
    return recorded


def download(handle: Handle, version: int | None) -> KaggleRequest:
    """Ask for the signed address of what a handle names.

    Args:
        handle: What is wanted.
        version: Its version, where one has to be named.
    """
    file = handle.file or None
    if handle.kind == "competitions":
        if file is None:
            return _recorded(
                "competitions", "download_data_files", "ApiDownloadDataFilesRequest", competition_name=handle.name
            )
        return _recorded(
            "competitions",
            "download_data_file",
            "ApiDownloadDataFileRequest",
            competition_name=handle.name,
            file_name=file,
        )
    if handle.kind == "datasets":
        return _recorded(
            "datasets",
            "download_dataset",
            "ApiDownloadDatasetRequest",
            owner_slug=handle.owner,
            dataset_slug=handle.name,
            dataset_version_number=version,
            file_name=file,
        )
    if handle.kind == "code":
        return _recorded(
            "code",
            "download_kernel_output",
            "ApiDownloadKernelOutputRequest",
            owner_slug=handle.owner,
            kernel_slug=handle.name,
            version_number=version,
            file_path=file,
        )
    return _model(
        handle,
        "download_model_instance_version",
        "ApiDownloadModelInstanceVersionRequest",
        version_number=version,
        path=file,
    )


def about(handle: Handle) -> KaggleRequest:
    """Ask what is known of a dataset, the variation of a model or a notebook; its newest version among it."""
    if handle.kind == "models":
        return _model(handle, "get_model_instance", "ApiGetModelInstanceRequest")
    if handle.kind == "code":
        return _recorded("code", "get_kernel", "ApiGetKernelRequest", user_name=handle.owner, kernel_slug=handle.name)
    return _recorded(
        "datasets", "get_dataset", "ApiGetDatasetRequest", owner_slug=handle.owner, dataset_slug=handle.name
    )


def newest(handle: Handle, request: KaggleRequest, value: Mapping[str, Any]) -> int | None:
    """Return the newest version that an answer to `about` tells, or None."""
    metadata = request.read(value)
    metadata = getattr(metadata, "metadata", None) if handle.kind == "code" else metadata
    names = ("version_number",) if handle.kind == "models" else ("current_version_number",)
    number = next((getattr(metadata, name, None) for name in names), None)
    return number if isinstance(number, int) and number > 0 else None


def _model(handle: Handle, call: str, request: str, **fields: Any) -> KaggleRequest:
    frameworks = _sdk("models.types.model_enums").ModelFramework
    name = framework(handle.framework, frameworks.__members__)
    request_of_model = _recorded(
        "models",
        call,
        request,
        owner_slug=handle.owner,
        model_slug=handle.name,
        framework=frameworks.__members__.get(name),
        instance_slug=handle.variation,
        **fields,
    )
    # One that is newer than the installed kagglesdk goes by the name that it must have.
    return KaggleRequest(
        method=request_of_model.method,
        body={**request_of_model.body, "framework": name},
        answers=request_of_model.answers,
    )


def framework(name: str, names: Iterable[str] = ()) -> str:
    """Write a framework as Kaggle's interface calls it; in addresses it is written in any case.

    Example:
        >>> framework("tensorFlow2", ["MODEL_FRAMEWORK_TENSOR_FLOW_2"]), framework("newOne")
        ('MODEL_FRAMEWORK_TENSOR_FLOW_2', 'MODEL_FRAMEWORK_NEW_ONE')
    """
    plain = re.sub(r"[^A-Z0-9]", "", name.upper())
    spoken = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[a-z])(?=[0-9])", "_", name).upper()
    made = f"MODEL_FRAMEWORK_{re.sub(r'[^A-Z0-9]+', '_', spoken)}"
    return next(
        (enum_name for enum_name in names if enum_name.removeprefix("MODEL_FRAMEWORK_").replace("_", "") == plain), made
    )


def start_blob(kind: Kind, name: str, size: int, modified: int) -> KaggleRequest:
    """Ask for an address to send a file of a dataset or a model to, and the token that stands for it."""
    kinds = _types("blobs").ApiBlobType
    return _recorded(
        "blobs",
        "start_blob_upload",
        "ApiStartBlobUploadRequest",
        type=kinds.MODEL if kind == "models" else kinds.DATASET,
        name=name,
        content_length=size,
        last_modified_epoch_seconds=modified,
    )


def start_submission(competition: str, name: str, size: int, modified: int) -> KaggleRequest:
    """Ask for an address to send a submission to, and the token that stands for it."""
    return _recorded(
        "competitions",
        "start_submission_upload",
        "ApiStartSubmissionUploadRequest",
        competition_name=competition,
        file_name=name,
        content_length=size,
        last_modified_epoch_seconds=modified,
    )


def create_dataset(handle: Handle, metadata: Mapping[str, Any], tree: Mapping[str, Any]) -> KaggleRequest:
    """Ask for a new dataset, which is private.

    Args:
        handle: Its name.
        metadata: More fields of the request.
        tree: Its files: "files" are tokens, "directories" are names with trees.
    """
    fields = {"owner_slug": handle.owner, "slug": handle.name, "is_private": True, **metadata}
    return _recorded("datasets", "create_dataset", "ApiCreateDatasetRequest", **fields, **_tree(tree))


def get_model(handle: Handle) -> KaggleRequest:
    """Ask for a model, of whatever framework and variation."""
    return _recorded("models", "get_model", "ApiGetModelRequest", owner_slug=handle.owner, model_slug=handle.name)


def create_model(handle: Handle, metadata: Mapping[str, Any]) -> KaggleRequest:
    """Ask for a new model, which is private and has no variation yet."""
    fields = {"owner_slug": handle.owner, "slug": handle.name, "is_private": True, **metadata}
    return _recorded("models", "create_model", "ApiCreateModelRequest", **fields)


def create_instance(handle: Handle, metadata: Mapping[str, Any], tree: Mapping[str, Any]) -> KaggleRequest:
    """Ask for a new variation of a model, with its first version; the arguments are as for `create_dataset`."""
    frameworks = _sdk("models.types.model_enums").ModelFramework
    body = _filled(
        _types("models").ApiCreateModelInstanceRequestBody,
        instance_slug=handle.variation,
        framework=frameworks[framework(handle.framework, frameworks.__members__)],
        **metadata,
        **_tree(tree),
    )
    return _recorded(
        "models",
        "create_model_instance",
        "ApiCreateModelInstanceRequest",
        owner_slug=handle.owner,
        model_slug=handle.name,
        body=body,
    )


def frameworks() -> dict[str, str]:
    """Return the frameworks that a new variation can have, as handles write them, by the interface's names."""
    names = _sdk("models.types.model_enums").ModelFramework.__members__
    return {name: _in_handles(name.removeprefix("MODEL_FRAMEWORK_")) for name in names if "UNSPECIFIED" not in name}


def _in_handles(name: str) -> str:
    first, *others = name.lower().split("_")
    return first + "".join(word.capitalize() for word in others)


def create_version(handle: Handle, notes: str, tree: Mapping[str, Any]) -> KaggleRequest:
    """Ask for the next version of a dataset or a model's variation; `tree` is as for `create_dataset`."""
    if handle.kind == "models":
        body = _filled(_types("models").ApiCreateModelInstanceVersionRequestBody, version_notes=notes, **_tree(tree))
        return _model(handle, "create_model_instance_version", "ApiCreateModelInstanceVersionRequest", body=body)
    body = _filled(_types("datasets").ApiCreateDatasetVersionRequestBody, version_notes=notes, **_tree(tree))
    return _recorded(
        "datasets",
        "create_dataset_version",
        "ApiCreateDatasetVersionRequest",
        owner_slug=handle.owner,
        dataset_slug=handle.name,
        body=body,
    )


def _tree(tree: Mapping[str, Any]) -> dict[str, Any]:
    types = _types("datasets")
    return {
        "files": [_filled(types.ApiDatasetNewFile, token=token) for token in tree["files"]],
        "directories": [
            _filled(types.ApiUploadDirectoryInfo, name=name, **_tree(inside))
            for name, inside in tree["directories"].items()
        ],
    }


def create_submission(competition: str, token: str, message: str) -> KaggleRequest:
    """Ask for a submission of what was sent."""
    return _recorded(
        "competitions",
        "create_submission",
        "ApiCreateSubmissionRequest",
        competition_name=competition,
        blob_file_tokens=token,
        submission_description=message,
    )


def submissions(competition: str) -> KaggleRequest:
    """Ask for the newest submissions."""
    return _recorded(
        "competitions", "list_submissions", "ApiListSubmissionsRequest", competition_name=competition, page_size=20
    )


def renewal(refresh_token: str) -> KaggleRequest:
    """Ask for a new access token for an OAuth sign-in, as long as `kaggle auth login` asks for one."""
    credentials = _sdk("kaggle_creds").KaggleCredentials
    types = _types("users")
    return _recorded(
        "users",
        "generate_access_token",
        "GenerateAccessTokenRequest",
        refresh_token=refresh_token,
        api_version=types.ApiVersion.API_VERSION_V1,
        expiration_duration=credentials.DEFAULT_ACCESS_TOKEN_EXPIRATION,
    )


def address(method: str) -> str:
    """Return where a request is posted: Kaggle's own, or what KAGGLE_API_ENVIRONMENT names for its programs."""
    env = _sdk("kaggle_env")
    now = env.get_env()
    base = env.get_endpoint(now)
    return f"{base}/v1/{method}" if now is env.KaggleEnv.PROD else f"{base}/api/v1/{method}"
