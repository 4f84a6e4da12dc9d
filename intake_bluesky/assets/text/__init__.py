"""Detectors' values in CSV files."""
