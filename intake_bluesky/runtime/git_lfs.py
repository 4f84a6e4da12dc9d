"""Git LFS puts a pointer, three lines of text, where it has not fetched a file."""

from __future__ import annotations

from typing import Final

__all__ = ["ADVICE", "LARGEST", "is_pointer"]

LARGEST: Final = 1023  # bytes of a pointer, by Git LFS's specification
ADVICE: Final = "it is the pointer of Git LFS to a file that was not fetched: run `git lfs pull` where it lies"


def is_pointer(content: bytes) -> bool:
    """Whether a file's content is such a pointer.

    Examples
    --------
    >>> is_pointer(b"version https://git-lfs.github.com/spec/v1\\noid sha256:0\\nsize 7\\n"), is_pointer(b"")
    (True, False)
    """
    return len(content) <= LARGEST and content.startswith(b"version https://git-lfs.github.com/spec/")
