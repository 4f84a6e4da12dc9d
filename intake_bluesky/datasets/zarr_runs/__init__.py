"""Runs as Zarr hierarchies that xarray reads by itself: written from any store, and read back as lazy arrays."""
