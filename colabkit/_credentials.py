"""Credentials that stand in a text which is to be shown: an address, a pasted line, a variable that is set."""

from __future__ import annotations

import re

TOKENS = (
    ("HF_TOKEN", r"\bhf_[A-Za-z0-9]{20,}\b"),
    ("GITHUB_TOKEN", r"\bgh[pousr]_[A-Za-z0-9]{20,}\b|\bgithub_pat_\w{20,}\b"),
    ("GITLAB_TOKEN", r"\bglpat-[\w-]{16,}"),
    ("OPENAI_API_KEY", r"\bsk-[A-Za-z0-9_-]{20,}"),
    ("GOOGLE_API_KEY", r"\bAIza[\w-]{30,}"),
    ("KAGGLE_API_TOKEN", r"\bKGAT_\w{16,}"),
    ("AWS_ACCESS_KEY_ID", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    ("SLACK_TOKEN", r"\bxox[abprs]-[\w-]{10,}"),
)
"""Tokens that are known by their form, and the variable in which each is expected."""

_ANY_TOKEN = re.compile("|".join(pattern for _, pattern in TOKENS))
_IN_ADDRESS = re.compile(r"(://)(?!git@|\*\*\*@)[^\s/@'\"<>]+@")
_PASTED = re.compile(
    r"(^|[\s'\"/])(?!(?:hf|github|modelscope|kaggle|gs|drive):)[^\s/@:'\"<>]+:(?!\*\*\*)[^\s/@'\"<>]+@(?=\w)"
)
"""The user and the password of an address whose beginning is missing or mistyped."""
_NAME = r"(?:[\w.-]*[-_.])?(?:token|sig|signature|secret|password|passwd|pwd|credential|key|apikey)"
_IN_QUERY = re.compile(rf"([?&]{_NAME}=)(?!…|\*\*\*)[^&\s'\"#]+", re.IGNORECASE)
_VARIABLE = re.compile(r"\b([A-Z][A-Z0-9_]*(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD)=)(?!…|\*\*\*)[^\s'\"]+")
_OPTION = re.compile(r"(--?(?:[a-z]+-)*(?:password|passwd|token|secret)(?:=|\s+(?=\S*\d)))(?!…|\*\*\*)[^\s'\"]+")
_USER = re.compile(r"(\s(?:-u|--user|--proxy-user)[ =]?[^\s:'\"]+:)(?!…|\*\*\*)[^\s'\"]+")
_HEADER = re.compile(
    r"\b((?:proxy-authorization|authorization|set-cookie|cookie|private-token|x-api-key|x-auth-token)\s*:\s*"
    r"(?:(?:bearer|basic|token)\s+)?)(?!…|\*\*\*)[^'\"\n]+",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """Return a text without the credentials that can be told by their form or their place.

    Example:
        >>> masked("no storage at https://me:hunter2@example.org/x?sig=abc&page=2")
        'no storage at https://***@example.org/x?sig=***&page=2'
        >>> masked("curl -H 'Authorization: Bearer abc' https://example.org")
        "curl -H 'Authorization: Bearer ***' https://example.org"
        >>> masked("no file at https//me:hunter2@example.org/x"), masked("hf:gpt2@main")
        ('no file at https//***@example.org/x', 'hf:gpt2@main')
        >>> masked("KAGGLE_KEY=abc kaggle datasets list"), masked("set HF_TOKEN=…")
        ('KAGGLE_KEY=*** kaggle datasets list', 'set HF_TOKEN=…')
    """
    text = _ANY_TOKEN.sub("***", text)
    if "://" in text:
        text = _IN_QUERY.sub(r"\1***", _IN_ADDRESS.sub(r"\1***@", text))
    if "@" in text:
        text = _PASTED.sub(r"\1***@", text)
    for pattern in (_VARIABLE, _OPTION, _USER, _HEADER):
        text = pattern.sub(r"\1***", text)
    return text
