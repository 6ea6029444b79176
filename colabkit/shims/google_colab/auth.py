"""google.colab.auth: the account that Google's own tools are signed in with."""

from __future__ import annotations

import os

from colabkit import config

__all__ = ["authenticate_service_account", "authenticate_user"]

_ADC = "GOOGLE_APPLICATION_CREDENTIALS"


def authenticate_user(clear_output: bool = True, project_id: str | None = None) -> None:
    """Use the stored sign-in; nothing is asked, and that there is none is said."""
    del clear_output
    if project_id:
        os.environ.setdefault("GOOGLE_CLOUD_PROJECT", project_id)
    stored = config.own_path(os.environ.get("CLOUDSDK_CONFIG") or "~/.config/gcloud")
    if os.environ.get(_ADC) or (stored / "application_default_credentials.json").is_file():
        return
    print("Nobody is signed in to Google here. Run: gcloud auth application-default login")  # noqa: T201


def authenticate_service_account(clear_output: bool = True) -> None:
    """Use the key file that GOOGLE_APPLICATION_CREDENTIALS names."""
    authenticate_user(clear_output)
