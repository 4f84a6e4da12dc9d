"""Detectors' arrays in HDF5 files."""
