"""Kaggle's interface: a POST with a piece of JSON, asked with each login that there is until one is accepted.

Importing kagglesdk for that would cost 0.7 s, and importing kaggle signs in and prints help.
"""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from colabkit.errors import AccessError, NotFoundError
from colabkit.transfer._api import Reply, ask, unexpected
from colabkit.transfer._kaggle_login import GET_ONE, PLACES, Login, logins, upload_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from colabkit.transfer._kaggle_handle import Handle

ADDRESS = "https://api.kaggle.com/v1"
_TRIES = 5


class KaggleApi:
    """Asks about one thing at Kaggle.

    Args:
        handle: Which.
        env: The environment.
        verb: What is done with it, for messages.
    """

    def __init__(self, handle: Handle, env: Mapping[str, str] = os.environ, *, verb: str = "fetch") -> None:
        self._handle = handle
        self._env = env
        self._verb = verb
        self._what = f"cannot {verb} {handle}"
        self._login: Login | None = None
        self._asked_user = False

    def call(self, method: str, body: Mapping[str, Any], *, tries: int = _TRIES, checked: bool = True) -> Reply:
        """Ask with each login until one is taken; public data is given to those who have none as well.

        Args:
            method: SERVICE/METHOD.
            body: What is asked.
            tries: How many failures in a row are forgiven.
            checked: Raise what `check` does; without it the caller looks at the answer first.

        Raises:
            AccessError: Kaggle refuses, or wants to know who asks.
            NotFoundError: There is no such thing.
            BusyError: Too many requests.
            TransferError: Anything else.
        """
        tried: list[str] = []
        for login in self._logins():
            reply = self._ask(method, body, login, tries)
            if reply.status != HTTPStatus.UNAUTHORIZED:
                self._login = login
                return self.check(reply) if checked else reply
            tried.append(login.place)
        reply = self._ask(method, body, None, tries)
        if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise self._unknown(tried)
        return self.check(reply) if checked else reply

    def check(self, reply: Reply) -> Reply:
        """Return an answer that is no refusal.

        Raises:
            TransferError: Or one of its kinds: it is one.
        """
        if reply.status == HTTPStatus.FORBIDDEN:
            raise self._forbidden(reply)
        if reply.status == HTTPStatus.NOT_FOUND:
            raise NotFoundError(
                f"Kaggle has no {self._handle}",
                why=reply.words() or "or it is private, and belongs to another account",
                do=f"check the name on {self._handle.page}",
            )
        if reply.status >= HTTPStatus.BAD_REQUEST:
            raise unexpected(self._what, reply)
        return reply

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

    def _ask(self, method: str, body: Mapping[str, Any], login: Login | None, tries: int) -> Reply:
        headers = {} if login is None else {"Authorization": login.authorization}
        return ask(f"{ADDRESS}/{method}", what=self._what, headers=headers, value=body, tries=tries)

    def _forbidden(self, reply: Reply) -> AccessError:
        said = reply.words()
        account = f"asked with {self._login.place}" if self._login is not None else "asked without an account"
        if self._handle.kind == "competitions":
            why = "its rules are not accepted by this account yet, or it is closed"
            do = f"open {self._handle.page}/rules, accept them, and run the same again"
        elif self._verb == "push":
            why = "it belongs to another account, or this one may not change it"
            do = f"open {self._handle.page} while signed in, and see who owns it"
        else:
            why = "it is private, or its terms are not accepted by this account yet"
            do = f"open {self._handle.page} while signed in, accept what it asks for, and run the same again"
        return AccessError(
            f"Kaggle refuses {self._handle}", why=f"{why} ({account})" + (f"; it says: {said}" if said else ""), do=do
        )

    def _unknown(self, tried: list[str]) -> AccessError:
        if tried:
            return AccessError(
                f"Kaggle does not accept your credentials for {self._handle}",
                why=f"it refused what it found in: {', '.join(tried)}",
                do=f"they may have been withdrawn: {GET_ONE}",
            )
        return AccessError(
            f"Kaggle wants to know who asks for {self._handle}",
            why=f"no credentials were found; the places are {PLACES}",
            do=f"{GET_ONE}; then see that you can open {self._handle.page}",
        )
