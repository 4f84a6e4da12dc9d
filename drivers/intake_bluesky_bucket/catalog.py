"""Runs in one folder of an object store as an Intake catalog."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from intake_bluesky import BlueskyCatalog
from intake_bluesky.errors import UntrustedName
from intake_bluesky.runtime.secrets import without_secrets
from intake_bluesky.runtime.trust import check_remote, origin_of, without_credentials

if TYPE_CHECKING:
    from intake_bluesky.storage.contract import RunStore

__all__ = ["BlueskyBucketCatalog"]


class BlueskyBucketCatalog(BlueskyCatalog):
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
    WITHOUT_SECRETS = {**BlueskyCatalog.WITHOUT_SECRETS, "urlpath": without_secrets}
    _forgotten = BlueskyCatalog._forgotten - {"_secrets"}  # those of the store, by which workers read its objects

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
        self._servers = () if store.files.location.is_local else (origin_of(store.urlpath),)
        super().__init__(store, storage_options=storage_options, **kwargs)

    @property
    def store(self) -> RunStore:
        """The driver's store: all runs, without transforms."""
        if self._checked_store is None and "://" in (location := super().store.files.location).pattern:  # type: ignore[attr-defined]  # ours
            location.check_installed()
        return super().store

    @classmethod
    def from_elsewhere(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """A bucket alone, read without this user's credentials."""
        url = arguments.get("urlpath")
        if url is None:
            if arguments.get("storage_options"):
                raise UntrustedName(
                    "a catalog from elsewhere gives storage_options, which are for its own urlpath: pass "
                    "storage_options, too, with the urlpath that you pass ({} for none)"
                )
            return arguments
        place = check_remote(os.fspath(url), "its urlpath")
        return {**arguments, "storage_options": without_credentials(place, arguments.get("storage_options"))}
