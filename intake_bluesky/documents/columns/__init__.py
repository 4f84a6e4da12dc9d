"""In-line data as columns: lists of event values to numpy arrays, and what was observed of them.

numpy casts silently (``[1, 2.5]`` asked as int, ``[1, None]`` asked as bool, ``["a", 1]`` to text). Nothing
here does: a column is made from what its values are, `Observed` remembers that over all pages of a stream,
and `conform` brings one page's column to the dtype and shape of the whole stream or says why it cannot.
"""

from __future__ import annotations

from intake_bluesky.documents.columns.arrays import (
    NUMBERS,
    OBJECT,
    TEXT,
    Array,
    Column,
    Ragged,
    all_missing,
    missing,
    take,
)
from intake_bluesky.documents.columns.conform import conform
from intake_bluesky.documents.columns.make import column
from intake_bluesky.documents.columns.observed import Observed, add_observed, merge_observed, observe

__all__ = [
    "NUMBERS",
    "OBJECT",
    "TEXT",
    "Array",
    "Column",
    "Observed",
    "Ragged",
    "add_observed",
    "all_missing",
    "column",
    "conform",
    "merge_observed",
    "missing",
    "observe",
    "take",
]
