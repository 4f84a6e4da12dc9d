"""What this user may write, asked without writing anything."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["why_not_writable"]


def why_not_writable(path: Path) -> str:
    """Why this user may not write a file, or make it and the folders it is to be in; ``""`` where nothing is known.

    The system is asked, so that a file system that is mounted for reading only counts, for root as well.

    Examples
    --------
    >>> why_not_writable(Path("/dev/null/runs/a.jsonl"))
    '/dev/null is no folder'
    """
    folder = next(place for place in (*path.parents, Path(path.anchor)) if os.path.exists(place))
    if not os.path.isdir(folder):
        return f"{folder} is no folder"
    effective = os.access in os.supports_effective_ids
    there = [(path, os.W_OK)] if os.path.exists(path) else []
    for one, mode in (*there, (folder, os.W_OK | os.X_OK)):
        if not os.access(one, mode, effective_ids=effective):
            return f"this user may not write {one}"
    return ""
