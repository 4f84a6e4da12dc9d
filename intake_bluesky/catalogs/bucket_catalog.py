"""The catalog of a folder in an object store: what drivers for it share."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import UntrustedName
from intake_bluesky.runtime.secrets import without_secrets
from intake_bluesky.runtime.trust import check_remote, origin_of, without_credentials

if TYPE_CHECKING:
    from intake_bluesky.files.bucket.store import BucketStore
    from intake_bluesky.storage.contract import RunStore

__all__ = ["BucketCatalog"]


class BucketCatalog(BlueskyCatalog):
    """The runs of a `BucketStore`; drivers make it of a YAML file's arguments.

    Parameters
    ----------
    store : BucketStore
    storage_options : mapping, optional
        For files that the documents name.
    **kwargs
        Of `BlueskyCatalog`.
    """

    WITHOUT_SECRETS = {**BlueskyCatalog.WITHOUT_SECRETS, "urlpath": without_secrets}
    _forgotten = BlueskyCatalog._forgotten - {"_secrets"}  # those of the store, by which workers read its objects

    def __init__(self, store: BucketStore, *, storage_options: Mapping[str, Any] | None, **kwargs: Any) -> None:
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
