"""Runs in one folder of an object store as an Intake catalog: the driver ``bluesky-bucket-catalog``."""

from __future__ import annotations

from intake_bluesky_bucket.catalog import BlueskyBucketCatalog

__all__ = ["BlueskyBucketCatalog"]
