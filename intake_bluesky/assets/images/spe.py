"""SPE files, of cameras by Princeton Instruments: versions 2.x (WinView, WinSpec) and 3.0 (LightField).

The layout, as imageio and Bio-Formats read it too: a header of 4100 bytes, whose fields are little-endian, the frames,
and in version 3 a footer in XML, which has the distance between frames.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, ClassVar, Final, NamedTuple, Self
from xml.etree import ElementTree as ET

import numpy as np

from intake_bluesky.assets.images.raw_array import RawArray
from intake_bluesky.assets.images.sequence import FrameFile, SequenceReader
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.region import Region
from intake_bluesky.assets.whole_numbers import positive, whole
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import AssetUnavailable

__all__ = ["SpeReader"]

HEADER: Final = 4100
"""Bytes."""
LARGEST_FOOTER: Final = 64 * 2**20
NAMESPACE: Final = "{http://www.princetoninstruments.com/spe/2009}"

DTYPES: Final = {0: "<f4", 1: "<i4", 2: "<i2", 3: "<u2", 5: "<f8", 6: "|u1", 8: "<u4"}
"""By their codes in the header."""


@dataclass(frozen=True, slots=True)
class SpeReader(SequenceReader):
    """Reads SPE files of versions 2.x and 3.0, one file a point.

    A frame of several regions of interest is ``(regions, rows, columns)``, if they are of one shape. Of regions of
    several shapes no array holds all: the resource has to name one.

    Attributes
    ----------
    region : int or None
        The number of the one region that is read, from 0.

    Notes
    -----
    A resource of spec ``AD_SPE`` has ``template``, ``filename`` and ``frame_per_point`` (1 if not given), which is how
    many frames each file holds; the number of a file is the ``point_number``. It may have a ``region``.
    """

    format: ClassVar[str] = "SPE"

    region: int | None = None

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader; all frames of a point are in its file."""
        per_file = positive("frame_per_point", parameters.get("frame_per_point") or 1)
        region = parameters.get("region")
        made = super(SpeReader, cls).of(location, parameters)
        return replace(
            made,
            per_file=per_file,
            frames_per_event=made.frames_per_event or None,
            region=None if region is None else whole("region", region),
        )

    @contextmanager
    def opened(self, location: Location) -> Iterator[FrameFile]:
        with location.open() as file:
            layout = _layout(file, location, self.region)

            def read(number: int, out: Array, region: Region) -> None:
                offset = layout.begin + number * layout.stride
                RawArray(file, location.path, offset, layout.shape, layout.dtype).read(out, region)

            def lacking() -> str:
                last = layout.begin + (layout.frames - 1) * layout.stride
                return (
                    RawArray(file, location.path, last, layout.shape, layout.dtype).lacking() if layout.frames else ""
                )

            yield FrameFile(layout.frames, layout.shape, layout.dtype, read, lacking)


class _Layout(NamedTuple):
    """The number of frames, their shape and dtype, where the first begins, and the bytes from one to the next."""

    frames: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    begin: int
    stride: int


def _layout(file: BinaryIO, location: Location, region: int | None) -> _Layout:
    header = file.read(HEADER)
    if len(header) < HEADER:
        raise AssetUnavailable(f"{location.path} is no SPE file: it has {len(header)} bytes, its header alone {HEADER}")
    width, code, height, frames = (struct.unpack_from(f, header, at)[0] for f, at in _FIELDS)
    (footer,), (version,) = struct.unpack_from("<Q", header, 678), struct.unpack_from("<f", header, 1992)
    footed = version >= 3 and footer > HEADER
    # With several regions width and height are 0 in the header: the footer has those of each.
    if code not in DTYPES or frames < 0 or not (footed or (width and height)):
        raise AssetUnavailable(
            f"{location.path} is no SPE file: its header has {frames} frames of {height} x {width} and data type {code}"
        )
    dtype = np.dtype(DTYPES[code])
    plain = _Layout(frames, (height, width), dtype, HEADER, width * height * dtype.itemsize)
    if footed:
        return _of_footer(file, footer, location.path, plain, region)
    if region:
        raise AssetUnavailable(f"{location.path} has one region of interest, region {region} was asked")
    return plain


_FIELDS: Final = (("<H", 42), ("<h", 108), ("<H", 656), ("<i", 1446))
"""Width, data type, height and number of frames."""


def _of_footer(file: BinaryIO, start: int, path: str, plain: _Layout, region: int | None) -> _Layout:
    """Take the layout from the footer: a frame may be followed by metadata, such as the time it was taken."""
    file.seek(start)
    text = file.read(LARGEST_FOOTER)
    text = text.rstrip(b"\0")
    if b"<!DOCTYPE" in text or b"\0" in text:  # a NUL: in UTF-16 it could be declared unseen
        raise AssetUnavailable(f"the footer of {path} declares entities, which are not read")
    tree = ET.fromstring(text)  # noqa: S314  # no entities, and so nothing that expands
    block = tree.find(f"{NAMESPACE}DataFormat/{NAMESPACE}DataBlock")
    if block is None or block.get("type") != "Frame":
        raise AssetUnavailable(f"the footer of {path} does not say what its frames are")
    regions = [inner for inner in block if inner.get("type") == "Region"]
    shapes = [(int(each.get("height", plain.shape[0])), int(each.get("width", plain.shape[1]))) for each in regions]
    sizes = [math.prod(shape) * plain.dtype.itemsize for shape in shapes]
    if not all(sizes) or not sizes:
        raise AssetUnavailable(f"the footer of {path} does not say of what shape its regions of interest are: {shapes}")
    if any(int(each.get("stride", size)) != size for each, size in zip(regions, sizes, strict=True)):
        raise AssetUnavailable(f"the footer of {path} has regions of interest with something between them")
    stride = int(block.get("stride", sum(sizes)))
    if stride < sum(sizes):
        raise AssetUnavailable(f"the footer of {path} has frames {stride} bytes apart that are {sum(sizes)} bytes long")
    shape, skipped = _picked(shapes, sizes, path, region)
    return _Layout(int(block.get("count", plain.frames)), shape, plain.dtype, HEADER + skipped, stride)


def _picked(
    shapes: list[tuple[int, int]], sizes: list[int], path: str, region: int | None
) -> tuple[tuple[int, ...], int]:
    """The shape of what is read of each frame, and the bytes before it."""
    if region is not None:
        if not 0 <= region < len(shapes):
            raise AssetUnavailable(f"{path} has {len(shapes)} regions of interest, region {region} was asked")
        return shapes[region], sum(sizes[:region])
    if len(set(shapes)) > 1:
        raise AssetUnavailable(
            f"{path} has {len(shapes)} regions of interest of the shapes {shapes}, which no array holds: one is read "
            "where the resource_kwargs have its number, from 0, as 'region'"
        )
    return (shapes[0] if len(shapes) == 1 else (len(shapes), *shapes[0])), 0
