"""Runs in MessagePack files as an Intake catalog."""

from __future__ import annotations

from intake_bluesky.catalogs.file_catalog import FileCatalog
from intake_bluesky_msgpack.store import MsgpackStore

__all__ = ["BlueskyMsgpackCatalog"]


class BlueskyMsgpackCatalog(FileCatalog):
    """The runs in ``.msgpack`` files; every other argument is one of `BlueskyCatalog`.

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

    name = "bluesky-msgpack-catalog"
    store_class = MsgpackStore
