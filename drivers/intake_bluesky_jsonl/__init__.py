"""Runs in JSONL files as an Intake catalog: the driver ``bluesky-jsonl-catalog``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from intake_bluesky.runs import BlueskyCatalog
from intake_bluesky_jsonl.codec import JSONLCodec
from intake_bluesky_jsonl.store import JSONLStore

__all__ = ["BlueskyJSONLCatalog", "JSONLCodec", "JSONLStore"]

REMOTE_TTL: Final = 10.0  # seconds between listings of a bucket, each of which is a request for every 1000 files


class BlueskyJSONLCatalog(BlueskyCatalog):
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

    def __init__(
        self,
        paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        storage_options: Mapping[str, Any] | None = None,
        directory: str | os.PathLike[str] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> None:
        store = JSONLStore(paths, storage_options=storage_options, directory=directory, compression=compression)
        if store.remote:
            kwargs.setdefault("ttl", REMOTE_TTL)
        super().__init__(store, storage_options=storage_options, **kwargs)
