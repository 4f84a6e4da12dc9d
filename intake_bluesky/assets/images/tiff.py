"""TIFF files: sequences of them, and stacks of pages in one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import add
from typing import Any, BinaryIO, ClassVar

from intake_bluesky.assets.images.raw_array import RawArray
from intake_bluesky.assets.images.sequence import FrameFile, SequenceReader
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.region import Region
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import AssetUnavailable, MissingDependency
from intake_bluesky.runtime.optional import optional_import

__all__ = ["TiffFileReader", "TiffReader"]


@dataclass(frozen=True, slots=True)
class TiffReader(SequenceReader):
    """Reads TIFF files, whose pages are frames: of any colours, byte order and compression that tifffile knows.

    A file's pages that differ from its first in shape or dtype, such as thumbnails, are no frames.

    Notes
    -----
    A resource of spec ``AD_TIFF`` has ``template``, ``filename`` and ``frame_per_point`` (1 if not given); each frame
    is a file, and the files are numbered from ``point_number * frame_per_point``. Stream resources may have the
    parameters of every `SequenceReader`; without a ``template`` the resource is the one file, a stack.
    """

    format: ClassVar[str] = "TIFF"

    @contextmanager
    def opened(self, location: Location) -> Iterator[FrameFile]:
        tifffile = optional_import("tifffile", extra="assets", purpose="to read TIFF files")
        with location.open() as file, tifffile.TiffFile(file, name=location.path) as tiff:
            first = tiff.pages.first
            if first.dtype is None:
                raise AssetUnavailable(f"{location.path} has pixels of {first.bitspersample} bits, which are not read")
            pages = [first] if len(tiff.pages) == 1 else [p for p in tiff.pages if _alike(p, first)]

            def read(number: int, out: Array, region: Region) -> None:
                _read_page(pages[number], file, location.path, out, region)

            def lacking() -> str:
                size = file.seek(0, os.SEEK_END)
                short = [number for number, page in enumerate(pages) if _end(page) > size]
                return f"{len(short)} of {len(pages)} pages end after its {size} bytes" if short else ""

            yield FrameFile(len(pages), first.shape, first.dtype.newbyteorder("="), read, lacking)


@dataclass(frozen=True, slots=True)
class TiffFileReader(TiffReader):
    """Reads one TIFF file; a datum of spec ``SINGLE_TIFF`` is all of its pages."""

    numbered_by: ClassVar[str | None] = ""


def _alike(page: Any, first: Any) -> bool:
    return bool(page.shape == first.shape and page.dtype == first.dtype)


def _end(page: Any) -> int:
    """The byte after the last that the page has."""
    if page.is_final and page.dataoffsets[0]:
        return int(page.dataoffsets[0] + page.nbytes)
    return int(max(map(add, page.dataoffsets, page.databytecounts), default=0))


def _read_page(page: Any, file: BinaryIO, path: str, out: Array, region: Region) -> None:
    # Uncompressed and in one piece: read in place, and of a region only its rows; tifffile would read the page.
    if page.is_final and page.dataoffsets[0]:  # of a page that was never written it is 0
        stored = page.dtype.newbyteorder(page.parent.byteorder)
        RawArray(file, path, page.dataoffsets[0], page.shape, stored).read(out, region)
        return
    try:
        value: Array = page.asarray(maxworkers=1)  # several files are read at once already
    except ValueError as error:
        if "imagecodecs" in str(error):
            raise MissingDependency(
                f"imagecodecs is needed to decompress {path} ({page.compression.name}) and is not installed: "
                "pip install imagecodecs"
            ) from error
        raise
    out[...] = value[region.slices]
