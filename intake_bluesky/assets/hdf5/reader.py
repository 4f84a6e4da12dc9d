"""HDF5 files: of stream resources, and of areaDetector's HDF5 plugin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from intake_bluesky.assets.hdf5.dataset import Dataset
from intake_bluesky.assets.hdf5.open_files import OpenFile, open_files
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.reader import FrameStructure, LocatedReader
from intake_bluesky.assets.region import WHOLE, AxisIndex, Region, parse_slice
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import AssetUnavailable

__all__ = ["HDF5Reader", "parse_slice"]

AREA_DETECTOR_DATASET: Final = "/entry/data/data"


@dataclass(frozen=True, slots=True)
class HDF5Reader(LocatedReader):
    """Reads one dataset of one HDF5 file, whose first axis counts frames.

    Attributes
    ----------
    dataset : str
        Path inside the file, through links if need be.
    swmr : bool
        Open as one of many readers of a file that is being written; where that fails the file is opened plainly.
    locking : bool or None
        HDF5's file locking, off unless the resource asks for it; None leaves it to ``HDF5_USE_FILE_LOCKING``.
    selection : tuple
        Part of the dataset that holds the frames, as `parse_slice` gives it; an integer drops its axis.
    squeeze : bool
        Drop axes of length one after the first.
    """

    numbered_by: ClassVar[str | None] = "point_number"

    dataset: str = AREA_DETECTOR_DATASET
    swmr: bool = False
    locking: bool | None = False
    selection: tuple[AxisIndex, ...] = ()
    squeeze: bool = False

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader from a stream resource's parameters or a resource's kwargs."""
        dataset = parameters.get("dataset") or parameters.get("path") or AREA_DETECTOR_DATASET
        return cls(
            location,
            dataset if isinstance(dataset, str) else "/".join(map(str, dataset)),
            swmr=bool(parameters.get("swmr", False)),
            locking=_locking(parameters.get("locking", False)),
            selection=parse_slice(parameters.get("slice")),
            squeeze=bool(parameters.get("squeeze", False)),
            **cls.of_events(parameters),
        )

    def session(self) -> AbstractContextManager[Any]:
        """Hold the file open, and what is known of the dataset."""
        return open_files.lend(self.location, swmr=self.swmr, locking=self.locking, recent=True)

    def structure(self, first: int = 0) -> FrameStructure:
        """Shape, dtype and chunks, from the file's header."""
        with open_files.lend(self.location, swmr=self.swmr, locking=self.locking), self._opened() as dataset:
            frames, *shape = dataset.shape
            # The dataset may be in a file that a link leads to, which grows while this one stays the same.
            files = {place.path: place for place in (self.location, dataset.owner.location)}
            version = " ".join(place.status()[0] for place in files.values())
            each = None if self.numbered_by else frames
            return FrameStructure(
                frames, tuple(shape), dataset.dtype, dataset.chunk_frames, version, frames_per_event=each
            )

    def read_into(self, start: int, stop: int, out: Array, region: Region = WHOLE) -> None:
        """Read frames straight from the file into `out`."""
        with self._opened(stop) as dataset:
            if stop > dataset.shape[0]:
                raise AssetUnavailable(
                    f"{self.path} has {dataset.shape[0]} frames in {self.dataset}, frame {stop - 1} was asked"
                )
            if not region and dataset.shape[1:] != out.shape[1:]:
                raise AssetUnavailable(
                    f"{self.path} has frames of shape {dataset.shape[1:]}, where {out.shape[1:]} was found or declared"
                )
            if out.size:
                dataset.read_meant(Region((range(start, stop), *region)), out)

    def lost_files(self, start: int, stop: int) -> Iterator[str]:
        """Those of the sources of a virtual dataset."""
        with self._opened() as dataset:
            frames = Region((range(start, min(stop, dataset.shape[0])), *map(range, dataset.shape[1:])))
            yield from dataset.lost_sources(dataset.meant.region(frames).forward)

    @contextmanager
    def _opened(self, frames: int = 0) -> Iterator[Dataset]:
        """The dataset with at least so many frames, if it has grown to have them."""
        with self.session() as handle:
            key = (self.dataset, self.selection, self.squeeze)
            try:
                found = open_files.keep(handle, key, lambda: self._look(handle))
                # The handle is shared: another thread may have looked before the writer appended these frames.
                if found.shape[0] < frames and handle.file.swmr_mode:
                    found = handle.kept[key] = self._look(handle)
                yield found
            except RuntimeError as error:  # what h5py makes of most damage
                raise AssetUnavailable(f"{self.path} is damaged: {error}") from error

    def _look(self, handle: OpenFile) -> Dataset:
        try:
            found = Dataset.find(handle, self.dataset, self.selection, squeeze=self.squeeze)
        except IndexError as error:
            raise AssetUnavailable(f"the slice of {self.dataset!r} of {self.path}: {error}") from error
        if not found.shape:
            raise AssetUnavailable(f"the slice of {self.dataset!r} of {self.path} leaves no axis that counts frames")
        return found


def _locking(value: Any) -> bool | None:
    return value if isinstance(value, bool) or value is None else str(value).lower() in ("true", "1", "best-effort")
