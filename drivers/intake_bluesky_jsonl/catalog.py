"""Runs in JSONL files as an Intake catalog."""

from __future__ import annotations

from intake_bluesky.catalogs.file_catalog import FileCatalog
from intake_bluesky_jsonl.store import JSONLStore

__all__ = ["BlueskyJSONLCatalog"]


class BlueskyJSONLCatalog(FileCatalog):
    """The runs in ``.jsonl`` files; arguments are those of `FileCatalog`."""

    name = "bluesky-jsonl-catalog"
    store_class = JSONLStore
