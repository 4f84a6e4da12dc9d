"""Runs in MessagePack files as an Intake catalog: the driver ``bluesky-msgpack-catalog``.

Each name is imported when it is first used: processes that scan files use the codec alone, which needs no xarray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from intake_bluesky.late_names import late_names

if TYPE_CHECKING:
    from intake_bluesky_msgpack.catalog import BlueskyMsgpackCatalog
    from intake_bluesky_msgpack.codec import MsgpackCodec
    from intake_bluesky_msgpack.store import MsgpackStore

__all__ = ["BlueskyMsgpackCatalog", "MsgpackCodec", "MsgpackStore"]

__getattr__ = late_names(
    __name__,
    {
        "BlueskyMsgpackCatalog": "intake_bluesky_msgpack.catalog",
        "MsgpackCodec": "intake_bluesky_msgpack.codec",
        "MsgpackStore": "intake_bluesky_msgpack.store",
    },
)
