"""What the tests of external arrays share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # for tests.assets.by_hand, however pytest was started

from tests.assets.by_hand import frames, write


@pytest.fixture
def one_file(tmp_path: Path) -> Path:
    """Ten frames of 4 x 6 uint16."""
    return write(tmp_path / "one.h5", frames(10))
