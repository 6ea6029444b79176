"""Google's clients draw from Python's global generator: jitter of retries, boundaries of uploads.

A mirror sends while a training runs, and a training may draw from that generator too (Keras seeds it): what one draws
changes what the other gets, so a run with a mirror would end otherwise than one without. The modules get a generator of
their own. Seen in google-cloud-storage 3.17, google-resumable-media 2.7, google-auth 2.4x, google-api-core 2.2x and
urllib3 2; not needed any more once none of these modules imports `random`.

Source:
    https://github.com/googleapis/python-storage/blob/main/google/cloud/storage/_media/_upload.py
"""

from __future__ import annotations

import random
import sys

MODULES = (
    "google.api_core.retry.retry_base",
    "google.auth._exponential_backoff",
    "google.cloud.storage._media._upload",
    "google.resumable_media._helpers",
    "google.resumable_media._upload",
    "urllib3.util.retry",
)

_own = random.Random()  # noqa: S311 - for waits and boundaries, as theirs


def keep_off() -> None:
    """Give each of the modules that is loaded a generator of its own; a later call finds those loaded since."""
    for name in MODULES:
        module = sys.modules.get(name)
        if module is not None and getattr(module, "random", None) is random:
            module.random = _own  # type: ignore[attr-defined]
