"""Filters of HDF5 datasets: those that need a plugin, and the one that threads undo beside each other."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from intake_bluesky.assets.hdf5.open_files import import_h5py
from intake_bluesky.assets.region import Region
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import AssetUnavailable, MissingDependency

__all__ = ["Deflated", "check_filters", "read_region"]

SMALLEST: Final = 2**15
"""Bytes of the smallest chunk that is worth unpacking here."""


def check_filters(data: Any, path: str) -> None:
    """Register the decompressors that a dataset needs, or raise with the way to get them."""
    h5z = import_h5py().h5z
    wanted = _filters(data)
    if all(h5z.filter_avail(code) for code, _ in wanted):
        return
    try:
        import hdf5plugin  # noqa: F401  # registers its filters when imported
    except ImportError as error:
        names = ", ".join(f"{name} ({code})" for code, name in wanted)
        raise MissingDependency.of("hdf5plugin", extra="assets", purpose=f"to decompress {path}: {names}") from error
    lacking = [code for code, _ in wanted if not h5z.filter_avail(code)]
    if lacking:
        raise AssetUnavailable(
            f"{path} is compressed with HDF5 filters {lacking}, which hdf5plugin does not have either"
        )


def _filters(data: Any) -> list[tuple[int, str]]:
    how = data.id.get_create_plist()
    each = [how.get_filter(number) for number in range(how.get_nfilters())]
    return [(code, name.decode(errors="replace")) for code, _, _, name in each]


def read_region(data: Any, region: Region, out: Array) -> None:
    """Read a part of a dataset, forwards on each axis, as HDF5 does it, which converts to the dtype of `out`.

    `out` is C-contiguous, of as many elements as the region has.
    """
    h5s = import_h5py().h5s
    # What h5py's own indexing does, without deriving the selection anew: that is most of the time of a small read.
    source = h5s.create_simple(data.id.shape)
    source.select_hyperslab(tuple(r.start for r in region), region.shape, tuple(r.step for r in region))
    data.id.read(h5s.create_simple(region.shape), source, out)


@dataclass(frozen=True, slots=True)
class Deflated:
    """A dataset compressed with gzip, perhaps after shuffling bytes.

    HDF5 decompresses under the one lock that h5py has; zlib of Python leaves the interpreter to the other threads.
    """

    data: Any
    chunks: tuple[int, ...]
    shuffled: bool

    @classmethod
    def of(cls, data: Any) -> Self | None:
        """Make it, or None for datasets that HDF5 had better read itself."""
        h5z = import_h5py().h5z
        codes = [code for code, _ in _filters(data)]
        shuffled = codes == [h5z.FILTER_SHUFFLE, h5z.FILTER_DEFLATE]
        if not shuffled and codes != [h5z.FILTER_DEFLATE]:
            return None
        large = data.chunks and int(np.prod(data.chunks)) * data.dtype.itemsize >= SMALLEST
        plain = data.dtype.kind in "iufc" and not data.file.swmr_mode
        return cls(data, data.chunks, shuffled) if large and plain else None

    def read(self, region: Region, out: Array) -> None:
        """Read a part in steps of one, chunk by chunk; `out` is C-contiguous and of the dtype of the dataset."""
        target = out.reshape(region.shape)
        corners = (range(r.start - r.start % n, r.stop, n) for r, n in zip(region, self.chunks, strict=True))
        for corner in itertools.product(*corners):
            each = zip(corner, self.chunks, region, strict=True)
            wanted = Region(range(max(c, r.start), min(c + n, r.stop)) for c, n, r in each)
            place = wanted.seen_from([r.start for r in region]).slices
            chunk = self._chunk(corner)
            if chunk is not None:
                target[place] = chunk[wanted.seen_from(corner).slices]
                continue
            part: Array = np.empty(wanted.shape, out.dtype)
            read_region(self.data, wanted, part)
            target[place] = part

    def _chunk(self, corner: tuple[int, ...]) -> Array | None:
        """Unpack one chunk; None where it was never written, or not compressed."""
        if self.data.id.get_chunk_info_by_coord(corner).byte_offset is None:
            return None
        mask, packed = self.data.id.read_direct_chunk(corner)
        # A set bit is a filter that was skipped for this chunk, which HDF5 does where it would not make it smaller.
        if mask:
            return None
        dtype: np.dtype[Any] = self.data.dtype
        size = int(np.prod(self.chunks)) * dtype.itemsize
        try:
            # Bounded: a damaged or hostile chunk cannot unpack to more memory than a chunk has.
            unpacked: Any = zlib.decompressobj().decompress(packed, size)
        except zlib.error as error:
            raise AssetUnavailable(f"{self.data.file.filename} is damaged: {error}") from error
        if len(unpacked) != size:
            raise AssetUnavailable(f"{self.data.file.filename} is damaged: the chunk at {corner} is too short")
        if self.shuffled:
            unpacked = _unshuffled(unpacked, dtype.itemsize)
        return np.frombuffer(unpacked, dtype).reshape(self.chunks)


def _unshuffled(packed: bytes, size: int) -> Array:
    """Bring the first bytes of all elements, then the second ones and so on, back to their elements."""
    out: Array = np.empty((len(packed) // size, size), np.uint8)
    for number, part in enumerate(np.frombuffer(packed, np.uint8).reshape(size, -1)):
        out[:, number] = part  # several times as fast as to transpose
    return out.reshape(-1)
