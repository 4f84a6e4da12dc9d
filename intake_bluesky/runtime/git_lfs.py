"""Git LFS puts a pointer, three lines of text, where it has not fetched a file."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["ADVICE", "LARGEST", "is_pointer", "is_pointer_file"]

LARGEST: Final = 1023  # bytes of a pointer, by Git LFS's specification
ADVICE: Final = "it is the pointer of Git LFS to a file that was not fetched: run `git lfs pull` where it lies"


def is_pointer(content: bytes) -> bool:
    r"""Whether a file's content is such a pointer.

    Examples
    --------
    >>> is_pointer(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n"), is_pointer(b"")
    (True, False)
    """
    return len(content) <= LARGEST and content.startswith(b"version https://git-lfs.github.com/spec/")


def is_pointer_file(path: str) -> bool:
    """Whether there is such a pointer at a local path."""
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > LARGEST:
            return False
        with open(path, "rb") as file:
            return is_pointer(file.read())
    except (OSError, ValueError):
        return False
