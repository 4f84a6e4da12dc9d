"""What may be shown of URLs and options: all but the secrets in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["shown", "without_secrets"]

USER: Final = re.compile(r"://[^/?#\s]*@")
QUERY: Final = re.compile(r"([?&][\w.~%-]+)=[^&#\s'\")\]]+")
SECRET: Final = re.compile(
    r"(?i)pass(word|wd|phrase)|secret|token|credential|authorization|cookie|connection_string|key(_?id)?$|^auth$"
)


def shown(text: str) -> str:
    """A URL, or a text with URLs, without the users, passwords and signatures in them.

    Examples
    --------
    >>> shown("https://user:p@ss@host/x.jsonl?sig=abc&se=2026"), shown("s3://bucket/run_?.jsonl")
    ('https://host/x.jsonl?sig=...&se=...', 's3://bucket/run_?.jsonl')
    """
    return QUERY.sub(r"\1=...", USER.sub("://", text)) if "://" in text else text


def without_secrets(value: Any) -> Any:
    """An argument without what is secret in it: URLs as `shown`, options that are secrets by their names left out.

    Examples
    --------
    >>> without_secrets({"key": "me", "secret": "hunter2", "client_kwargs": {"endpoint_url": "https://s3.example"}})
    {'client_kwargs': {'endpoint_url': 'https://s3.example'}}
    >>> without_secrets(["https://user:hunter2@host/runs", "/data"])
    ['https://host/runs', '/data']
    """
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {name: without_secrets(item) for name, item in value.items() if not SECRET.search(str(name))}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    if isinstance(value, tuple):
        return tuple(map(without_secrets, value))
    return value
