"""Sequences of JPEG files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from intake_bluesky.assets.images.sequence import FrameFile, SequenceReader
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.region import Region
from intake_bluesky.documents.columns import Array
from intake_bluesky.runtime.optional import optional_import

__all__ = ["JpegReader"]


@dataclass(frozen=True, slots=True)
class JpegReader(SequenceReader):
    """Reads JPEG files, one frame each, of dtype uint8: grey ones of shape (H, W), others of shape (H, W, bands).

    Notes
    -----
    Stream resources may have the parameters of every `SequenceReader`.
    """

    format: ClassVar[str] = "JPEG"

    @contextmanager
    def opened(self, location: Location) -> Iterator[FrameFile]:
        images = optional_import("PIL.Image", package="pillow", extra="assets", purpose="to read JPEG files")
        with location.open() as file, images.open(file, formats=("JPEG",)) as image:
            bands = len(image.getbands())
            shape = (image.height, image.width, *((bands,) if bands > 1 else ()))

            def read(number: int, out: Array, region: Region) -> None:
                out[...] = np.asarray(image)[region.slices]

            def lacking() -> str:
                image.load()  # raises: no header of the format tells how long the file is
                return ""

            yield FrameFile(1, shape, np.dtype(np.uint8), read, lacking)
