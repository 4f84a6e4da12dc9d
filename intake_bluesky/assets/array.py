"""The array of one external data key: described to dask, or read straight into memory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from intake_bluesky.assets.chunking import cut_event, cut_rows, follows_file
from intake_bluesky.assets.event_layout import EventLayout, joinable
from intake_bluesky.assets.fill_events import NEVER_FILLED, fill_events
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.read_events import read_events
from intake_bluesky.assets.reader import AssetReader, UnreadableReader
from intake_bluesky.assets.region import Region, Subarray, cover, pick
from intake_bluesky.documents.columns import Array, missing
from intake_bluesky.errors import ArrayTooLarge, AssetUnavailable, IntakeBlueskyError
from intake_bluesky.runtime.secrets import shown

if TYPE_CHECKING:
    import dask.array as da
from intake_bluesky.runtime import git_lfs

__all__ = ["AssetArray"]

# Not those of `runtime.threads`: readers of sequences read the files of a block with those, and a block that holds one
# of them while it waits for another could deadlock. And these share the work from the first block on: decompressing,
# too, which is no waiting.
THREADS: Final = 4
FILL: Final = 'ask with on_missing="fill" for zeros'


@dataclass(frozen=True, slots=True, eq=False)
class AssetArray:
    """Values of one external data key for the rows of a Dataset.

    Every row is one event of one file, or none. Shape and dtype were decided from the headers of the files when the
    array was made; no values were read. Indexing reads the part wanted, and no more of the files than that takes.

    Attributes
    ----------
    key : str
    readers : tuple of AssetReader
    reader, index : numpy.ndarray, shape (rows,), dtype int64
        Number of the reader, and event in its resource, of each row; -1 where a row has none.
    layouts : tuple of EventLayout
        Of the values in each resource.
    layout : EventLayout
        Of the values in the array: as large as the largest, where resources differ.
    versions : tuple of str
        Of the files, as their headers were read.
    target_chunk : int
        Bytes.
    fill : bool
        Whether what is missing is filled, whatever the dtype.
    note : str
        Why files lack frames that the documents refer to; empty where they lack none.
    partial : tuple of int
        Rows whose file has some of their frames, the others being filled.
    """

    key: str
    readers: tuple[AssetReader, ...]
    reader: Array
    index: Array
    layouts: tuple[EventLayout, ...]
    layout: EventLayout
    versions: tuple[str, ...]
    target_chunk: int
    fill: bool = False
    note: str = ""
    partial: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<AssetArray {self.key!r} {self.dtype} {self.shape} of {len(self.readers)} resources>"

    def __reduce__(self) -> tuple[Callable[..., AssetArray], tuple[Any, ...]]:
        # Rows follow their files, so that runs of them take no more space than the documents did.
        kept = {field.name: getattr(self, field.name) for field in fields(self)}
        del kept["reader"], kept["index"]
        return _restored, (kept, *_runs(self.reader, self.index))

    @property
    def shape(self) -> tuple[int, ...]:
        """``(rows, *event shape)``, or with ``concat`` ``(rows * event shape[0], *rest)``."""
        return self.layout.shape(len(self.index))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values; that of the files where these exist."""
        return self.layout.dtype

    @property
    def on_rows(self) -> bool:
        """Whether the first axis counts rows: not so where ``concat`` joins several frames an event."""
        return self.layout.rows_per_event == 1

    @property
    def missing(self) -> Array:
        """Numbers of the rows that have no frames, or not all, dtype int64."""
        lacking = self.index < 0
        lacking[list(self.partial)] = True
        return np.flatnonzero(lacking)

    @property
    def token(self) -> str:
        """Changes with the files and with what is read of them."""
        from dask.base import tokenize

        what = [(type(r).__qualname__, r.path, str(r)) for r in self.readers]
        plan = (*_runs(self.reader, self.index), self.layouts, self.layout, self.versions, self.fill)
        return str(tokenize(self.key, what, plan, self.target_chunk))

    def files(self) -> list[Location]:
        """The files of all resources, whether they exist or not."""
        return [file for reader in self.readers for file in reader.files()]

    @property
    def chunks(self) -> tuple[tuple[int, ...], ...]:
        """Lengths of the blocks on each axis: storage chunks merged up to the target, each of one file."""
        bounds, parts = self._cuts()
        lengths = list(map(len, parts))
        rest = [(n,) for n in self.shape[1:]]
        if len(parts) == 1:
            return (tuple((np.diff(bounds) * self.layout.rows_per_event).tolist()), *rest)
        if self.layout.joined:
            # Joined events have no axis of rows: the parts of each event follow each other on the first axis.
            return (tuple(lengths * len(self.index)), *rest)
        return ((1,) * len(self.index), tuple(lengths), *rest[1:])

    def _cuts(self) -> tuple[Array, list[range]]:
        """Where the rows are cut into blocks, and into which frames each event is, if one alone is too large."""
        parts = cut_event(self.layout, self.target_chunk)
        if len(parts) > 1:
            return np.arange(len(self.index) + 1), parts
        return cut_rows(self.reader, self.index, self.layouts or (self.layout,), self.target_chunk), parts

    def dask(self) -> da.Array:
        """Describe the array to dask, a task a block; dask passes on what is sliced off before it is read."""
        import dask.array as da

        name = f"asset-{self.key}-{self.token}"
        if 0 in self.shape:
            empty: da.Array = da.from_array(np.empty(self.shape, self.dtype), chunks=-1, name=name)
            return empty
        # Without `meta` dask would index the array with empty slices to find out what it gives.
        meta: Array = np.empty((0,) * self.ndim, self.dtype)
        # `from_array`, not `map_blocks`: dask fuses slices into the index of such a task, so what is sliced off is not
        # read.
        array: da.Array = da.from_array(self, chunks=self.chunks, name=name, meta=meta)
        return array

    def read(self) -> Array:
        """Read everything into memory, without dask, a few blocks at a time.

        Returns
        -------
        numpy.ndarray, shape `shape`

        Raises
        ------
        AssetUnavailable
            When frames are missing and not to be filled.
        ArrayTooLarge
            When it is larger than memory.
        """
        self._check_lacking(self.index < 0)
        out = self._allocate((len(self.index), *self.layout.event_shape))
        bounds, parts = self._cuts()
        whole = Region.whole(self.layout.event_shape)
        jobs = (
            (np.arange(start, stop), Region((part, *whole[1:])), out[start:stop, part.start : part.stop])
            if len(parts) > 1
            else (np.arange(start, stop), whole, out[start:stop])
            for start, stop in pairwise(bounds.tolist())
            for part in parts
        )
        # Blocks are written straight into `out`, each thread to rows of its own, so nothing is joined or copied
        # afterwards.
        with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
            # The loop takes the results, which are None, so that an exception in a thread is raised here.
            for _ in pool.map(lambda job: self._read_into(*job), jobs):
                pass
        return out.reshape(self.shape)

    def __getitem__(self, key: Any) -> Array:
        """Read a part into memory.

        Parameters
        ----------
        key : int, slice, list of int, ... or a tuple of them

        Returns
        -------
        numpy.ndarray

        Raises
        ------
        AssetUnavailable
            When frames are missing and not to be filled.
        ArrayTooLarge
            When the part is larger than memory.
        """
        wanted = Subarray.of(key, self.shape)
        if 0 in wanted.shape:
            return np.empty(wanted.shape, self.dtype)
        first, *others = wanted.positions
        # Readers take steps of one alone: the least range that covers the positions is read, and `pick` takes out of
        # it.
        region = Region(map(cover, others))
        joined = self.layout.joined
        values = self._joined_rows(cover(first), region) if joined else self._rows(np.asarray(first), region)
        for axis, positions in enumerate(wanted.positions):
            # Rows were read in the order wanted; only joined events are read as a range on the first axis, too.
            if axis or joined:
                values = pick(values, axis, positions)
        return wanted.shaped(values)

    def _rows(self, rows: Array, region: Region) -> Array:
        out = self._allocate((len(rows), *region.shape))
        self._read_into(rows, region, out)
        return out

    def _allocate(self, shape: tuple[int, ...]) -> Array:
        try:
            return np.empty(shape, self.dtype)
        except MemoryError as error:
            size = math.prod(shape) * self.dtype.itemsize
            raise ArrayTooLarge(
                f"{self.key!r} takes {size / 2**30:,.0f} GiB, as {self.dtype} of shape {shape}: that does not fit into "
                "memory. to_dask() describes it, and computes what you take of it. If the shape cannot be right, see "
                "the descriptor in run.documents()"
            ) from error

    def _joined_rows(self, wanted: range, region: Region) -> Array:
        """Read positions on the first axis, where events follow each other; of one event only the frames wanted."""
        length = self.layout.rows_per_event
        rows = np.arange(wanted.start // length, -(-wanted.stop // length))
        base = int(rows[0]) * length
        alone = len(rows) == 1
        inner = range(wanted.start - base, wanted.stop - base) if alone else range(length)
        values = self._rows(rows, Region((inner, *region)))
        joined = values.reshape(-1, *values.shape[2:])
        return joined if alone else joined[wanted.start - base : wanted.stop - base]

    def _read_into(self, rows: Array, region: Region, out: Array) -> None:
        """Read a part of some rows, file by file."""
        reader, index = self.reader[rows], self.index[rows]
        lacking = index < 0
        self._check_lacking(lacking)
        if lacking.any():
            out[lacking] = missing((int(lacking.sum()), *out.shape[1:]), out.dtype)
        there = np.flatnonzero(~lacking)
        # A new group wherever the file changes, not a group a file: rows keep their order, mostly one slice of `out`.
        for own in np.split(there, np.flatnonzero(np.diff(reader[there])) + 1):
            if len(own):
                self._read_file(int(reader[own[0]]), own, index[own], region, out)

    def _read_file(self, number: int, rows: Array, events: Array, region: Region, out: Array) -> None:
        layout = self.layouts[number]
        part = self._clipped(number, region)
        # Whole rows that follow each other are read in place; the others into a buffer that is scattered afterwards.
        straight = part == region and rows[-1] - rows[0] + 1 == len(rows)
        target = out[rows[0] : rows[-1] + 1] if straight else np.empty((len(rows), *part.shape), out.dtype)
        if self.fill and target.size:
            fill_events(self.readers[number], layout, events, target, part)
        elif target.size:
            try:
                read_events(self.readers[number], layout, events, target, part)
            except NEVER_FILLED:
                raise
            except OSError as error:
                # Without the cause where that shows the password of a URL, as fsspec's errors do.
                cause = error if shown(str(error)) == str(error) else None
                raise self._unavailable(self.readers[number], error) from cause
        if straight:
            return
        if part != region:
            padded = missing((len(rows), *out.shape[1:]), out.dtype)
            padded[:, *map(slice, part.shape)] = target
            target = padded
        out[rows] = target

    def _clipped(self, number: int, region: Region) -> Region:
        """The part of a region that a file has, where the values of other files are larger."""
        own, most = self.layouts[number].event_shape, self.layout.event_shape
        path, dtype = self.readers[number].path, self.layouts[number].dtype
        if not joinable(dtype, self.dtype):
            raise AssetUnavailable(
                f"{self.key!r} has values of {dtype} in {path}, others of {self.dtype}: no array holds both. Take "
                "apart the rows, which `seq_num` tells"
            )
        if own == most:
            return region
        if len(own) != len(most):
            raise AssetUnavailable(
                f"{self.key!r} has values of shape {own} in {path}, others of {most}: no array holds both. Take apart "
                "the rows, which `seq_num` tells"
            )
        stops = [min(part.stop, length) for part, length in zip(region, own, strict=True)]
        clipped = Region(range(min(part.start, stop), stop) for part, stop in zip(region, stops, strict=True))
        # Floats have NaN for what is missing; an integer 0 would pass for a value.
        if clipped != region and not self.fill and self.dtype.kind not in "fc":
            raise AssetUnavailable(
                f"{self.key!r} has values of shape {own} in {path}, others of {most}; {self.dtype} has no value that "
                f"says what is not there: {FILL}, or take the part that all have"
            )
        return clipped

    def _check_lacking(self, lacking: Array) -> None:
        """Raise where rows have no frames, and neither their dtype nor the user has a value for those."""
        if lacking.any() and not self.fill and self.dtype.kind not in "fc":
            what = f"has no frames for {len(self.missing)} of {len(self.index)} rows"
            raise AssetUnavailable(
                f"{self.key!r} {f'{what}: {self.note}' if self.note else what}; {self.dtype} has no value that "
                f"says so: {FILL}, or trim=True for the rows that have all"
            )

    def _unavailable(self, reader: AssetReader, error: OSError) -> IntakeBlueskyError:
        if isinstance(reader, UnreadableReader):
            return AssetUnavailable(f"{self.key!r} cannot be read: {error}")
        what = "there is no such file" if isinstance(error, FileNotFoundError) else str(error)
        file = getattr(error, "filename", None) or reader.path
        if git_lfs.is_pointer_file(str(file)):
            return AssetUnavailable(f"{self.key!r} cannot be read from {shown(str(file))}: {git_lfs.ADVICE}")
        told = getattr(getattr(reader, "location", None), "told", "")
        where = f"{file} ({told})" if told else file
        gone = isinstance(error, FileNotFoundError) or ("://" not in str(file) and not os.path.exists(file))
        advice = (
            'If the data moved, say where to with root_map={old: new}; with on_missing="fill" what is missing is filled'
            if gone
            else 'With on_missing="fill" what cannot be read is filled'
        )
        return AssetUnavailable(f"{self.key!r} cannot be read from {shown(where)}: {shown(what)}. {advice}")


def _runs(reader: Array, index: Array) -> tuple[Array, Array, Array]:
    """Lengths of the runs of rows that follow one file or none, the file, and how far events are from rows."""
    if follows_file(reader, index):
        return np.array([len(index)]), reader[:1], index[:1]
    rows = np.arange(len(index))
    apart = np.where(index >= 0, index - rows, 0)
    starts = np.r_[0, np.flatnonzero(np.diff(reader) | np.diff(apart)) + 1] if len(rows) else rows
    return np.diff(np.r_[starts, len(rows)]), reader[starts], apart[starts]


def _restored(kept: dict[str, Any], lengths: Array, reader: Array, apart: Array) -> AssetArray:
    readers = np.repeat(reader, lengths)
    index = np.where(readers >= 0, np.arange(len(readers)) + np.repeat(apart, lengths), -1)
    return AssetArray(reader=readers, index=index, **kept)
