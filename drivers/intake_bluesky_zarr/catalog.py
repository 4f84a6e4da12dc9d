"""Runs in one folder of an object store, documents and arrays, as an Intake catalog."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from intake_bluesky.catalogs.bucket_catalog import BucketCatalog
from intake_bluesky.runtime.optional import optional_import

if TYPE_CHECKING:
    from intake_bluesky.storage.contract import RunStore

__all__ = ["BlueskyZarrCatalog"]


class BlueskyZarrCatalog(BucketCatalog):
    """The runs in a folder of a bucket, each a Zarr hierarchy that xarray alone reads, its documents exactly beside it.

    Parameters
    ----------
    urlpath : str or Path
        ``s3://bucket/prefix``, a URL of ``gs://``, ``az://`` or any filesystem of fsspec, or a local folder.
    arrays : {"auto", "always", "never"}
        Which runs get a hierarchy when they stop: of ``"auto"`` those with arrays in files of detectors, and those
        whose documents take more than 256 KiB, compressed.
    format : {"jsonl", "msgpack"}
        Of the runs' documents.
    storage_options, compression, flush_seconds
        As of `intake_bluesky.files.bucket.store.BucketStore`; ``storage_options`` are for files that the documents
        name, too.
    **kwargs
        Of `BlueskyCatalog`; by ``root_map``, ``handler_registry`` and others files are found for the hierarchies, too.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from intake_bluesky.testing import EXAMPLES
    >>> with TemporaryDirectory() as folder:
    ...     cat = BlueskyZarrCatalog(folder, arrays="always")
    ...     with cat.writer() as write:
    ...         for pair in EXAMPLES["scan"](None):
    ...             write(*pair)
    ...     print(sorted(name.partition(".")[2] for name in os.listdir(folder)))
    ...     cat.store.close()
    ['', 'jsonl.zst', 'zarr.zip']
    """

    name = "bluesky-zarr-catalog"

    def __init__(
        self,
        urlpath: str | os.PathLike[str],
        *,
        arrays: Literal["auto", "always", "never"] = "auto",
        format: str = "jsonl",
        storage_options: Mapping[str, Any] | None = None,
        compression: Literal["gz", "zst"] | None = "zst",
        flush_seconds: float = 1.0,
        **kwargs: Any,
    ) -> None:
        from intake_bluesky.files.codec import CODECS  # late: Intake loads all drivers
        from intake_bluesky_zarr.store import ZarrStore

        store = ZarrStore(
            urlpath,
            CODECS[format],
            arrays=arrays,
            storage_options=storage_options,
            compression=compression,
            flush_seconds=flush_seconds,
        )
        super().__init__(store, storage_options=storage_options, **kwargs)

    @property
    def store(self) -> RunStore:
        """The driver's store: all runs, without transforms."""
        if self._checked_store is None:
            optional_import("zarr", extra="zarr", purpose="to keep runs as Zarr")
        found = super().store
        found.assets = self._assets  # type: ignore[attr-defined]  # ours; asked when a hierarchy is written
        return found
