"""Datasets written into catalogs as runs."""
