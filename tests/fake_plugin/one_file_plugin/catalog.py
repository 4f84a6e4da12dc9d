"""The catalog class that Intake opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from intake_bluesky import BlueskyCatalog
from one_file_plugin.store import OneFileStore


class OneFileCatalog(BlueskyCatalog):
    """A catalog of the runs in one file."""

    name = "bluesky-one-file-catalog"
    suffixes = (".runs",)

    def __init__(self, path: str | Path, **kwargs: Any) -> None:
        super().__init__(OneFileStore(path), **kwargs)
