"""Runs in JSONL files as an Intake catalog: the driver ``bluesky-jsonl-catalog``.

Each name is imported when it is first used: processes that scan files use the codec alone, which needs no xarray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from intake_bluesky.late_names import late_names

if TYPE_CHECKING:
    from intake_bluesky_jsonl.catalog import BlueskyJSONLCatalog
    from intake_bluesky_jsonl.codec import JSONLCodec
    from intake_bluesky_jsonl.store import JSONLStore

__all__ = ["BlueskyJSONLCatalog", "JSONLCodec", "JSONLStore"]

__getattr__ = late_names(
    __name__,
    {
        "BlueskyJSONLCatalog": "intake_bluesky_jsonl.catalog",
        "JSONLCodec": "intake_bluesky_jsonl.codec",
        "JSONLStore": "intake_bluesky_jsonl.store",
    },
)
