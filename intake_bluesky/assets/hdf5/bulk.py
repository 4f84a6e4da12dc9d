"""HDF5 files whose datums are not areaDetector's points: single frames, columns, or the whole of a dataset.

Which dataset a spec means where its documents name none is in `reader_registry.DATASETS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Self

from intake_bluesky.assets.hdf5.reader import AREA_DETECTOR_DATASET, HDF5Reader
from intake_bluesky.assets.hdf5.xspress import channel_slice
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.whole_numbers import whole

__all__ = ["ColumnReader", "ColumnStreamReader", "FrameReader", "Pilatus100kReader", "WholeReader", "XspressBulkReader"]

COLUMNS: Final = ("column", "field", "det_elem")
"""What the datums of Zebra and SIS scalers, of PandABoxes and of flown ROIs call the dataset."""


@dataclass(frozen=True, slots=True)
class FrameReader(HDF5Reader):
    """Reads a dataset of which each datum is one ``frame``: of GeRM detectors, video streams, simulations."""

    numbered_by: ClassVar[str | None] = "frame"

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader, whose events are single frames."""
        return replace(super(FrameReader, cls).of(location, parameters), frames_per_event=1)


@dataclass(frozen=True, slots=True)
class ColumnStreamReader(HDF5Reader):
    """Reads the points of one ``column`` of a file of columns; a datum is ``frame_per_point`` values of it."""

    @classmethod
    def parameters_of(cls, datum_kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The dataset."""
        return {"dataset": _column(datum_kwargs)}


@dataclass(frozen=True, slots=True)
class WholeReader(HDF5Reader):
    """Reads datasets of which a datum is the whole, as detectors have them that are flown without points."""

    numbered_by: ClassVar[str | None] = ""


@dataclass(frozen=True, slots=True)
class ColumnReader(ColumnStreamReader):
    """Reads files of columns; a datum is the whole of one ``column``, ``field`` or ``det_elem``."""

    numbered_by: ClassVar[str | None] = WholeReader.numbered_by


@dataclass(frozen=True, slots=True)
class XspressBulkReader(WholeReader):
    """Reads all frames of a detector: of all channels or of one, or (``target``) what was noted beside each frame."""

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader of all channels, or of one."""
        made = super(XspressBulkReader, cls).of(location, parameters)
        if parameters.get("channel") is None:
            return made
        return replace(made, selection=channel_slice(parameters["channel"]))

    @classmethod
    def parameters_of(cls, datum_kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The channel, from 1, or the attribute."""
        target = str(datum_kwargs.get("target", "data"))
        if target != "data":
            return {"dataset": f"/entry/instrument/detector/NDAttributes/{target}"}
        channel = datum_kwargs.get("channel")
        return {} if channel is None else {"channel": whole("channel", channel)}


@dataclass(frozen=True, slots=True)
class Pilatus100kReader(WholeReader):
    """Reads all images of a flown Pilatus 100k, or the sums over one of its regions of interest."""

    @classmethod
    def parameters_of(cls, datum_kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """The dataset of the ``data_type``."""
        kind = datum_kwargs.get("data_type", "image")
        # Datums of an older writer have a `frame`, and no array for a value: sums and image in a dict.
        if "frame" in datum_kwargs or kind not in ("image", "roi"):
            raise ValueError(f"{dict(datum_kwargs)} is neither of data_type 'image' nor of 'roi'")
        if kind == "image":
            return {"dataset": AREA_DETECTOR_DATASET}
        number = whole("roi_num", datum_kwargs["roi_num"])
        return {"dataset": f"/entry/instrument/NDAttributes/_ROI{number}Total"}


def _column(datum_kwargs: Mapping[str, Any]) -> str:
    for name in COLUMNS:
        if datum_kwargs.get(name):
            return str(datum_kwargs[name])
    raise KeyError(COLUMNS[0])
