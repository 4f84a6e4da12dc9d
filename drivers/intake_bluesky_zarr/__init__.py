"""Runs in one folder of an object store, their arrays as Zarr beside the documents: ``bluesky-zarr-catalog``."""

from __future__ import annotations

from intake_bluesky_zarr.catalog import BlueskyZarrCatalog

__all__ = ["BlueskyZarrCatalog"]
