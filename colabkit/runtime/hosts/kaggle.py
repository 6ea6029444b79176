"""Kaggle notebooks. Tested before Colab: Kaggle's image is built from Colab's and carries its marks."""

from __future__ import annotations

import re

from colabkit.runtime.base import Host, Probe

MARK = "KAGGLE_KERNEL_RUN_TYPE"
"""Not `KAGGLE_USERNAME`, `KAGGLE_KEY` or `KAGGLE_API_TOKEN`: those are a user's credentials and mark no host."""


_NONE = "No user secrets exist"
"""What Kaggle's service says where a label is unknown or not attached to the notebook."""

_REFUSED = (401, 403)


def recognise(place: Probe) -> Host | None:
    """Recognise a Kaggle session, interactive or batch ("Save & Run All")."""
    if not place.env.get(MARK):
        return None
    batch = place.env[MARK] == "Batch"
    on_tpu = "TPU_ACCELERATOR_TYPE" in place.env
    built = re.match(r"\d{4}-\d{2}-\d{2}", place.read("/etc/build_date"))
    return Host(
        host="kaggle",
        name="Kaggle",
        evidence=tuple(filter(None, (place.shows(MARK), place.exists("/kaggle/working")))),
        _frontend=place.frontend(hosted="headless" if batch else "browser"),
        work_dir=place.folder("/kaggle/working") or place.cwd,
        persistent_dir=place.folder("/kaggle/working"),
        image=place.env.get("KAGGLE_DOCKER_IMAGE") or place.read("/etc/git_commit") or None,
        image_date=built[0] if built else None,
        max_session_hours=9 if on_tpu else 12,
        idle_minutes=None if batch else 20,
        notes=("/kaggle/working keeps up to 20 GB, and only when the notebook is saved as a version",),
    )


def secret(name: str) -> str:
    """Return one of the user's Kaggle secrets; called on Kaggle only.

    Raises:
        SecretNotFoundError: There is none of that label, or it is not attached to this notebook.
        SecretAccessError: Kaggle refuses this session.
        SecretTimeoutError: Kaggle cannot be reached.
        SecretError: Kaggle answered something else.
    """
    from colabkit.errors import SecretAccessError, SecretError, SecretNotFoundError, SecretTimeoutError

    refused = SecretAccessError(
        f"Kaggle refuses to give the secret {name!r}",
        why="this session has no valid token for secrets",
        hint="save the notebook, and restart its session",
    )
    try:
        import kaggle_secrets

        value: str = kaggle_secrets.UserSecretsClient().get_secret(name)
    except ImportError:
        why = "kaggle_secrets cannot be imported here"
        raise SecretError("Kaggle's secrets cannot be read", why=why, hint="use the notebook's own Python") from None
    except ConnectionError as error:
        # Kaggle's client reports a refusal as a lost connection; the server's code is in the cause.
        if getattr(error.__cause__, "code", None) in _REFUSED:
            raise refused from None
        raise SecretTimeoutError(
            "Kaggle's secrets do not answer",
            why="the service cannot be reached",
            hint="switch on Internet in the notebook's settings, then restart the session",
        ) from None
    except Exception as error:  # noqa: BLE001 - Kaggle's classes are plain Exceptions, in other modules by version
        if type(error).__name__ == "CredentialError":
            raise refused from None
        if _NONE in str(error):
            raise SecretNotFoundError(
                f"no Kaggle secret named {name!r}",
                why="has none of that label, or it is not attached to this notebook",
                hint="add or attach it in the menu Add-ons, Secrets",
            ) from None
        why = f"an answer that is not understood ({type(error).__name__})"
        raise SecretError(f"Kaggle did not give the secret {name!r}", why=why, hint="try again later") from None
    return value
