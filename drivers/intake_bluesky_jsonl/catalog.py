"""Runs in JSONL files as an Intake catalog."""

from __future__ import annotations

from intake_bluesky.catalogs.file_catalog import FileCatalog
from intake_bluesky_jsonl.store import JSONLStore

__all__ = ["BlueskyJSONLCatalog"]


class BlueskyJSONLCatalog(FileCatalog):
    """The runs in ``.jsonl`` files; every other argument is one of `BlueskyCatalog`.

    Parameters
    ----------
    paths : str, Path or list of them
        Folders, files, patterns, URLs: see `FileStore`. Relative ones are relative to the working directory;
        YAML files write ``{{ CATALOG_DIR }}`` for their own.
    storage_options : mapping, optional
        Passed on to fsspec.
    directory : str or Path, optional
        Where new runs are written, by default the first local folder of `paths`.
    compression : {None, "gz", "zst"}
        Of new files.
    """

    name = "bluesky-jsonl-catalog"
    store_class = JSONLStore
