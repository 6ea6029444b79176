"""A double of Kaggle's module: it talks HTTP to KAGGLE_URL_BASE, and reports refusals as the real one does."""

import json
import os
import urllib.error
import urllib.request

TIMEOUT = float(os.environ.get("TEST_KAGGLE_TIMEOUT", "40"))


class CredentialError(Exception):
    """There is no token."""


class BackendError(Exception):
    """The service answered that it was not successful."""


class ValidationError(Exception):
    """The label is empty."""


class UserSecretsClient:
    """Reads the secrets that are attached to the notebook."""

    def __init__(self):
        if "KAGGLE_USER_SECRETS_TOKEN" not in os.environ:
            raise CredentialError("A JWT Token is required")
        self.headers = {"X-Kaggle-Authorization": f"Bearer {os.environ['KAGGLE_USER_SECRETS_TOKEN']}"}

    def get_secret(self, label):
        """Return the value of a label."""
        if not label:
            raise ValidationError("Label must be non-empty.")
        request = urllib.request.Request(
            os.environ["KAGGLE_URL_BASE"] + "/requests/GetUserSecretByLabelRequest",
            data=json.dumps({"Label": label}).encode(),
            headers=self.headers,
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                answer = json.loads(response.read())
        except (urllib.error.URLError, TimeoutError) as error:  # an HTTPError is one of them, as in the real module
            raise ConnectionError("Connection error trying to communicate with service.") from error
        if not answer.get("wasSuccessful") or "result" not in answer:
            raise BackendError(f"Unexpected response from the service. Response: {answer}.")
        return answer["result"]["secret"]
