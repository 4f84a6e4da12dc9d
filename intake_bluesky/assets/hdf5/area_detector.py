"""Further files of areaDetector's HDF5 plugin: the times of frames, and images in files of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Final, Self

import numpy as np

from intake_bluesky.assets.hdf5.reader import AREA_DETECTOR_DATASET, HDF5Reader
from intake_bluesky.assets.images.sequence import FrameFile, SequenceReader
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.reader import FrameStructure
from intake_bluesky.assets.region import WHOLE, Region
from intake_bluesky.documents.columns import Array

__all__ = ["HDF5SequenceReader", "TimestampReader"]

ATTRIBUTES: Final = "/entry/instrument/NDAttributes"


@dataclass(frozen=True, slots=True)
class TimestampReader(HDF5Reader):
    """Reads when each frame was taken, in seconds since 1990 as EPICS counts them: one float64 a frame.

    It is the sum of two datasets, of seconds and of nanoseconds.
    """

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader; ``frame_per_point`` is the only parameter of such resources."""
        made = super(TimestampReader, cls).of(location, parameters)
        return replace(made, dataset=f"{ATTRIBUTES}/NDArrayEpicsTSSec", squeeze=True)

    @property
    def _nanoseconds(self) -> HDF5Reader:
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return HDF5Reader(**own | {"dataset": f"{ATTRIBUTES}/NDArrayEpicsTSnSec"})

    def structure(self, first: int = 0) -> FrameStructure:
        """As many frames as both datasets have."""
        with self.session():
            seconds, nanoseconds = HDF5Reader.structure(self), self._nanoseconds.structure()
        # While the file is written, one of the two may be a frame ahead.
        frames = min(seconds.frames or 0, nanoseconds.frames or 0)
        return replace(seconds, frames=frames, dtype=np.dtype("<f8"))

    def read_into(self, start: int, stop: int, out: Array, region: Region = WHOLE) -> None:
        """Add the two up."""
        with self.session():
            HDF5Reader.read_into(self, start, stop, out, region)
            fraction: Array = np.empty_like(out)
            self._nanoseconds.read_into(start, stop, fraction, region)
        out += fraction * 1e-9


@dataclass(frozen=True, slots=True)
class HDF5SequenceReader(SequenceReader):
    """Reads images that are in HDF5 files of their own, all in datasets of one name.

    Attributes
    ----------
    dataset : str
    """

    format: ClassVar[str] = "HDF5"

    dataset: str = AREA_DETECTOR_DATASET

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader; ``dataset``, ``path`` or ``key`` may name the dataset."""
        given: str | Sequence[str] = (
            parameters.get("dataset") or parameters.get("path") or parameters.get("key") or AREA_DETECTOR_DATASET
        )
        dataset = given if isinstance(given, str) else "/".join(map(str, given))
        return replace(super(HDF5SequenceReader, cls).of(location, parameters), dataset=dataset)

    @contextmanager
    def opened(self, location: Location) -> Iterator[FrameFile]:
        """Open one file, whose dataset is one image or several."""
        reader = HDF5Reader(location, self.dataset)
        with reader.session():
            header = reader.structure()
            if len(header.frame_shape) < 2:
                # A dataset of one image has no axis that counts frames: numpy's new axis adds one.
                reader = replace(reader, selection=(None,))
                header = reader.structure()

            def read(number: int, out: Array, region: Region) -> None:
                reader.read_into(number, number + 1, out[np.newaxis], region)

            yield FrameFile(header.frames or 0, header.frame_shape, header.dtype, read)
