"""What tests of copying share: an index cache of their own, and runs in catalogs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from intake_bluesky import BlueskyCatalog
from intake_bluesky.testing.examples import Run


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))


def put(catalog: BlueskyCatalog, runs: Iterable[Run]) -> None:
    """Write runs, as far as they go."""
    for run in runs:
        with catalog.store.insert(run[0][1]) as insert:
            for pair in run[1:]:
                insert.write(*pair)
    catalog.refresh()
