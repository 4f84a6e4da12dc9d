"""Runs in JSONL files as an Intake catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intake_bluesky.catalogs.file_catalog import FileCatalog

if TYPE_CHECKING:
    from intake_bluesky.files.store import FileStore

__all__ = ["BlueskyJSONLCatalog"]


class BlueskyJSONLCatalog(FileCatalog):
    """The runs in ``.jsonl`` files, and in ``.ndjson`` and ``.json``; arguments are those of `FileCatalog`."""

    name = "bluesky-jsonl-catalog"
    suffixes = (".jsonl", ".ndjson", ".json")

    @staticmethod
    def store_class() -> type[FileStore]:
        """The class of the store, imported when the first catalog is made."""
        from intake_bluesky_jsonl.store import JSONLStore

        return JSONLStore
