"""Opening netCDF files and Zarr hierarchies as Datasets, of which nothing is read but what is the same for all."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from intake_bluesky.assets.location import Location
from intake_bluesky.errors import DamagedRun
from intake_bluesky.runtime.optional import optional_import
from intake_bluesky.runtime.secrets import shown

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["OpenOutput", "hierarchy_attributes", "netcdf_attributes", "open_hierarchy", "open_netcdf"]

HDF5: Final = b"\x89HDF\r\n\x1a\n"
CLASSIC: Final = b"CDF"
PRIMARY: Final = "primary"
"""The stream of what is at the root of a file."""


class OpenOutput:
    """Datasets by stream, and what they are read from.

    Parameters
    ----------
    path : str
        Of the output, for messages.
    groups : mapping of path to Dataset
        As `xarray.open_groups` gives them.
    file : object
        What is closed in the end.
    """

    def __init__(self, path: str, groups: Mapping[str, xr.Dataset], file: Any) -> None:
        self._groups, self._file = groups, file
        self.datasets: dict[str, xr.Dataset] = {}
        for name, dataset in groups.items():
            # Variables make a stream: a group that only holds others is none.
            if not dataset.variables and (name != "/" or len(groups) > 1):
                continue
            stream = name.strip("/").replace("/", "_") or PRIMARY
            if stream in self.datasets:
                self.close()
                raise DamagedRun(f"two groups of {shown(path)} would be the stream {stream!r}: rename {name}")
            self.datasets[stream] = dataset

    def close(self) -> None:
        """Let go of the file: Datasets first, which read from it."""
        for dataset in self._groups.values():
            dataset.close()
        self._file.close()


@contextmanager
def _netcdf(location: Location) -> Iterator[Any]:
    """A file of Python that is netCDF 4, closed when something fails.

    HDF5 neither locks it, as it does those that it opens by their names, nor refuses this process to write it anew.
    """
    optional_import("h5netcdf", extra="simulation", purpose="to read netCDF files")
    remote = None if location.is_local else location.open_remote(location.info(recent=True), exact=True)
    file: Any = location.open() if remote is None else remote
    with ExitStack() as failing:
        failing.callback(file.close)
        first = file.read(min(len(HDF5), _size(file)))
        file.seek(0)
        if first != HDF5:
            raise DamagedRun(f"{shown(location.path)} {_what_it_is(first)}")
        yield file
        failing.pop_all()


def open_netcdf(location: Location) -> OpenOutput:
    """Open a netCDF 4 file.

    Raises
    ------
    DamagedRun
        When it is none, or one that takes values from other files.
    """
    import xarray as xr

    with _netcdf(location) as file:
        _check(file, location)
        # Dimensions without names are then called as by the library of netCDF.
        found = xr.open_groups(file, engine="h5netcdf", cache=False, phony_dims="sort")
    return OpenOutput(location.path, found, file)


def netcdf_attributes(location: Location) -> dict[str, Any]:
    """The attributes at the root of a netCDF 4 file, without those that its library keeps for itself."""
    with _netcdf(location) as file:
        import h5py  # after the check that there is one

        with h5py.File(file, "r") as content:
            found = {name: value for name, value in content.attrs.items() if not name.startswith("_NC")}
    file.close()
    return found


def _size(file: Any) -> int:
    size: int = file.seek(0, 2)
    file.seek(0)
    return size


def _check(file: Any, location: Location) -> None:
    """Refuse what leads to other files: nobody compares their versions, and HDF5 fills in for those that are gone."""
    import h5py

    from intake_bluesky.assets.hdf5.filters import check_filters
    from intake_bluesky.assets.hdf5.linked_files import names_of_others

    def needs(_: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            check_filters(node, location.path)

    with h5py.File(file, "r") as content:
        for name, _ in names_of_others(content):
            raise DamagedRun(
                f"{shown(location.path)} takes values from another file, {name!r}, and is not read as one output: "
                "write all values into one file, as xarray's to_netcdf does"
            )
        content.visititems(needs)


def _what_it_is(first: bytes) -> str:
    if first.startswith(CLASSIC):
        return (
            "is netCDF of the classic format, which cannot be read in parts by all libraries: give it as source: "
            "{driver: netcdf, args: {urlpath: ...}}, by the package intake-xarray, or convert it: nccopy -k nc4"
        )
    return "is neither netCDF 4 (HDF5) nor a Zarr hierarchy: name a .zarr folder or zip file, or give another pattern"


@contextmanager
def _hierarchy(location: Location) -> Iterator[tuple[Any, Any]]:
    """Zarr's store, and the group at its root, closed when something fails."""
    zarr = optional_import("zarr", extra="zarr", purpose="to read Zarr hierarchies")

    from intake_bluesky.assets.zarr_arrays import zarr_store  # late: it imports zarr

    store = zarr_store(location)
    with ExitStack() as failing:
        failing.callback(store.close)
        yield store, zarr.open_group(store, mode="r")
        failing.pop_all()


def open_hierarchy(location: Location) -> OpenOutput:
    """Open a Zarr hierarchy, in a folder or in a zip file.

    Raises
    ------
    AssetUnavailable
        When it has values that run code as they are read.
    """
    import xarray as xr

    with _hierarchy(location) as (store, root), warnings.catch_warnings():
        from intake_bluesky.assets.zarr_arrays import refuse_pickles

        # Before xarray reads the values of dimensions.
        for _, node in root.members(max_depth=None):
            if hasattr(node, "compressors"):  # an array
                refuse_pickles(node, location)
        # Format 2 without consolidated metadata is read all the same.
        warnings.filterwarnings("ignore", "Failed to open Zarr store with consolidated metadata", RuntimeWarning)
        found = xr.open_groups(store, engine="zarr", chunks=None, cache=False)
    return OpenOutput(location.path, found, store)


def hierarchy_attributes(location: Location) -> dict[str, Any]:
    """The attributes at the root of a Zarr hierarchy."""
    with _hierarchy(location) as (store, root):
        found: dict[str, Any] = root.attrs.asdict()
    store.close()
    return found
