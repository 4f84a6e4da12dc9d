"""The order in which the points of a grid are visited, and so the row of a stream that belongs to each point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intake_bluesky.documents.columns import Array

__all__ = ["GridOrder", "passes", "visits"]


def visits(shape: Sequence[int], snaking: Sequence[bool], places: Sequence[range | Array] | None = None) -> Array:
    """Number the points of a grid, from 0, in the order in which they are visited; the slowest axis is first.

    Axes that snake are gone through backwards on every second pass. `places` along each axis, independent of those
    along the others, are all of them by default.

    Examples
    --------
    >>> visits((2, 3), (False, True))
    array([[0, 1, 2],
           [5, 4, 3]])
    """
    number: Array = np.zeros((1,) * len(shape), np.int64)
    mesh = np.ix_(*(np.asarray(axis, np.int64) for axis in places or map(range, shape)))
    for points, snake, place in zip(shape, snaking, mesh, strict=True):
        # `number` counts the passes of this axis so far, so an odd one is a second pass.
        backwards = snake & (number % 2 == 1)
        number = number * points + np.where(backwards, points - 1 - place, place)
    return number


def passes(shape: Sequence[int], axis: int, visit: Array) -> tuple[Array, Array]:
    """Number the passes of an axis, and the steps within each, in which visits of a grid fall, both from 0.

    Examples
    --------
    >>> passes((2, 3), 1, np.array([0, 2, 3, 5]))
    (array([0, 0, 1, 1]), array([0, 2, 0, 2]))
    """
    steps = visit // math.prod(shape[axis + 1 :])
    return steps // shape[axis], steps % shape[axis]


@dataclass(frozen=True, slots=True, eq=False)
class GridOrder:
    """The row of a stream that belongs to each point of a grid.

    It is small, because every task carries it: the row of a point is computed from the shape.

    Attributes
    ----------
    shape : tuple of int
    snaking : tuple of bool
    reached : int
        How many points were visited, those included whose rows are lost.
    lost : numpy.ndarray, dtype int64
        Numbers of the visits before `reached` that have no row.
    """

    shape: tuple[int, ...]
    snaking: tuple[bool, ...]
    reached: int
    lost: Array

    @classmethod
    def of(cls, shape: Sequence[int], snaking: Sequence[bool], seq_num: Array) -> GridOrder:
        """Find the order from the seq_nums of the rows, rising, within 1 to the number of points."""
        reached = int(seq_num[-1]) if len(seq_num) else 0
        there = np.zeros(reached, np.bool_)
        there[seq_num - 1] = True
        return cls(tuple(shape), tuple(snaking), reached, np.flatnonzero(~there))

    @property
    def size(self) -> int:
        """How many points the grid has."""
        return math.prod(self.shape)

    @property
    def measured(self) -> int:
        """How many points have a row."""
        return self.reached - len(self.lost)

    @property
    def visited(self) -> Array:
        """Number of the visit of each row, from 0."""
        return np.delete(np.arange(self.reached), self.lost)

    def rows(self, places: Sequence[range | Array] | None = None) -> Array:
        """Row of each point, of the whole grid or at some places along each axis; -1 where there is none."""
        visit = visits(self.shape, self.snaking, places)
        gone = visit >= self.reached
        if not len(self.lost):
            return np.where(gone, -1, visit)
        # Rows have no gaps where visits do: each lost visit before a point brings its row one nearer.
        before = np.searchsorted(self.lost, visit)
        gone |= self.lost[np.minimum(before, len(self.lost) - 1)] == visit
        return np.where(gone, -1, visit - before)
