"""One output in a file or hierarchy: opened as Datasets, shared while it is read, and refused once it has changed."""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from intake_bluesky.assets.location import Location
from intake_bluesky.errors import DamagedRun, IntakeBlueskyError
from intake_bluesky.runtime.optional import optional_import
from intake_bluesky.runtime.processes import PerProcess
from intake_bluesky.runtime.secrets import shown
from intake_bluesky.runtime.shared import Shared

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ROOTS", "OutputFile", "forget_opened", "is_hierarchy"]

ROOTS: Final = ("zarr.json", ".zmetadata", ".zgroup")
"""Metadata at the root of a Zarr hierarchy, of format 3 and of 2; the first that is there counts."""
HDF5: Final = b"\x89HDF\r\n\x1a\n"
CLASSIC: Final = b"CDF"
KEPT: Final = 4
"""Outputs that stay open after they were read: opening one takes longer than reading a point of a sweep."""
PRIMARY: Final = "primary"
"""The stream of what is at the root of a file."""


def is_hierarchy(path: str) -> bool:
    """Whether a path is, by its name, that of a Zarr hierarchy.

    >>> is_hierarchy("s3://sims/a.zarr"), is_hierarchy("a.zarr.zip"), is_hierarchy("a.nc")
    (True, True, False)
    """
    return path.endswith((".zarr", ".zip"))


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A netCDF file or a Zarr hierarchy, on this machine or at a URL.

    Attributes
    ----------
    location : Location
    root : Location
        What changes when it is written anew: the file itself, or the metadata at the root of a hierarchy in a folder.
    """

    location: Location
    root: Location

    @property
    def path(self) -> str:
        """Path or URL."""
        return self.location.path

    def version(self) -> str:
        """What is there now, as `Location.status` tells it.

        Raises
        ------
        DamagedRun
            When it is not there, or cannot be looked at.
        """
        try:
            if self.root.is_local:
                return self.root.status()[0]
            info = self.root.info(recent=True)
            return info.tag or str(info.size)
        except (OSError, IntakeBlueskyError) as error:
            raise DamagedRun(f"{shown(self.path)} is not there any more, or cannot be looked at: {error}") from error

    def attributes(self, version: str) -> dict[str, Any]:
        """The attributes of the root; raises as `datasets` does."""
        with self.datasets(version) as datasets:
            return dict(datasets[PRIMARY].attrs) if PRIMARY in datasets else {}

    def at(
        self,
        version: str,
        stream: str,
        dataset: xr.Dataset,
        *,
        point: Mapping[Hashable, int],
        events: str | None = None,
    ) -> xr.Dataset:
        """A Dataset of this file at a point, lazily."""
        from intake_bluesky_simulation.lazy_values import lazily

        return lazily(self, version, stream, dataset, point=point, events=events)

    @contextmanager
    def datasets(self, version: str) -> Iterator[Mapping[str, xr.Dataset]]:
        """The Datasets of a version by stream, of which values are read while this lasts.

        Raises
        ------
        DamagedRun
            When it cannot be read, or is another version by the time that it was.
        """
        try:
            with _opened.lend((self, version), self._open) as opened:
                yield opened.datasets
        except IntakeBlueskyError:
            self._check(version)
            raise
        except MemoryError:
            raise
        except Exception as error:  # libraries of formats raise any type
            self._check(version)
            told = (str(error).splitlines() or [""])[0]
            raise DamagedRun(f"{shown(self.path)} cannot be read: {type(error).__name__}: {shown(told)}") from error
        # After, not before: what was read came from the version that is there now, or from one before it.
        self._check(version)

    def _check(self, version: str) -> None:
        if self.version() != version:
            raise DamagedRun(f"{shown(self.path)} was written anew since its run was opened: open the run again")

    def _open(self) -> _OpenOutput:
        return self._open_hierarchy() if is_hierarchy(self.path) else self._open_netcdf()

    def _open_netcdf(self) -> _OpenOutput:
        import xarray as xr

        optional_import("h5netcdf", extra="simulation", purpose="to read netCDF files")
        file: Any = self.location.open() if self.location.is_local else self.location.open_remote(
            self.location.info(recent=True), exact=True
        )  # fmt: skip
        with ExitStack() as failing:
            failing.callback(file.close)
            first = file.read(len(HDF5))
            file.seek(0)
            if first != HDF5:
                raise DamagedRun(f"{shown(self.path)} {_what_it_is(first)}")
            # Dimensions without names are then called as by the library of netCDF.
            found = xr.open_groups(file, engine="h5netcdf", cache=False, phony_dims="sort")
            failing.pop_all()
        return _OpenOutput(found, file)

    def _open_hierarchy(self) -> _OpenOutput:
        import xarray as xr

        from intake_bluesky.assets.zarr_arrays import zarr_store  # late: it imports zarr

        optional_import("zarr", extra="zarr", purpose="to read Zarr hierarchies")
        store = zarr_store(self.location)
        with ExitStack() as failing, warnings.catch_warnings():
            failing.callback(store.close)
            # Format 2 without consolidated metadata is read all the same.
            warnings.filterwarnings("ignore", "Failed to open Zarr store with consolidated metadata", RuntimeWarning)
            found = xr.open_groups(store, engine="zarr", chunks=None, cache=False)
            failing.pop_all()
        return _OpenOutput(found, store)


def _what_it_is(first: bytes) -> str:
    if first.startswith(CLASSIC):
        return (
            "is netCDF of the classic format, which cannot be read in parts by all libraries: give it as source: "
            "{driver: netcdf, args: {urlpath: ...}}, by the package intake-xarray, or convert it: nccopy -k nc4"
        )
    return "is neither netCDF 4 (HDF5) nor a Zarr hierarchy: name a .zarr folder or zip file, or give another pattern"


class _OpenOutput:
    """Datasets by stream, and what they are read from."""

    def __init__(self, groups: Mapping[str, xr.Dataset], file: Any) -> None:
        self._groups, self._file = groups, file
        self.datasets: dict[str, xr.Dataset] = {}
        for path, dataset in groups.items():
            # Values of variables alone make a stream: a group that only holds others is none.
            if dataset.variables or (path == "/" and len(groups) == 1):
                name = path.strip("/").replace("/", "_") or PRIMARY
                if name in self.datasets:
                    self.close()
                    raise DamagedRun(f"two groups would be the stream {name!r}: rename {path}")
                self.datasets[name] = dataset

    def close(self) -> None:
        """Let go of the file: Datasets first, which read from it."""
        for dataset in self._groups.values():
            dataset.close()
        self._file.close()


class _KeptOpen:
    """Outputs that are open: those in use, and those that were last."""

    def __init__(self) -> None:
        self._shared: Shared[_OpenOutput] = Shared(_OpenOutput.close)
        self._kept: PerProcess[OrderedDict[Hashable, ExitStack]] = PerProcess()

    @contextmanager
    def lend(self, key: tuple[OutputFile, str], make: Any) -> Iterator[_OpenOutput]:
        """Lend an open output, opened now if it is not."""
        file, version = key
        # Who reads with other credentials opens it for himself.
        known = file.path, version, repr(sorted(file.location.storage_options.items(), key=str))
        with self._shared.lend(known, make) as opened:
            self._keep(known, make)
            yield opened

    def _keep(self, known: Hashable, make: Any) -> None:
        with self._shared.lock:
            kept = self._kept.get(OrderedDict)
            if known not in kept:
                stack = ExitStack()
                stack.enter_context(self._shared.lend(known, make))
                kept[known] = stack
            kept.move_to_end(known)
            while len(kept) > KEPT:
                kept.popitem(last=False)[1].close()

    def forget(self) -> None:
        """Close all that are not in use."""
        with self._shared.lock:
            kept = self._kept.get(OrderedDict)
            while kept:
                kept.popitem()[1].close()


_opened: Final = _KeptOpen()


def forget_opened() -> None:
    """Close the outputs that were kept open for reading more of them."""
    _opened.forget()


def root_of(location: Location) -> Location:
    """What changes when an output is written anew; of a local hierarchy that is the metadata which is there."""
    path = location.path
    if not is_hierarchy(path) or path.endswith(".zip"):
        return location
    names = [f"{path}/{name}" for name in ROOTS]
    there = (name for name in names if location.is_local and os.path.exists(name))
    return location.with_path(next(there, names[0]))
