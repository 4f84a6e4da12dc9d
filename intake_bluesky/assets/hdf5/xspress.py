"""Spectra of Xspress3 detectors: one channel of one frame a datum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from intake_bluesky.assets.hdf5.reader import HDF5Reader
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.region import AxisIndex
from intake_bluesky.assets.whole_numbers import whole

__all__ = ["Xspress3Reader", "channel_slice"]


@dataclass(frozen=True, slots=True)
class Xspress3Reader(HDF5Reader):
    """Reads one channel of a dataset ``(frames, channels, bins)``; all frames of it are read at once."""

    numbered_by: ClassVar[str | None] = "frame"

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader of one channel; ``key`` is the dataset."""
        dataset = str(parameters.get("key") or parameters["path"])
        return cls(location, dataset, selection=channel_slice(parameters.get("channel", 1)), frames_per_event=1)

    @classmethod
    def parameters_of(cls, datum_kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The channel, from 1."""
        return {"channel": whole("channel", datum_kwargs["channel"])}


def channel_slice(channel: Any) -> tuple[AxisIndex, ...]:
    """The part of a dataset ``(frames, channels, bins)`` that is one channel, which are counted from 1.

    Raises
    ------
    ValueError
    """
    number = whole("channel", channel)
    if number < 1:
        raise ValueError(f"channel {number}: Xspress3 counts channels from 1")
    return (None, None, None), number - 1
