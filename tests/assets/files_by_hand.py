"""Files of images, written frame by frame."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fabio.cbfimage import CbfImage
from PIL import Image

from tests.assets.by_hand import Array

SPE_CODES = {"<f4": 0, "<i4": 1, "<i2": 2, "<u2": 3, "<f8": 5, "|u1": 6, "<u4": 8}
"""Data types by the number that the header of an SPE file has for them."""


def spe(path: Path, data: Array, *more: Array, version: float = 2.5, tracking: int = 0) -> Path:
    """Write frames as the maker's specification of the format has it.

    Parameters
    ----------
    data : numpy.ndarray, shape (frames, H, W)
    *more : numpy.ndarray, shape (frames, h, w)
        Further regions of interest of the same frames, with which the header says no width and height.
    version : float
        From 3 on there is a footer.
    tracking : int
        Bytes after each frame, of when it was taken; the footer tells of them.
    """
    regions = [data, *more]
    frames, height, width = (len(data), 0, 0) if more else data.shape
    apart = sum(region[0].nbytes for region in regions) + tracking
    header = bytearray(4100)
    struct.pack_into("<H", header, 42, width)
    struct.pack_into("<h", header, 108, SPE_CODES[data.dtype.str])
    struct.pack_into("<H", header, 656, height)
    struct.pack_into("<i", header, 1446, frames)
    struct.pack_into("<f", header, 1992, version)
    footer = b""
    if version >= 3:
        struct.pack_into("<Q", header, 678, 4100 + frames * apart)
        footer = _spe_footer(regions, apart)
    together = zip(*regions, strict=True)
    body = b"".join(b"".join(part.tobytes() for part in frame) + b"\xff" * tracking for frame in together)
    path.write_bytes(bytes(header) + body + footer)
    return path


def _spe_footer(regions: Sequence[Array], apart: int) -> bytes:
    formats = {"<u2": "MonochromeUnsigned16", "<u4": "MonochromeUnsigned32", "<f4": "MonochromeFloating32"}
    kind, frames, size = regions[0].dtype.str, len(regions[0]), sum(region[0].nbytes for region in regions)
    blocks = "".join(
        f'<DataBlock type="Region" count="1" width="{region.shape[2]}" height="{region.shape[1]}" '
        f'size="{region[0].nbytes}" stride="{region[0].nbytes}" />'
        for region in regions
    )
    return (
        '<SpeFormat version="3.0" xmlns="http://www.princetoninstruments.com/spe/2009"><DataFormat>'
        f'<DataBlock type="Frame" count="{frames}" pixelFormat="{formats[kind]}" size="{size}" '
        f'stride="{apart}">{blocks}</DataBlock></DataFormat></SpeFormat>'
    ).encode()


def spes(folder: Path, flat: Array, per_file: int = 1, **how: Any) -> list[Path]:
    """A file a point."""
    points = flat.reshape(-1, per_file, *flat.shape[1:])
    return [spe(folder / f"img_{number:03d}.spe", point, **how) for number, point in enumerate(points)]


def cbfs(folder: Path, flat: Array, first: int = 1) -> list[Path]:
    """A file a frame, by fabio."""
    files = [folder / f"img_{number:05d}.cbf" for number in range(first, first + len(flat))]
    for file, frame in zip(files, flat, strict=True):
        CbfImage(data=frame).write(str(file))
    return files


def jpegs(folder: Path, flat: Array) -> list[Path]:
    """A file a frame, by Pillow."""
    files = [folder / f"img_{number:06d}.jpg" for number in range(len(flat))]
    for file, frame in zip(files, flat, strict=True):
        Image.fromarray(frame).save(file, quality=95)
    return files


def read_jpegs(files: Sequence[Path]) -> Array:
    """As Pillow does: the values are not quite those that were written."""
    values: list[Any] = []
    for file in files:
        with Image.open(file) as image:
            values.append(np.asarray(image))
    return np.stack(values)
