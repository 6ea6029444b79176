"""The tab Logins: which services this session is signed in to, and a masked field for a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colabkit.errors import UnsupportedError
from colabkit.panel import html
from colabkit.transfer import logins

if TYPE_CHECKING:
    from colabkit.panel.widget_kit import WidgetKit
    from colabkit.runtime import Runtime


class LoginsTab:
    """Logins of Kaggle, Hugging Face and Google."""

    title = "Logins"

    def __init__(self, desk: WidgetKit, here: Runtime) -> None:
        self._desk = desk
        self._here = here
        widgets = desk.widgets
        self._state = desk.html()
        self._service = widgets.Dropdown(
            options=list(logins.VARIABLES),
            description=desk.words("Service"),
            layout=widgets.Layout(width="98%"),
            style={"description_width": "90px"},
        )
        self._token = widgets.Password(
            description=desk.words("Token"),
            placeholder=desk.words("kept in this session's memory only, and never shown"),
            layout=widgets.Layout(width="98%"),
            style={"description_width": "90px"},
        )
        self.widget = desk.column(
            desk.html(
                html.hint(
                    "A token that is among the notebook's secrets need not be typed: it is read when it is needed."
                )
            ),
            self._state,
            self._service,
            self._token,
            desk.actions(
                desk.button("Use token", self._use, style="primary"), desk.button("Sign in to Google", self._google)
            ),
        )
        self.show()

    def show(self) -> None:
        """Draw which logins there are."""
        rows = []
        for state in logins.login_states():
            mark = html.badge("ok", self._desk.words("found")) if state.place else html.badge("note", "-")
            words = state.place or state.hint
            rows.append((state.service, f"{mark} {html.text(words)}"))
        self._state.value = html.table(rows, "logins")

    def _use(self) -> None:
        token, self._token.value = self._token.value, ""
        name = logins.use(self._service.value, token)
        self.show()
        self._desk.note_code("login", f'import os\nos.environ["{name}"] = ck.secret("{name}")')
        self._desk.say("ok", f"{self._service.value}: used until this session ends, from {name}")

    def _google(self) -> None:
        if self._here.host != "colab":
            raise UnsupportedError(
                f"{self._here.name} has no Google sign-in",
                hint="run: gcloud auth application-default login; or name a key file in GOOGLE_APPLICATION_CREDENTIALS",
            )
        from google.colab import auth  # here and not in a thread, as Drive's mount

        auth.authenticate_user()
        self._desk.note_code("google", "from google.colab import auth\nauth.authenticate_user()")
        self._desk.say("ok", "signed in to Google")
        self.show()
