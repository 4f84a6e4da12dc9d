"""Pieces joined while what they are parts of grows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

__all__ = ["growing"]


def growing(pieces: Iterable[bytes], held: Callable[[], int]) -> Iterator[bytes]:
    """Join pieces until they are half as long as what is held, to which each is added.

    One document may be in very many pieces: added one by one, they would be copied in the square of its size.

    Examples
    --------
    >>> buffer = b""
    >>> for piece in growing([b"a"] * 9, lambda: len(buffer)):
    ...     buffer += piece
    ...     print(len(piece), end=" ")
    1 1 1 2 3 1
    """
    parts: list[bytes] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if 2 * size >= held():
            joined, parts, size = b"".join(parts), [], 0
            yield joined
    if parts:
        yield b"".join(parts)
