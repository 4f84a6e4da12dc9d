"""Sequences of CBF files, as Pilatus detectors write them."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Self

import numpy as np

from intake_bluesky.assets.images.sequence import FrameFile, SequenceReader
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.region import Region
from intake_bluesky.assets.whole_numbers import whole
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import AssetUnavailable
from intake_bluesky.runtime.optional import optional_import

__all__ = ["CbfReader"]

COMPRESSION: Final = "x-CBF_BYTE_OFFSET"


@dataclass(frozen=True, slots=True)
class CbfReader(SequenceReader):
    """Reads CBF files, one frame of shape (H, W) each, mostly of dtype int32.

    Notes
    -----
    A resource of spec ``AD_CBF`` has ``template``, ``filename``, ``frame_per_point`` (1 if not given) and
    ``initial_number`` (1 if not given); the files of a point are numbered from
    ``initial_number + point_number * frame_per_point``.
    """

    format: ClassVar[str] = "CBF"

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader; its files are numbered from 1 unless the resource has an ``initial_number``."""
        first = whole("initial_number", parameters.get("initial_number", 1))
        return replace(super(CbfReader, cls).of(location, parameters), first=first)

    @contextmanager
    def opened(self, location: Location) -> Iterator[FrameFile]:
        cbf = optional_import("fabio.cbfimage", package="fabio", extra="assets", purpose="to read CBF files")
        with location.open() as file:
            image = cbf.CbfImage()
            image.readheader(_BytesWithEnd(file.read(HEADER_AT_MOST)))
            shape, dtype = _described(image.header, cbf.DATA_TYPES, location.path)

            def read(number: int, out: Array, region: Region) -> None:
                file.seek(0)
                out[...] = _decoded(cbf, _BytesWithEnd(file.read()), location.path).reshape(shape)[region.slices]

            def lacking() -> str:
                file.seek(0)
                packed, found = _packed(cbf, _BytesWithEnd(file.read()), location.path)
                return _short(packed, found)

            yield FrameFile(1, shape, dtype, read, lacking)


HEADER_AT_MOST: Final = 64 * 2**10
"""Bytes: fabio takes the header to end within 8 KiB, and looks for the first binary section from there."""


class _BytesWithEnd(io.BytesIO):
    """A file in memory that raises at its end: fabio reads on for ever where a file lacks the mark it looks for."""

    name = "stream"

    def read(self, size: int | None = -1, /) -> bytes:
        content = io.BytesIO.read(self, size)
        if not content and size is not None and size > 0:
            raise EOFError("the file ends within its header")
        return content


def _described(
    header: Mapping[str, str], dtypes: Mapping[str, str], path: str
) -> tuple[tuple[int, int], np.dtype[Any]]:
    """Shape and dtype of the image."""
    kind, packed = header.get("X-Binary-Element-Type", ""), header.get("conversions", "")
    if kind not in dtypes or packed != COMPRESSION:
        raise AssetUnavailable(
            f"{path} holds {kind or 'values of no type'} in the form {packed!r}; {COMPRESSION!r} is read"
        )
    shape = int(header["X-Binary-Size-Second-Dimension"]), int(header["X-Binary-Size-Fastest-Dimension"])
    return shape, np.dtype(dtypes[kind])


def _packed(cbf: Any, stream: _BytesWithEnd, path: str) -> tuple[bytes, Mapping[str, str]]:
    """The image as it is stored, and its header."""
    image = cbf.CbfImage()
    packed = image.read(stream, only_raw=True)
    said = image.header.get("Content-MD5")
    if (
        not _short(packed, image.header)
        and said
        and said != base64.b64encode(hashlib.md5(packed, usedforsecurity=False).digest()).decode()
    ):
        raise AssetUnavailable(f"{path} is damaged: the checksum of its image is not the one in its header")
    return packed, image.header


def _short(packed: bytes, header: Mapping[str, str]) -> str:
    size = int(header["X-Binary-Size"])
    return f"it has {len(packed)} of the {size} bytes of its image" if len(packed) < size else ""


def _decoded(cbf: Any, stream: _BytesWithEnd, path: str) -> Array:
    packed, header = _packed(cbf, stream, path)
    shape, dtype = _described(header, cbf.DATA_TYPES, path)
    if short := _short(packed, header):
        raise AssetUnavailable(f"{path} is too short: {short}")
    value: Array = np.asarray(cbf.decByteOffset(packed, size=shape[0] * shape[1], dtype=dtype))
    return value
