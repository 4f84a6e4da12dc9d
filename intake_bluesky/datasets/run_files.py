"""The files that a run refers to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from intake_bluesky.assets import AssetFile, AssetOptions, asset_files
from intake_bluesky.assets.file_list import looked_at
from intake_bluesky.assets.reader_registry import datum_readers
from intake_bluesky.datasets.filled_documents import datums_of
from intake_bluesky.documents.model import RunHeader
from intake_bluesky.storage.contract import RunStore


def run_files(store: RunStore, header: RunHeader, options: AssetOptions) -> list[AssetFile]:
    """The files of all resources and stream resources."""
    found = {file.path: file for one in header.resources for file in resource_files(store, header.uid, one, options)}
    for asset in header.stream_assets:
        found |= {file.path: file for file in asset_files(asset.resource, options)}
    return list(found.values())


def resource_files(store: RunStore, uid: str, resource: Mapping[str, Any], options: AssetOptions) -> list[AssetFile]:
    """The files of a legacy resource; some handlers list them only with its datums."""
    listed = asset_files(resource, options)
    if any(file.exists for file in listed):
        return listed
    datums = datums_of(store, uid, [str(resource["uid"])])
    readers, _, _ = datum_readers(resource, [kwargs for _, kwargs in datums.values()], {}, options)
    places = {file.path: file for reader in readers for file in reader.files()}
    return list(map(looked_at, places.values())) or listed
