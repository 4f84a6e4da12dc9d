"""One output in a file or hierarchy: opened as Datasets, shared while it is read, and refused once it has changed."""

from __future__ import annotations

import atexit
import os
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from intake_bluesky.assets.location import Location
from intake_bluesky.errors import DamagedRun, IntakeBlueskyError, MissingDependency
from intake_bluesky.runtime.processes import PerProcess
from intake_bluesky.runtime.secrets import shown
from intake_bluesky.runtime.shared import Shared
from intake_bluesky_simulation.open_output import (
    OpenOutput,
    hierarchy_attributes,
    netcdf_attributes,
    open_hierarchy,
    open_netcdf,
)

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ROOTS", "OutputFile", "forget_opened", "is_hierarchy"]

ROOTS: Final = ("zarr.json", ".zmetadata", ".zgroup")
"""Metadata at the root of a Zarr hierarchy, of format 3 and of 2; the first that is there counts."""
KEPT: Final = 4
"""Outputs that stay open after they were read: opening one takes longer than reading a point of a sweep."""


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
            # What is fetched of a file tells whether it is of one version; chunks of a hierarchy do not.
            info = self.root.info(recent=not self._is_hierarchy)
            return info.tag or str(info.size)
        except (OSError, IntakeBlueskyError) as error:
            raise DamagedRun(f"{shown(self.path)} is not there any more, or cannot be looked at: {error}") from error

    def attributes(self, version: str) -> dict[str, Any]:
        """The attributes of the root, which take a tenth of the time that Datasets do; raises as `datasets` does."""
        with self._checked(version):
            return (hierarchy_attributes if self._is_hierarchy else netcdf_attributes)(self.location)

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
        with self._checked(version), _opened.lend((self, version), self._open) as opened:
            yield opened.datasets

    @contextmanager
    def _checked(self, version: str) -> Iterator[None]:
        try:
            yield
        except (DamagedRun, MissingDependency):
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

    @property
    def _is_hierarchy(self) -> bool:
        return self.root.path != self.path or is_hierarchy(self.path)

    def _open(self) -> OpenOutput:
        return open_hierarchy(self.location) if self._is_hierarchy else open_netcdf(self.location)


def _none_kept() -> OrderedDict[Hashable, ExitStack]:
    # When Python ends, HDF5 would read from files that are gone. Registered after h5py, so that it comes before.
    atexit.register(forget_opened)
    return OrderedDict()


class _KeptOpen:
    """Outputs that are open: those in use, and those that were last."""

    def __init__(self) -> None:
        self._shared: Shared[OpenOutput] = Shared(OpenOutput.close)
        self._kept: PerProcess[OrderedDict[Hashable, ExitStack]] = PerProcess()

    @contextmanager
    def lend(self, key: tuple[OutputFile, str], make: Any) -> Iterator[OpenOutput]:
        """Lend an open output, opened now if it is not."""
        file, version = key
        # Who reads with other credentials opens it for himself.
        known = file.path, version, repr(sorted(file.location.storage_options.items(), key=str))
        with self._shared.lend(known, make) as opened:
            self._keep(known, make)
            yield opened

    def _keep(self, known: Hashable, make: Any) -> None:
        with self._shared.lock:
            kept = self._kept.get(_none_kept)
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
            kept = self._kept.get(_none_kept)
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
