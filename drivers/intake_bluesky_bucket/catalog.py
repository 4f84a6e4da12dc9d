"""Runs in one folder of an object store as an Intake catalog."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from intake_bluesky.catalogs.bucket_catalog import BucketCatalog

__all__ = ["BlueskyBucketCatalog"]


class BlueskyBucketCatalog(BucketCatalog):
    """The runs in a folder of a bucket, which many may read and write without a server.

    Parameters
    ----------
    urlpath : str or Path
        ``s3://bucket/prefix``, a URL of ``gs://``, ``az://`` or any filesystem of fsspec, or a local folder.
    format : {"jsonl", "msgpack"}
        Of the runs' documents.
    storage_options, compression, flush_seconds
        As of `intake_bluesky.files.bucket.store.BucketStore`; ``storage_options`` are for files that the documents
        name, too.
    **kwargs
        Of `BlueskyCatalog`.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     cat = BlueskyBucketCatalog(folder)
    ...     with cat.writer() as write:
    ...         write("start", {"uid": "abc", "time": 1.0})
    ...         write("stop", {"uid": "def", "time": 2.0, "run_start": "abc", "exit_status": "success"})
    ...     print(list(BlueskyBucketCatalog(folder)), sorted(os.listdir(folder)))
    ...     cat.store.close()
    ['abc'] ['_index', 'abc.jsonl.zst']
    """

    name = "bluesky-bucket-catalog"
    folder_schemes = ("s3", "s3a", "gs", "gcs", "az", "abfs", "memory")
    folder_marks = ("_index",)

    def __init__(
        self,
        urlpath: str | os.PathLike[str],
        *,
        format: str = "jsonl",
        storage_options: Mapping[str, Any] | None = None,
        compression: Literal["gz", "zst"] | None = "zst",
        flush_seconds: float = 1.0,
        **kwargs: Any,
    ) -> None:
        from intake_bluesky.files.bucket.store import BucketStore  # late: Intake loads all drivers
        from intake_bluesky.files.codec import CODECS

        store = BucketStore(
            urlpath,
            CODECS[format],
            storage_options=storage_options,
            compression=compression,
            flush_seconds=flush_seconds,
        )
        super().__init__(store, storage_options=storage_options, **kwargs)
