"""The streams of a run as xarray Datasets."""
