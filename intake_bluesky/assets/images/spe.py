"""SPE files, of cameras by Princeton Instruments: versions 2.x (WinView, WinSpec) and 3.0 (LightField).

The layout, as imageio and Bio-Formats read it too: a header of 4100 bytes, whose fields are little-endian, the frames,
and in version 3 a footer in XML, which has the distance between frames.
"""

from __future__ import annotations

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
from intake_bluesky.assets.reader import positive
from intake_bluesky.assets.region import Region
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
    """Reads SPE files of versions 2.x and 3.0 with one region of interest, one file a point.

    Notes
    -----
    A resource of spec ``AD_SPE`` has ``template``, ``filename`` and ``frame_per_point`` (1 if not given), which is how
    many frames each file holds; the number of a file is the ``point_number``.
    """

    format: ClassVar[str] = "SPE"

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader; all frames of a point are in its file."""
        per_file = positive("frame_per_point", parameters.get("frame_per_point") or 1)
        made = super(SpeReader, cls).of(location, parameters)
        return replace(made, per_file=per_file, frames_per_event=made.frames_per_event or None)

    @contextmanager
    def opened(self, location: Location) -> Iterator[FrameFile]:
        with location.open() as file:
            layout = _layout(file, location)

            def read(number: int, out: Array, region: Region) -> None:
                offset = HEADER + number * layout.stride
                RawArray(file, location.path, offset, layout.shape, layout.dtype).read(out, region)

            yield FrameFile(layout.frames, layout.shape, layout.dtype, read)


class _Layout(NamedTuple):
    """The number of frames in the header, their shape and dtype, and the bytes from one to the next."""

    frames: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    stride: int


def _layout(file: BinaryIO, location: Location) -> _Layout:
    header = file.read(HEADER)
    if len(header) < HEADER:
        raise AssetUnavailable(f"{location.path} is no SPE file: it has {len(header)} bytes, its header alone {HEADER}")
    width, code, height, frames = (struct.unpack_from(f, header, at)[0] for f, at in _FIELDS)
    (footer,), (version,) = struct.unpack_from("<Q", header, 678), struct.unpack_from("<f", header, 1992)
    if code not in DTYPES or not width or not height or frames < 0:
        raise AssetUnavailable(
            f"{location.path} is no SPE file: its header has {frames} frames of {height} x {width} and data type {code}"
        )
    dtype = np.dtype(DTYPES[code])
    plain = _Layout(frames, (height, width), dtype, width * height * dtype.itemsize)
    return _of_footer(file, footer, location.path, plain) if version >= 3 and footer > HEADER else plain


_FIELDS: Final = (("<H", 42), ("<h", 108), ("<H", 656), ("<i", 1446))
"""Width, data type, height and number of frames."""


def _of_footer(file: BinaryIO, start: int, path: str, plain: _Layout) -> _Layout:
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
    if len(regions) != 1:
        raise AssetUnavailable(f"{path} has {len(regions)} regions of interest in each frame: one alone is read")
    shape = int(regions[0].get("height", plain.shape[0])), int(regions[0].get("width", plain.shape[1]))
    least = shape[0] * shape[1] * plain.dtype.itemsize
    stride = int(block.get("stride", least))
    if stride < least:
        raise AssetUnavailable(f"the footer of {path} has frames {stride} bytes apart that are {least} bytes long")
    return _Layout(int(block.get("count", plain.frames)), shape, plain.dtype, stride)
