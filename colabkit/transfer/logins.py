"""Which services this session is signed in to, and where that was found; no value is ever shown."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colabkit import config
from colabkit._clients import huggingface
from colabkit._clients.kaggle import auth as kaggle_auth
from colabkit.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

VARIABLES = {"Kaggle": kaggle_auth.TOKEN, "Hugging Face": huggingface.TOKEN}
"""The variable that holds the token of each service, for `use`."""

_GOOGLE_FILE = "~/.config/gcloud/application_default_credentials.json"
_GOOGLE_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"


@dataclass(frozen=True, kw_only=True)
class LoginState:
    """Whether there is a login for a service.

    Attributes:
        service: Its name.
        place: Where the login was found; empty where there is none.
        hint: What to do for one.
    """

    service: str
    place: str
    hint: str


def login_states(env: Mapping[str, str] | None = None) -> list[LoginState]:
    """Look in variables and files for logins; no server is asked, and no secret of a notebook opened."""
    env = config.environment(env)
    kaggle = next((login.place for login in kaggle_auth.near_logins(env)), "")
    google = ""
    if env.get(_GOOGLE_VARIABLE):
        google = _GOOGLE_VARIABLE
    elif config.own_path(_GOOGLE_FILE).is_file():
        google = _GOOGLE_FILE
    return [
        LoginState(service="Kaggle", place=kaggle, hint=kaggle_auth.GET_TOKEN),
        LoginState(service="Hugging Face", place=huggingface.near_place(env), hint=huggingface.NEW_TOKEN),
        LoginState(
            service="Google",
            place=google,
            hint="on Colab press Sign in; elsewhere run: gcloud auth application-default login",
        ),
    ]


def use(service: str, token: str, env: MutableMapping[str, str] | None = None) -> str:
    """Let this session use a token: it is put into the environment of this process, and nowhere else.

    Args:
        service: One of `VARIABLES`.
        token: The token.
        env: The environment; this process' own when None.

    Returns:
        The variable's name.

    Raises:
        AddressError: There is no such service, or this is not a token.

    Example:
        >>> held = {}
        >>> use("Kaggle", " KGAT_0123 ", held), list(held)
        ('KAGGLE_API_TOKEN', ['KAGGLE_API_TOKEN'])
    """
    if service not in VARIABLES:
        raise AddressError(f"{service} takes no token here", hint=f"choose one of: {', '.join(VARIABLES)}")
    text = "".join(token.split())
    if not text or not text.isascii() or not text.isprintable():
        raise AddressError(f"what was typed is not a token of {service}", hint="copy it whole from the service's page")
    env = os.environ if env is None else env
    env[VARIABLES[service]] = text
    return VARIABLES[service]
