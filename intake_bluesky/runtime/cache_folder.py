"""The folder of this user for what can be made again: indexes, statistics, parts of files."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """What ``INTAKE_BLUESKY_CACHE`` names, else the user's cache folder. It need not exist."""
    folder = os.environ.get("INTAKE_BLUESKY_CACHE")
    if not folder:
        import platformdirs

        folder = platformdirs.user_cache_dir("intake-bluesky", appauthor=False)
    return Path(folder)
