"""Arrays in detectors' files: from resources and datums to arrays, read by dask tasks or straight into memory.

A reader (`AssetReader`) reads flat frames of one resource; `AssetArray` maps each row of a Dataset to an event
of a resource, and reads rows in blocks. Other packages register readers of further formats in the entry point group
``intake_bluesky.assets``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from intake_bluesky.assets.options import AssetOptions
from intake_bluesky.late_names import late_names

if TYPE_CHECKING:
    from intake_bluesky.assets.array import AssetArray
    from intake_bluesky.assets.build import datum_array, stream_asset_array
    from intake_bluesky.assets.file_list import AssetFile, asset_files
    from intake_bluesky.assets.handlers import discover_handlers
    from intake_bluesky.assets.location import Location, locate
    from intake_bluesky.assets.reader import AssetReader, FrameStructure

__all__ = [
    "AssetArray",
    "AssetFile",
    "AssetOptions",
    "AssetReader",
    "FrameStructure",
    "Location",
    "asset_files",
    "datum_array",
    "discover_handlers",
    "locate",
    "stream_asset_array",
]

# A catalog has `AssetOptions`; the rest is for whoever reads an array.
__getattr__ = late_names(
    __name__,
    {
        "AssetArray": "intake_bluesky.assets.array",
        "AssetFile": "intake_bluesky.assets.file_list",
        "AssetReader": "intake_bluesky.assets.reader",
        "FrameStructure": "intake_bluesky.assets.reader",
        "Location": "intake_bluesky.assets.location",
        "asset_files": "intake_bluesky.assets.file_list",
        "datum_array": "intake_bluesky.assets.build",
        "discover_handlers": "intake_bluesky.assets.handlers",
        "locate": "intake_bluesky.assets.location",
        "stream_asset_array": "intake_bluesky.assets.build",
    },
)
