"""Which bytes of a run being written are put again, so that all of them are put a few times each."""

from __future__ import annotations

from typing import Final

__all__ = ["LivePieces"]

PIECE: Final = 1 << 20
"""Bytes of a piece that is not put again."""
LITTLE: Final = 16 << 10
"""Bytes of the run's own object that are put again with every flush: a small run has no parts."""


class LivePieces:
    """The pieces that a run being written lies in: its own object, and the parts that follow it.

    What is new is put together with the pieces before it that are less than twice as long as all that follows them.
    So each piece is at least twice as long as the next one, there are few, and each byte is put again only in a piece
    that is half as long again.

    Parameters
    ----------
    size : int
        Bytes of the run's object as it was put first.

    Examples
    --------
    >>> pieces = LivePieces(50_000)
    >>> for size in (50_100, 50_200, 50_300, 50_400):
    ...     start = pieces.start(size)
    ...     print(start, pieces.put(start, size))
    50000 []
    50000 []
    50200 []
    50000 [50200]
    """

    def __init__(self, size: int) -> None:
        self._starts, self._size = [0], size

    def start(self, size: int) -> int:
        """Where the piece begins that is put when the run has so many bytes.

        Never later for a larger size: after a put whose answer was lost, the next one has all that it had.
        """
        start = self._size
        for earlier in reversed(self._starts):
            length = start - earlier
            small = length < max(2 * (size - start), 0 if earlier else LITTLE)
            if not small or length >= PIECE:
                break
            start = earlier
        return start

    def put(self, start: int, size: int) -> list[int]:
        """Note that a piece was put; give where those began that are in it now."""
        superseded = [one for one in self._starts if one > start]
        self._starts = [*(one for one in self._starts if one < start), start]
        self._size = size
        return superseded
