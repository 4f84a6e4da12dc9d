"""What the tests of external arrays share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.assets.by_hand import frames, write


@pytest.fixture
def one_file(tmp_path: Path) -> Path:
    """Ten frames of 4 x 6 uint16."""
    return write(tmp_path / "one.h5", frames(10))
