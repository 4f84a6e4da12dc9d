"""Values that are at hand beside those in files: filled in before events were stored, or lists of datums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from intake_bluesky.assets.location import Location
from intake_bluesky.assets.reader import AssetReader, FrameStructure
from intake_bluesky.assets.region import WHOLE, Region
from intake_bluesky.documents.columns import Array

if TYPE_CHECKING:
    from intake_bluesky.assets.array import AssetArray

__all__ = ["DatumLists", "EventValues", "GivenEvents", "grouped_values", "is_array"]


class GivenEvents(AssetReader):
    """Values of events as they are to be: a frame is all of an event, whatever the data key declares."""

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Not the way to make one: it has no file."""
        raise TypeError(f"{cls.__name__} reads no resource")

    @property
    def path(self) -> str:
        return "the events"

    def files(self) -> Sequence[Location]:
        """None of its own."""
        return []


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class EventValues(GivenEvents):
    """Values that events hold themselves, where other events of the key have datum_ids; all of one shape and dtype."""

    values: Array

    def structure(self, first: int = 0) -> FrameStructure:
        """As the values are; the version is what they are."""
        from dask.base import tokenize

        return FrameStructure(len(self.values), self.values.shape[1:], self.values.dtype, 1, tokenize(self.values))

    def read_into(self, start: int, stop: int, out: Array, region: Region = WHOLE) -> None:
        """Copy them."""
        out[...] = self.values[start:stop, *region.slices]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DatumLists(GivenEvents):
    """Events that name several datums each, all as many: their values follow each other on a first axis.

    Attributes
    ----------
    array : AssetArray
        A row for each datum, those of one event one after the other.
    each : int
        Datums of an event.
    """

    array: AssetArray
    each: int

    @property
    def path(self) -> str:
        return self.array.readers[0].path if self.array.readers else "the events"

    def files(self) -> Sequence[Location]:
        """Those of the datums."""
        return self.array.files()

    def structure(self, first: int = 0) -> FrameStructure:
        """As many values as datums, in the shape of one."""
        layout = self.array.layout
        shape = (self.each, *layout.event_shape)
        return FrameStructure(len(self.array) // self.each, shape, layout.dtype, 1, self.array.token)

    def read_into(self, start: int, stop: int, out: Array, region: Region = WHOLE) -> None:
        """Read the datums wanted of each event."""
        first, *inner = region or Region.whole(out.shape[1:])
        for row in range(start, stop):
            datums = slice(row * self.each + first.start, row * self.each + first.stop)
            out[row - start] = self.array[datums, *Region(inner).slices]


def is_array(value: Any) -> bool:
    """Whether an array can be made of a value: not of lists of several lengths, nor of very deep ones."""
    try:
        np.asarray(value)
    except (RecursionError, ValueError):
        return False
    return True


def grouped_values(values: Sequence[Any]) -> dict[tuple[Any, ...], tuple[Array, list[int]]]:
    """Group values that are not of one shape and dtype: of each group the array of all, and which they are."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    arrays = [np.asarray(value) for value in values]
    for number, array in enumerate(arrays):
        groups.setdefault((array.shape, array.dtype.str), []).append(number)
    return {kind: (np.stack([arrays[number] for number in own]), own) for kind, own in groups.items()}
