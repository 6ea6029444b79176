"""Credentials of the user for Google's services."""

import os
import subprocess
from pathlib import Path

from google.colab import _machine, _message, errors


def authenticate_user(clear_output: bool = True, project_id: str | None = None) -> None:
    """Ask the frontend for credentials where there are none; waits forever for the answer, as the real one does."""
    del clear_output
    if _machine.is_enterprise():
        print("WARNING: google.colab.auth.authenticate_user() is not supported in Colab Enterprise.")
        return
    if project_id is not None:
        os.environ["GOOGLE_CLOUD_PROJECT"] = os.environ["GOOGLE_CLOUD_QUOTA_PROJECT"] = project_id
    if _has_credentials():
        return
    if os.environ.get("USE_AUTH_EPHEM", "0") != "1":
        raise NotImplementedError("the double does not run gcloud: set USE_AUTH_EPHEM=1, as Colab does")
    _message.blocking_request("request_auth", request={"authType": "auth_user_ephemeral"}, timeout_sec=None)
    subprocess.run(["gcloud", "config", "unset", "compute/gce_metadata_read_timeout_sec"], check=True)  # noqa: S607
    if not _has_credentials():
        raise errors.AuthorizationError("Failed to fetch user credentials")


def _has_credentials() -> bool:
    return Path(os.environ["COLABKIT_DRIVE_STATE"], "user-consent").exists()
