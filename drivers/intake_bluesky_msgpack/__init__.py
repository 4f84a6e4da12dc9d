"""Runs in MessagePack files as an Intake catalog: the driver ``bluesky-msgpack-catalog``.

The catalog, which needs xarray, is imported when it is first used: processes that scan files use the codec alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from intake_bluesky_msgpack.codec import MsgpackCodec
from intake_bluesky_msgpack.store import MsgpackStore

if TYPE_CHECKING:
    from intake_bluesky_msgpack.catalog import BlueskyMsgpackCatalog

__all__ = ["BlueskyMsgpackCatalog", "MsgpackCodec", "MsgpackStore"]


def __getattr__(name: str) -> object:
    if name != "BlueskyMsgpackCatalog":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from intake_bluesky_msgpack.catalog import BlueskyMsgpackCatalog

    return BlueskyMsgpackCatalog
