"""Kaggle's `kaggle_secrets`, from the secrets that colabkit finds."""

from __future__ import annotations

__all__ = ["UserSecretsClient"]


class UserSecretsClient:
    """Reads secrets by their label, as Kaggle's client of this name."""

    def get_secret(self, label: str) -> str:
        """Return a secret.

        Raises:
            SecretNotFoundError: No place has it.
        """
        from colabkit.runtime.secrets import secret

        return str(secret(label, prompt=False))
