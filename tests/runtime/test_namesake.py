"""The prototype of 2019 that is imported by the same name."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from intake_bluesky.runtime.namesake import warn_of_namesake


def test_told_where_it_is_installed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings(action="error"):
        warn_of_namesake()
    (tmp_path / "intake_bluesky-0.1.0a10.dist-info").mkdir()
    metadata = tmp_path / "intake_bluesky-0.1.0a10.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: intake-bluesky\nVersion: 0.1.0a10\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(UserWarning, match="0.1.0a10 is installed here, too.*pip uninstall intake-bluesky"):
        warn_of_namesake()
