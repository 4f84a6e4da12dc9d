"""One dataset of an open HDF5 file, and all that reading it needs: links, virtual sources and filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from intake_bluesky.assets.hdf5.filters import Deflated, check_filters, read_region
from intake_bluesky.assets.hdf5.links import VirtualSource, check_source, find_dataset, locate_source, sources_of
from intake_bluesky.assets.hdf5.open_files import OpenFile, import_h5py, open_files
from intake_bluesky.assets.hdf5.stored_ranges import pieces
from intake_bluesky.assets.region import AxisIndex, Region, Subarray
from intake_bluesky.documents.columns import TEXT, Array
from intake_bluesky.errors import AssetUnavailable, DamagedRun

__all__ = ["Dataset"]


@dataclass(slots=True, eq=False)
class Dataset:
    """A dataset of `owner`, a file that is open; `meant` is what the slice leaves of it.

    `shape` and `dtype` are those of what is meant. Where elements are arrays, the shape ends with `inner`, that of one.
    """

    owner: OpenFile
    data: Any
    meant: Subarray
    shape: tuple[int, ...]
    inner: tuple[int, ...]
    dtype: np.dtype[Any]
    sources: tuple[VirtualSource, ...]
    squeezed: Deflated | None = None
    checked: bool = False

    @classmethod
    def find(cls, handle: OpenFile, name: str, parts: Sequence[AxisIndex] = (), *, squeeze: bool = False) -> Dataset:
        """Find a dataset, and the part of it that a slice selects.

        Raises
        ------
        OSError
            When it is not there, or a file that it is in.
        IndexError
            When the slice does not fit.
        UntrustedName
            When it is in a file that may not be named.
        """
        owner, data = find_dataset(handle, name)
        if owner.file.swmr_mode:
            # A reader in SWMR mode sees the length of a dataset as it was when it looked last.
            data.id.refresh()
        meant = Subarray.of_slice(parts, data.shape, squeeze=squeeze)
        # h5py reads text as bytes; here text of files is text, as text of events is.
        text = import_h5py().check_string_dtype(data.dtype) is not None
        if import_h5py().check_ref_dtype(data.dtype) is not None:
            raise AssetUnavailable(f"{name!r} of {handle.location.path} holds references into its file, and no values")
        inner, dtype = data.dtype.shape, TEXT if text else data.dtype.base
        return cls(owner, data, meant, meant.shape + inner, inner, dtype, sources_of(owner, data))

    @property
    def chunk_frames(self) -> int:
        """Frames in one chunk."""
        axis, step = self.meant.counted
        return max(1, self.data.chunks[axis] // step) if self.data.chunks and axis >= 0 else 1

    def read_meant(self, part: Region, out: Array) -> None:
        """Read a part of what is meant, in steps of one; axes that the part lacks are whole."""
        if not self.inner:
            self.read(self.meant.region(part), out)
            return
        axes, part = len(self.meant.shape), Region((*part, *map(range, self.shape[len(part) :])))
        outer, within = Region(part[:axes]), Region(part[axes:])
        whole: Array = np.empty((*outer.shape, *self.inner), self.dtype)
        self.read(self.meant.region(outer), whole)
        out[...] = whole[(slice(None),) * axes + within.slices]

    def read(self, region: Region, out: Array) -> None:
        """Read a region of the whole dataset; `out` is C-contiguous, of as many elements as the region has."""
        wanted = region.forward
        if self.dtype == TEXT or self.inner:
            self._read_by_h5py(wanted, out)
        elif self.sources:
            self._read_sources(wanted, out)
        else:
            self._read_stored(wanted, out)
        region.flip(out)

    def _read_by_h5py(self, region: Region, out: Array) -> None:
        self._check_sources(region)
        check_filters(self.data, self.owner.location.path)
        # HDF5 knows ASCII and UTF-8, and most C writers leave their UTF-8 under the type of ASCII.
        values = self.data.asstr("utf-8", errors="strict") if self.dtype == TEXT else self.data
        try:
            out[...] = values[region.slices].reshape(out.shape)
        except UnicodeDecodeError as error:
            raise DamagedRun(
                f"{self.owner.location.path} has text in {self.data.name} that is no UTF-8: {error.object!r}"
            ) from error

    def _read_stored(self, region: Region, out: Array) -> None:
        # Once a session, not once a read: the list of filters costs about as much as a small read.
        if not self.checked:
            check_filters(self.data, self.owner.location.path)
            self.squeezed = Deflated.of(self.data)
            self.checked = True
        remote = self.owner.remote
        if remote is None:
            self._decode(region, out)
            return
        target, done = out.reshape(region.shape), 0
        for part in remote.fetch_ahead(pieces(remote, self.data, region)):
            self._decode(part, target[done : done + len(part[0])])
            done += len(part[0])

    def _decode(self, region: Region, out: Array) -> None:
        # Our own decompression copies bytes: no conversion of dtypes, and no steps.
        if self.squeezed is not None and out.dtype == self.dtype and {r.step for r in region} == {1}:
            self.squeezed.read(region, out)
        else:
            read_region(self.data, region, out)

    def _read_sources(self, region: Region, out: Array) -> None:
        """Read each source on its own; HDF5 would keep all of them open, and fill in for those it does not find."""
        wanted = [source for source in self.sources if source.overlaps(region)]
        # What the simple way cannot cut is left to HDF5, after a look that every source is there and may be read.
        if {r.step for r in region} != {1} or not all(source.simple for source in wanted):
            self._check_sources(region)
            read_region(self.data, region, out)
            return
        target = out.reshape(region.shape)
        # Between the sources HDF5 has the fill value, so that is what a virtual dataset means there.
        target[...] = self.data.fillvalue
        for source in wanted:
            self._read_source(source, region, target)

    def _check_sources(self, region: Region) -> None:
        for source in self.sources:
            if source.overlaps(region) and source not in self.owner.kept:
                check_source(self.owner, source)
                self.owner.kept[source] = True

    def lost_sources(self, region: Region) -> Iterator[str]:
        """Paths of the files that are not there, of those that a region of a virtual dataset is taken from."""
        for source in self.sources:
            if not source.overlaps(region) or "%" in source.file + source.dataset:
                continue
            try:
                with open_files.lend(locate_source(self.owner, source)) as handle:
                    find_dataset(handle, source.dataset)
            except FileNotFoundError as error:
                yield str(error.filename or source.file)

    def _read_source(self, source: VirtualSource, region: Region, target: Array) -> None:
        location = locate_source(self.owner, source)
        with open_files.lend(location, swmr=bool(self.owner.file.swmr_mode), recent=True) as handle:
            found = Dataset.find(handle, source.dataset)
            part, place = source.part(region, found.data.shape)
            taken: Array = np.empty(part.shape, target.dtype)
            found.read(part, taken)
        target[place.slices] = taken.reshape(place.shape)
