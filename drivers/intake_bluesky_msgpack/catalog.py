"""Runs in MessagePack files as an Intake catalog."""

from __future__ import annotations

from intake_bluesky.catalogs.file_catalog import FileCatalog
from intake_bluesky_msgpack.store import MsgpackStore

__all__ = ["BlueskyMsgpackCatalog"]


class BlueskyMsgpackCatalog(FileCatalog):
    """The runs in ``.msgpack`` files; arguments are those of `FileCatalog`."""

    name = "bluesky-msgpack-catalog"
    store_class = MsgpackStore
