"""All example runs: `EXAMPLES`, and their subsets for netCDF and Zarr and for schemas.

>>> from pathlib import Path
>>> [name for name, _ in EXAMPLES["rewound"](Path("unused"))].count("event")
7
"""

from __future__ import annotations

from typing import Final

from intake_bluesky.testing import asset_runs, odd_runs, plain_runs
from intake_bluesky.testing.examples import EXAMPLES, INVALID, UNPORTABLE, Run

__all__ = ["EXAMPLES", "INVALID", "PORTABLE", "VALID", "Run", "asset_runs", "odd_runs", "plain_runs"]

PORTABLE: Final = frozenset(EXAMPLES) - UNPORTABLE
"""Examples whose Datasets have no object columns: they go to netCDF and Zarr as they are."""

VALID: Final = frozenset(EXAMPLES) - INVALID
"""Examples that event-model's schemas accept."""
