"""Outputs of simulations as runs: ``bluesky-simulation-catalog``."""

from __future__ import annotations

from intake_bluesky_simulation.catalog import BlueskySimulationCatalog

__all__ = ["BlueskySimulationCatalog"]
