"""Cells of tables."""

from __future__ import annotations

from typing import Any

from intake_bluesky.datasets.table_cells import cells
from intake_bluesky.documents.columns.arrays import objects


def test_values_nested_past_what_python_follows_stay_as_they_are() -> None:
    deep: Any = 1
    for _ in range(2000):
        deep = [deep]
    found = cells(objects([deep, (1, 2)]))
    assert found[0] is deep
    assert found[1] == [1, 2]
