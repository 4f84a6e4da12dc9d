"""Runs in JSONL files as an Intake catalog: the driver ``bluesky-jsonl-catalog``.

The catalog, which needs xarray, is imported when it is first used: processes that scan files use the codec alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from intake_bluesky_jsonl.codec import JSONLCodec
from intake_bluesky_jsonl.store import JSONLStore

if TYPE_CHECKING:
    from intake_bluesky_jsonl.catalog import BlueskyJSONLCatalog

__all__ = ["BlueskyJSONLCatalog", "JSONLCodec", "JSONLStore"]


def __getattr__(name: str) -> object:
    if name != "BlueskyJSONLCatalog":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from intake_bluesky_jsonl.catalog import BlueskyJSONLCatalog

    return BlueskyJSONLCatalog
