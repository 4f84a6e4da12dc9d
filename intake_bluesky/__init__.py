"""Bluesky runs as Intake catalogs."""
