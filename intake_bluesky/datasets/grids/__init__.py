"""Gridded scans: the events of a stream, stored one after the other, in the shape of the grid they were taken on.

`scanned` finds the `Grid` in a run's start document, or takes it from its arguments; `gridded` folds a stream's lazy
Dataset into that shape.
"""

from __future__ import annotations

from intake_bluesky.datasets.grids.fold import gridded
from intake_bluesky.datasets.grids.positions import position_key
from intake_bluesky.datasets.grids.scanned import Grid, scanned

__all__ = ["Grid", "gridded", "position_key", "scanned"]
