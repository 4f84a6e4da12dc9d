"""Several catalogs of runs as one: the driver ``bluesky-federated-catalog``."""

from __future__ import annotations

from intake_bluesky.catalogs.federated.catalog import BlueskyFederatedCatalog

__all__ = ["BlueskyFederatedCatalog"]
