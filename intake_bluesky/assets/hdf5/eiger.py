"""Series of Eiger detectors: a master file, and data files that its links lead to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Self

from intake_bluesky.assets.hdf5.links import lead, list_group
from intake_bluesky.assets.hdf5.open_files import OpenFile, open_files
from intake_bluesky.assets.hdf5.reader import HDF5Reader
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.reader import FrameStructure, LocatedReader
from intake_bluesky.assets.region import WHOLE, Region
from intake_bluesky.assets.whole_numbers import whole
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import AssetUnavailable

__all__ = ["EigerReader"]

GROUPS: Final = ("entry/data", "entry")
"""Where masters list their data files: since firmware 1.3, and before."""


@dataclass(frozen=True, slots=True)
class EigerReader(LocatedReader):
    """Reads a series of images, ``<path>_<seq_id>_master.h5`` and the data files it names.

    A datum with ``seq_id`` alone is the whole series, ``(images, rows, columns)``; with ``frame_num`` (or
    ``image_slice``) one image of it. How many images a data file holds is read from the first of them: the
    resource's ``images_per_file`` or ``frame_per_point`` is what the detector was configured to, not what it wrote.

    Attributes
    ----------
    location : Location
        What the names of all files begin with.
    seq_id : str
        Empty where no datum gave it.
    one_image : bool
        Whether an event is one image.
    """

    frame_by_frame: ClassVar[bool] = True

    seq_id: str = ""
    one_image: bool = False

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader of one series."""
        return cls(location, str(parameters.get("seq_id", "")), bool(parameters.get("one_image", False)))

    @classmethod
    def event_of(cls, datum_kwargs: Mapping[str, Any]) -> int:
        """The number of an image, from 0, or 0 for the whole series."""
        number = _number(datum_kwargs)
        return 0 if number is None else number

    @classmethod
    def parameters_of(cls, datum_kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The series, and whether an event is one image of it."""
        seq_id = str(datum_kwargs["seq_id"])
        # It becomes part of a path, and documents are untrusted: no slash, no dots, no wildcards.
        if not re.fullmatch(r"\w+", seq_id, re.ASCII):
            raise ValueError(f"seq_id {seq_id!r} is no number of a series")
        return {"seq_id": seq_id, "one_image": _number(datum_kwargs) is not None}

    @property
    def master(self) -> Location:
        """The file that names the others."""
        return self.location.with_path(f"{self.path}_{self.seq_id}_master.h5")

    def files(self) -> Sequence[Location]:
        """The files that exist: of one series, or of all where no datum gave a ``seq_id``."""
        prefix = f"{self.path}_{self.seq_id}_" if self.seq_id else f"{self.path}_"
        names = sorted(name for name in self.location.beginning_with(prefix) if name.endswith(".h5"))
        return [self.location.with_path(prefix + name) for name in names]

    def session(self) -> AbstractContextManager[Any]:
        """Keep the master open."""
        return open_files.lend(self.master, recent=True)

    def structure(self, first: int = 0) -> FrameStructure:
        """Shape and dtype from the first data file, the number of images from the first and the last."""
        with open_files.lend(self.master) as handle:
            header = self._series(handle).header
        return replace(header, frames_per_event=1 if self.one_image else header.frames)

    def read_into(self, start: int, stop: int, out: Array, region: Region = WHOLE) -> None:
        """Read images from the data files that hold them, one after the other."""
        with open_files.lend(self.master, recent=True) as handle:
            series = self._series(handle)
            each = series.per_file
            if stop > (series.header.frames or 0):
                raise AssetUnavailable(
                    f"{self.master.path} has {series.header.frames} images, image {stop - 1} was asked"
                )
            for number in range(start // each, -(-stop // each)):
                begin, end = max(start, number * each), min(stop, (number + 1) * each)
                part = out[begin - start : end - start]
                series.file(handle, number).read_into(begin - number * each, end - number * each, part, region)

    def lost_files(self, start: int, stop: int) -> Iterator[str]:
        """Those of the data files that hold these images, and of their sources."""
        lost: list[str] = []
        with open_files.lend(self.master) as handle:
            series = self._series(handle)
            each = series.per_file
            for number in range(start // each, min(-(-stop // each), len(series.names))):
                begin, end = max(start - number * each, 0), min(stop - number * each, each)
                try:
                    lost.extend(series.file(handle, number).lost_files(begin, end))
                except FileNotFoundError as error:
                    lost.append(str(error.filename or series.names[number]))
        # After the file is given back: an iterator that is left half-way is collected in any thread.
        yield from lost

    def _series(self, handle: OpenFile) -> _Series:
        return open_files.keep(handle, "series", lambda: _Series.of(handle))


@dataclass(frozen=True, slots=True)
class _Series:
    """The datasets that make up a series, by their names in the master, and the header of all together."""

    names: tuple[str, ...]
    per_file: int  # images in each but the last
    header: FrameStructure

    @classmethod
    def of(cls, handle: OpenFile) -> _Series:
        """Look into the master, the first data file and the last."""
        names = _datasets(handle)
        first = last = HDF5Reader(*lead(handle, names[0])).structure()
        with suppress(FileNotFoundError):  # reading from it raises; the images of the other files can be read
            last = HDF5Reader(*lead(handle, names[-1])).structure()
        # Data files may be replaced without the master changing, so the version is that of all files looked at.
        each, version = first.frames or 0, handle.location.status()[0]
        held = each * (len(names) - 1) + (last.frames or 0)
        header = replace(first, frames=held, version=f"{version} {first.version} {last.version}")
        return cls(names, max(1, each), header)

    def file(self, handle: OpenFile, number: int) -> HDF5Reader:
        """One data file, which is open for as long as it is read: a series can have more than may be open."""
        return HDF5Reader(*lead(handle, self.names[number]))


def _datasets(handle: OpenFile) -> tuple[str, ...]:
    """Names of ``data_000001`` and so on; of newer masters without them the virtual dataset of all."""
    for group in GROUPS:
        names = list_group(handle, group)
        numbers = {int(name[5:]): name for name in names if re.fullmatch(r"data_\d+", name, re.ASCII)}
        if numbers:
            wanted = range(min(numbers), max(numbers) + 1)
            lacking = [number for number in wanted if number not in numbers]
            if lacking:
                raise AssetUnavailable(f"{handle.location.path} names no data file {lacking[0]} of {max(numbers)}")
            return tuple(f"{group}/{numbers[number]}" for number in wanted)
        # In the group of old masters, `entry`, the name `data` is the group of the newer ones, not a dataset.
        if "data" in names and group == GROUPS[0]:
            return (f"{group}/data",)
    raise AssetUnavailable(f"{handle.location.path} is no master file of an Eiger: it names no entry/data/data_000001")


def _number(datum_kwargs: Mapping[str, Any]) -> int | None:
    for name in ("frame_num", "image_slice"):
        if datum_kwargs.get(name) is not None:
            return whole(name, datum_kwargs[name])
    return None
