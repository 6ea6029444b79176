"""The language of the panel and of the commands' summaries: English, or Chinese where COLABKIT_LANG says `zh`.

Errors and logs stay English, so that they can be searched for.
"""

from __future__ import annotations

import os

VARIABLE = "COLABKIT_LANG"


def translated(text: str) -> str:
    """Return a text in the user's language; what has no translation stays as it is.

    Example:
        >>> translated("Fetch")
        'Fetch'
    """
    if not os.environ.get(VARIABLE, "").lower().startswith("zh"):
        return text
    from colabkit._internal.language.chinese import WORDS

    return WORDS.get(text, text)
