"""The catalogs installed on this machine, as one mapping: packages', databroker's and Intake's."""

from __future__ import annotations

from intake_bluesky.catalogs.mapping import InstalledCatalogs
from intake_bluesky.catalogs.offered import Offered
from intake_bluesky.catalogs.places import Place, search_path

__all__ = ["InstalledCatalogs", "Offered", "Place", "catalog", "search_path"]

catalog = InstalledCatalogs()
"""What this machine offers; ``intake_bluesky.catalog``."""
