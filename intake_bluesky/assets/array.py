"""The array of one external data key: described to dask, or read straight into memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import dask.array as da
import numpy as np
from dask.base import tokenize

from intake_bluesky.assets.blocks import Block, cut_rows, load_block, windows
from intake_bluesky.assets.layout import EventLayout
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.reader import AssetReader
from intake_bluesky.columns import Array

__all__ = ["AssetArray"]

THREADS: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class AssetArray:
    """Values of one external data key for the rows of a Dataset.

    Every row is one event of one file, or none. What the array is was decided from the headers of the files when it was
    made; no values were read.

    Attributes
    ----------
    key : str
    readers : tuple of AssetReader
    reader, index : numpy.ndarray, shape (rows,), dtype int64
        Number of the reader, and event in its resource, of each row; -1 where a row has none.
    layout : EventLayout
    versions : tuple of str
        Of the files, as their headers were read.
    target_chunk : int
        Bytes.
    fill : bool
        Whether what is missing is filled, whatever the dtype.
    note : str
        Why files lack frames that the documents speak of; empty where they do not.
    """

    key: str
    readers: tuple[AssetReader, ...]
    reader: Array
    index: Array
    layout: EventLayout
    versions: tuple[str, ...]
    target_chunk: int
    fill: bool = False
    note: str = ""

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<AssetArray {self.key} {self.dtype} {self.shape} of {len(self.readers)} resources>"

    @property
    def shape(self) -> tuple[int, ...]:
        """``(rows, *event shape)``, or with ``concat`` ``(rows * event shape[0], *rest)``."""
        return self.layout.shape(len(self.index))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values; that of the files where they are there."""
        return self.layout.dtype

    @property
    def on_rows(self) -> bool:
        """Whether the first axis counts rows: not so where ``concat`` joins several frames an event."""
        return self.layout.rows_per_event == 1

    @property
    def missing(self) -> Array:
        """Numbers of the rows that have no frames, dtype int64."""
        return np.flatnonzero(self.index < 0)

    @property
    def token(self) -> str:
        """Changes with the files and with what is read of them."""
        what = [(type(r).__qualname__, r.path, str(r)) for r in self.readers]
        plan = (self.reader, self.index, str(self.layout), self.versions, self.target_chunk, self.fill)
        return str(tokenize(self.key, what, plan))

    def files(self) -> list[Location]:
        """The files of all resources, whether they exist or not."""
        return [file for reader in self.readers for file in reader.files()]

    def dask(self) -> da.Array:
        """Describe the array to dask: a task a block, which carries nothing but itself."""
        layout, shape = self.layout, self.shape
        if 0 in shape:
            empty: da.Array = da.from_array(
                np.empty(shape, self.dtype), chunks=-1, name=f"asset-{self.key}-{self.token}"
            )
            return empty
        bounds, parts = self._cuts()
        made = list(self._blocks(bounds, parts))
        rest: Sequence[tuple[int, ...]] = [(n,) for n in shape[1:]]
        if len(parts) > 1 and layout.join == "stack":
            grid: tuple[int, ...] = (len(bounds) - 1, len(parts))
            first = np.diff(bounds).tolist()
            rest = [tuple(end - begin for begin, end in parts), *rest[1:]]
        else:
            grid = (len(made),)
            first = [block.rows_on_first_axis for block in made]
        blocks: Array = np.empty(grid, dtype=object)
        for place, block in enumerate(made):
            blocks.flat[place] = block
        return self._graph(blocks, (tuple(first), *rest))

    def _graph(self, blocks: Array, chunks: tuple[tuple[int, ...], ...]) -> da.Array:
        token = self.token
        plan = da.from_array(blocks, chunks=1, name=f"blocks-{self.key}-{token}")
        array: da.Array = da.map_blocks(
            load_block,
            plan,
            name=f"asset-{self.key}-{token}",
            chunks=chunks,
            new_axis=list(range(blocks.ndim, len(chunks))),
            dtype=self.dtype,
            meta=np.empty((0,) * len(chunks), self.dtype),
        )
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
        """
        layout = self.layout
        out: Array = np.empty((len(self.index), layout.frames, *layout.frame_shape), layout.dtype)
        bounds, parts = self._cuts()
        targets = [out[a:b, begin:end] for a, b in pairwise(bounds.tolist()) for begin, end in parts]
        with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
            for _ in pool.map(Block.load_into, self._blocks(bounds, parts), targets):
                pass
        return out.reshape(self.shape)

    def _cuts(self) -> tuple[Array, list[tuple[int, int]]]:
        """Where the rows are cut into blocks, and into which frames each event is, if one alone is too large."""
        parts = windows(self.layout, self.target_chunk)
        if len(parts) > 1:
            return np.arange(len(self.index) + 1), parts
        return cut_rows(self.reader, self.index, self.layout, self.target_chunk), parts

    def _blocks(self, bounds: Array, parts: list[tuple[int, int]]) -> Iterator[Block]:
        lacking = f"has no frames for {len(self.missing)} of {len(self.index)} rows"
        note = f"{lacking}: {self.note}" if self.note else lacking
        for start, stop in pairwise(bounds.tolist()):
            reader, index = self._of_rows(start, stop)
            for part in parts:
                yield Block(self.key, reader, index, part, self.layout, self.fill, note)

    def _of_rows(self, start: int, stop: int) -> tuple[AssetReader | None, range | Array]:
        index = self.index[start:stop]
        present = index[index >= 0]
        if not len(present):
            return None, index
        reader = self.readers[int(self.reader[start:stop].max())]
        if len(present) == len(index) and (np.diff(index) == 1).all():
            return reader, range(int(index[0]), int(index[-1]) + 1)
        return reader, index
