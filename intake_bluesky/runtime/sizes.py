"""Sizes: what texts mean, and the largest that is believed of a document from elsewhere."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Final

from intake_bluesky.errors import UnsupportedOperation

__all__ = ["LIMIT", "byte_count", "is_of_another_limit", "largest", "to_raise_it"]

LIMIT: Final = "INTAKE_BLUESKY_LARGEST"
"""The environment variable that sets it: the bytes of one document, or that the rows of one stream take in memory."""
DEFAULT: Final = "256MiB"


def byte_count(size: int | str) -> int:
    """Read a size: a number of bytes, or text like ``"10GiB"``; other text raises `ValueError`.

    Examples
    --------
    >>> byte_count(100), byte_count("2 kB")
    (100, 2000)
    """
    from dask.utils import parse_bytes  # dask is not loaded before it is needed: it takes longer than all of ours

    if isinstance(size, str) and not any(map(str.isdigit, size)):
        raise ValueError(f"{size!r} is no size")  # of nothing but a unit dask makes one
    return int(parse_bytes(size))


def largest() -> int:
    """The most bytes that one document, or the rows that stream datums claim, may take.

    A few wrong digits, or a few bytes that decompress without end, would else cost all memory.
    """
    return _limit(os.environ.get(LIMIT, ""))


@lru_cache
def _limit(text: str) -> int:
    if not text:
        return 1 << 28  # 256 MiB, without dask
    try:
        size = byte_count(text)
    except ValueError:
        size = 0
    if size < 1:
        raise UnsupportedOperation(f"the environment variable {LIMIT} is a size such as {DEFAULT}, not {text!r}")
    return size


def to_raise_it() -> str:
    """What a message says of the limit: its value, and how to set another."""
    return f"more than the {largest():,} bytes that are believed: the environment variable {LIMIT} sets another limit"


def is_of_another_limit(message: str) -> bool:
    """Whether a message says that something was too large, for another limit than today's."""
    return LIMIT in message and to_raise_it() not in message
