"""Patterns of files, in which a folder or file that is there by that very name is no pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable

__all__ = ["as_pattern", "fixed_part", "is_pattern"]


def fixed_part(pattern: str, exists: Callable[[str], bool] = os.path.lexists, separator: str = os.sep) -> str:
    """The leading folders of a pattern that are none; all of it where it is a path.

    Examples
    --------
    >>> fixed_part("/data/runs [2024]/scan*/a.jsonl", {"/data/runs [2024]"}.__contains__, "/")
    '/data/runs [2024]'
    >>> fixed_part("/data/[ab]/a.jsonl", set().__contains__, "/"), fixed_part("/data/a.jsonl")
    ('/data', '/data/a.jsonl')
    """
    parts = pattern.split(separator)
    for count, part in enumerate(parts):
        if glob.has_magic(part) and not exists(separator.join(parts[: count + 1])):
            return separator.join(parts[:count])
    return pattern


def as_pattern(pattern: str, exists: Callable[[str], bool] = os.path.lexists, separator: str = os.sep) -> str:
    """The same for `glob`, with what is no pattern escaped."""
    fixed = fixed_part(pattern, exists, separator)
    return glob.escape(fixed) + pattern[len(fixed) :]


def is_pattern(path: str) -> bool:
    """Whether a local path stands for others, and not for itself."""
    return glob.has_magic(path) and fixed_part(path) != path
