"""The name that was meant, where one was mistyped."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Return the known name that is most alike, or None where none is near.

    Example:
        >>> nearest("digit-cnn", ["mnist-mlp", "digits-cnn"])
        'digits-cnn'
        >>> nearest("weather", ["mnist-mlp", "digits-cnn"]) is None
        True
    """
    import difflib  # only where something is wrong already

    by_lower = {name.lower(): name for name in names}
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def suggest(word: str, choices: Iterable[str]) -> str:
    """Say what to write instead of a word.

    Example:
        >>> suggest("sprnt", ["same", "sprint"])
        "did you mean 'sprint'? There are: same, sprint"
        >>> suggest("fast", ["same", "sprint"])
        'choose one of: same, sprint'
    """
    names = list(choices)
    meant = nearest(word, names)
    listed = ", ".join(names)
    return f"did you mean {meant!r}? There are: {listed}" if meant else f"choose one of: {listed}"
