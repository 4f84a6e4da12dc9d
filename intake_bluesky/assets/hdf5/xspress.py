"""Spectra of Xspress3 detectors: one channel of one frame a datum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from intake_bluesky.assets.hdf5.reader import HDF5Reader
from intake_bluesky.assets.location import Location

__all__ = ["Xspress3Reader"]


@dataclass(frozen=True, slots=True)
class Xspress3Reader(HDF5Reader):
    """Reads one channel of a dataset ``(frames, channels, bins)``; all frames of it are read at once."""

    default: ClassVar[str] = "/entry/instrument/detector/data"

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader of one channel; ``key`` is the dataset."""
        channel = int(parameters.get("channel", 1))
        if channel < 1:
            raise ValueError(f"channel {channel}: Xspress3 counts channels from 1")
        return cls(
            location,
            str(parameters.get("key") or cls.default),
            selection=((None, None, None), channel - 1),
            frames_per_event=1,
        )

    @classmethod
    def event_of(cls, datum_kwargs: Mapping[str, Any]) -> int:
        """Each datum is a frame."""
        return int(datum_kwargs["frame"])

    @classmethod
    def parameters_of(cls, datum_kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The channel, from 1."""
        return {"channel": int(datum_kwargs["channel"])}
