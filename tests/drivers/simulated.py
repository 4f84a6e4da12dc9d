"""Outputs of simulations for tests: powder patterns over a lattice parameter, as programs of simulations write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from intake.source.base import DataSource

__all__ = ["LATTICE", "Computed", "bytes_read", "pattern", "sweep", "write"]

LATTICE = (5.42, 5.43, 5.44)


def pattern(a: float, points: int = 40, **attrs: Any) -> xr.Dataset:
    """One pattern: an axis, intensities, labels of peaks, and a number that is the same for all angles."""
    tth = np.linspace(4, 20, points)
    intensity = np.exp(-(((tth - 54 / a) / 1.0) ** 2)).astype(np.float32)
    labels = np.where(intensity > 0.5, "peak", "").astype(object)
    return xr.Dataset(
        {
            "I": ("tth", intensity, {"units": "counts"}),
            "label": ("tth", labels),
            "wavelength": ((), 0.7, {"units": "angstrom"}),
        },
        coords={"tth": ("tth", tth, {"units": "deg"})},
        attrs={"title": "Si", **attrs},
    )


def sweep(a: Any = LATTICE, points: int = 40) -> xr.Dataset:
    """Patterns over a lattice parameter in one Dataset, with the temperature that each is of."""
    values = np.asarray(a, np.float64)
    whole = xr.concat(
        [pattern(one, points) for one in values], "a", data_vars=["I"], coords="minimal", compat="override"
    )
    return whole.assign_coords(a=values, temperature=("a", 300 + 1000 * (values - 5.43)))


def write(dataset: xr.Dataset, path: Path, **options: Any) -> Path:
    """Write a netCDF file or a Zarr hierarchy, by xarray alone."""
    if path.suffix == ".zarr":
        dataset.to_zarr(path, zarr_format=2, mode="w", **options)
    else:
        dataset.to_netcdf(path, engine="h5netcdf", **options)
    return path


def bytes_read() -> int:
    """Bytes that this process has read from files so far, as Linux counts them."""
    told = dict(line.split(": ") for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines())
    return int(told["rchar"])


class Computed(DataSource):  # type: ignore[misc]  # Intake has no types
    """A source whose Dataset is in no file."""

    container = "xarray"
    name = "computed"

    def __init__(self, number: int, metadata: Any = None) -> None:
        super().__init__(metadata=metadata)
        self._number = number

    def to_dask(self) -> xr.Dataset:
        values = np.arange(float(self._number))
        return xr.Dataset({"I": (("a", "q"), np.stack([values, values], 1))}, {"a": values}).chunk()
