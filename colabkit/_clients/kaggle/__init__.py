"""Kaggle's interface, asked with each login that there is until one is accepted."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from colabkit import config
from colabkit._clients.kaggle.auth import GET_TOKEN, PLACES, Login, logins, upload_key
from colabkit._clients.kaggle.requests import KaggleRequest, address
from colabkit._http.json_api import ApiResponse, ask, unexpected
from colabkit.errors import AccessError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from colabkit._clients.kaggle.handle import Handle

_TRIES = 5


class KaggleApi:
    """Asks about one thing at Kaggle.

    Args:
        handle: Which.
        env: The environment.
        verb: What is done with it, for messages.
    """

    def __init__(self, handle: Handle, env: Mapping[str, str] | None = None, *, verb: str = "fetch") -> None:
        env = config.environment(env)
        self._handle = handle
        self._env = env
        self._verb = verb
        self._what = f"cannot {verb} {handle}"
        self._login: Login | None = None
        self._prompted_user = False

    def call(self, request: KaggleRequest, *, tries: int = _TRIES, checked: bool = True) -> ApiResponse:
        """Ask with each login until one is taken; public data is given to those who have none as well.

        Args:
            request: What is asked.
            tries: How many failures in a row are forgiven.
            checked: Raise what `check` does; without it the caller looks at the answer first.

        Raises:
            AccessError: Kaggle refuses, or requires a login.
            NotFoundError: There is no such thing.
            BusyError: Too many requests.
            TransferError: Anything else.
        """
        tried: list[str] = []
        for login in self._logins():
            reply = self._ask(request, login, tries)
            if reply.status != HTTPStatus.UNAUTHORIZED:
                self._login = login
                return self.check(reply) if checked else reply
            tried.append(login.place)
        reply = self._ask(request, None, tries)
        if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise self._unknown(tried)
        return self.check(reply) if checked else reply

    def check(self, reply: ApiResponse) -> ApiResponse:
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
                hint=f"check the name on {self._handle.page}",
            )
        if reply.status >= HTTPStatus.BAD_REQUEST:
            if reply.status == HTTPStatus.BAD_REQUEST and "quota" in reply.words().lower():
                raise self._forbidden(reply)
            raise unexpected(self._what, reply)
        return reply

    def _logins(self) -> Iterator[Login]:
        if self._login is not None:
            yield self._login
        has_login = False
        for login in logins(self._env):
            has_login = True
            if login != self._login:
                yield login
        if not has_login and not self._prompted_user:
            self._prompted_user = True
            if uploaded := upload_key(self._env):
                yield uploaded

    def _ask(self, request: KaggleRequest, login: Login | None, tries: int) -> ApiResponse:
        headers = {} if login is None else {"Authorization": login.authorization}
        return ask(address(request.method), what=self._what, headers=headers, value=request.body, tries=tries)

    def _forbidden(self, reply: ApiResponse) -> AccessError:
        message = reply.words()
        lower = message.lower()
        if "phone" in lower or "verify your" in lower or "verified" in lower:
            return AccessError(
                f"Kaggle refuses {self._handle}",
                why=f"this account's phone number is not verified; it says: {message}",
                hint="verify it on https://www.kaggle.com/settings, then run it again",
            )
        if "quota" in lower or "storage limit" in lower:
            return AccessError(
                f"Kaggle refuses {self._handle}",
                why=f"this account's quota is used up; it says: {message}",
                hint="see and free it on https://www.kaggle.com/settings, then run it again",
            )
        if "scope" in lower:
            return AccessError(
                f"Kaggle refuses {self._handle}",
                why=f"the token may do less than this needs; it says: {message}",
                hint=f"{GET_TOKEN}, with that scope",
            )
        account = f"asked with {self._login.place}" if self._login is not None else "asked without an account"
        if self._handle.kind == "competitions":
            why = "its rules are not accepted by this account yet, or it is closed"
            do = f"open {self._handle.page}/rules, accept them, and run it again"
        elif self._verb == "push":
            why = "it belongs to another account, or this one may not change it"
            do = f"open {self._handle.page} while signed in, and see who owns it"
        else:
            why = "it is private, or its terms are not accepted by this account yet"
            do = f"open {self._handle.page} while signed in, accept what it asks for, and run it again"
        return AccessError(
            f"Kaggle refuses {self._handle}",
            why=f"{why} ({account})" + (f"; it says: {message}" if message else ""),
            hint=do,
        )

    def _unknown(self, tried: list[str]) -> AccessError:
        if tried:
            return AccessError(
                f"Kaggle does not accept your credentials for {self._handle}",
                why=f"it refused the credentials from: {', '.join(tried)}",
                hint=f"they may have been withdrawn: {GET_TOKEN}",
            )
        return AccessError(
            f"Kaggle requires a login for {self._handle}",
            why=f"no credentials were found; the places are {PLACES}",
            hint=f"{GET_TOKEN}; then see that you can open {self._handle.page}",
        )
