"""HDF5 files: of stream resources, and of areaDetector's HDF5 plugin."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self, TypeAlias

import numpy as np

from intake_bluesky.assets.handles import hdf5_file, import_h5py
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.options import JoinMethod
from intake_bluesky.assets.reader import AssetReader, FrameStructure, Window
from intake_bluesky.columns import TEXT, Array
from intake_bluesky.errors import AssetUnavailable, MissingDependency

__all__ = ["HDF5Reader", "parse_slice"]

AREA_DETECTOR_DATASET: Final = "/entry/data/data"

Selection: TypeAlias = "int | slice"


@dataclass(frozen=True, slots=True)
class HDF5Reader(AssetReader):
    """Reads one dataset of one HDF5 file, whose first axis counts frames.

    Attributes
    ----------
    location : Location
    dataset : str
        Path inside the file.
    swmr : bool
        Open as one of many readers of a file that is being written; where that fails the file is opened plainly.
    locking : bool or None
        HDF5's file locking, off unless the resource asks for it; None leaves it to ``HDF5_USE_FILE_LOCKING``.
    selection : tuple of int or (start, stop, step)
        Part of the dataset that is meant; an integer drops its axis.
    squeeze : bool
        Drop axes of length one after the first.
    multiplier : int or None
        Frames per event.
    """

    mimetypes: ClassVar[tuple[str, ...]] = ("application/x-hdf5",)
    specs: ClassVar[tuple[str, ...]] = ("AD_HDF5", "AD_HDF5_SWMR", "AD_HDF5_STREAM", "AD_HDF5_SWMR_STREAM")

    location: Location
    dataset: str = AREA_DETECTOR_DATASET
    swmr: bool = False
    locking: bool | None = False
    selection: tuple[int | tuple[int | None, int | None, int | None], ...] = ()
    squeeze: bool = False
    multiplier: int | None = None
    join: JoinMethod | None = None

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader from a stream resource's parameters or a resource's kwargs."""
        dataset = parameters.get("dataset") or parameters.get("path") or AREA_DETECTOR_DATASET
        frames = parameters.get("multiplier") or parameters.get("frame_per_point")
        return cls(
            location,
            dataset if isinstance(dataset, str) else "/".join(map(str, dataset)),
            swmr=bool(parameters.get("swmr", False)),
            locking=_locking(parameters.get("locking", False)),
            selection=parse_slice(parameters.get("slice")),
            squeeze=bool(parameters.get("squeeze", False)),
            multiplier=int(frames) if frames else None,
            join=_join(parameters.get("join_method")),
        )

    @classmethod
    def event_of(cls, datum_kwargs: Mapping[str, Any]) -> int:
        """areaDetector numbers its points."""
        return int(datum_kwargs["point_number"])

    @property
    def path(self) -> str:
        """The file."""
        return self.location.path

    @property
    def frames_per_event(self) -> int | None:
        """``multiplier`` or ``frame_per_point``."""
        return self.multiplier

    @property
    def join_method(self) -> JoinMethod | None:
        """As the stream resource says."""
        return self.join

    def files(self) -> Sequence[Location]:
        """The one file."""
        return [self.location]

    def session(self) -> AbstractContextManager[Any]:
        """Keep the file open."""
        return hdf5_file(self.location, swmr=self.swmr, locking=self.locking)

    def structure(self, first: int = 0) -> FrameStructure:
        """Shape, dtype and chunks, from the file's header."""
        with self._open() as data:
            frames, *rest = self._frames(data)
            axis, step = self._axis(data)
            chunk = max(1, data.chunks[axis] // step) if data.chunks else 1
            return FrameStructure(frames, tuple(rest), self._dtype(data), chunk, self.location.status()[0])

    def read_into(self, start: int, stop: int, out: Array, window: Window = ()) -> None:
        """Read frames straight from the file into `out`."""
        with self._open() as data:
            shape = self._frames(data)
            if stop > shape[0]:
                raise AssetUnavailable(
                    f"{self.path} has {shape[0]} frames in {self.dataset}, frame {stop - 1} was asked"
                )
            if not window and tuple(shape[1:]) != out.shape[1:]:
                raise AssetUnavailable(
                    f"{self.path} has frames of shape {tuple(shape[1:])}, where {out.shape[1:]} was found or declared"
                )
            if not out.size:
                return
            selected = self._window(data, start, stop, window)
            lengths = tuple(len(s) for s in selected if isinstance(s, range))
            source = tuple(_as_slice(s) if isinstance(s, range) else s for s in selected)
            _check_filters(data, self.path)
            self._transfer(data, source, out.reshape(lengths))

    @staticmethod
    def _transfer(data: Any, source: tuple[Selection, ...], out: Array) -> None:
        if out.dtype == TEXT:
            out[...] = data.asstr(errors="replace")[source]
        else:
            data.read_direct(out, source_sel=source)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        with self.session() as file:
            try:
                data = file[self.dataset]
            except KeyError as error:
                raise AssetUnavailable(f"{self.path} has no dataset {self.dataset!r}; it has {sorted(file)}") from error
            if not isinstance(data, import_h5py().Dataset) or not data.shape:
                raise AssetUnavailable(f"{self.dataset!r} of {self.path} is no array: it cannot hold frames")
            if file.swmr_mode:
                data.id.refresh()
            try:
                yield data
            except RuntimeError as error:  # what h5py makes of most damage
                raise AssetUnavailable(f"{self.path} is damaged: {error}") from error

    @staticmethod
    def _dtype(data: Any) -> np.dtype[Any]:
        if import_h5py().check_string_dtype(data.dtype) is not None:
            return TEXT
        dtype: np.dtype[Any] = data.dtype
        return dtype

    def _axes(self, data: Any) -> list[int | range]:
        """What is meant of each axis of the dataset: one position, or a range of them."""
        given = [*self.selection, *([(None, None, None)] * (data.ndim - len(self.selection)))]
        axes: list[int | range] = []
        for wanted, length in zip(given, data.shape, strict=False):
            axes.append(wanted if isinstance(wanted, int) else range(length)[slice(*wanted)])
        return axes

    def _axis(self, data: Any) -> tuple[int, int]:
        """Which axis of the dataset counts frames, and in steps of what."""
        axes = self._axes(data)
        number = next(i for i, axis in enumerate(axes) if isinstance(axis, range))
        counted = axes[number]
        return number, abs(counted.step) if isinstance(counted, range) else 1

    def _frames(self, data: Any) -> tuple[int, ...]:
        """Shape of the flat frames: the first axis counts them."""
        lengths = [len(axis) for axis in self._axes(data) if isinstance(axis, range)]
        if not lengths:
            raise AssetUnavailable(f"the slice of {self.dataset!r} of {self.path} leaves no axis that counts frames")
        rest = [n for n in lengths[1:] if n != 1] if self.squeeze else lengths[1:]
        return (lengths[0], *rest)

    def _window(self, data: Any, start: int, stop: int, window: Window) -> list[int | range]:
        """The axes, with that of the frames cut to the frames wanted and the others to the window."""
        axes: list[Any] = self._axes(data)
        first, *others = [n for n, axis in enumerate(axes) if isinstance(axis, range)]
        kept = [n for n in others if not self.squeeze or len(axes[n]) != 1]
        for number, part in [(first, slice(start, stop)), *zip(kept, window, strict=False)]:
            axes[number] = axes[number][part]
        return axes


def _as_slice(positions: range) -> slice:
    if positions.step < 0:
        raise AssetUnavailable("a slice of HDF5 data that runs backwards cannot be read")
    return slice(positions.start, positions.stop, positions.step)


def _join(value: Any) -> JoinMethod | None:
    return value if value in ("stack", "concat") else None


def _locking(value: Any) -> bool | None:
    return value if isinstance(value, bool) or value is None else str(value).lower() in ("true", "1", "best-effort")


def parse_slice(value: Any) -> tuple[int | tuple[int | None, int | None, int | None], ...]:
    """Bring the ``slice`` of a resource to one form: as numpy writes it, or lists of integers and triples.

    Examples
    --------
    >>> parse_slice("[:, 0, ::2]")
    ((None, None, None), 0, (None, None, 2))
    >>> parse_slice([[0, 4], 3])
    ((0, 4, None), 3)
    """
    if value is None or value is False or value is True:
        return ()
    parts = value.strip("()[] ").rstrip(",").split(",") if isinstance(value, str) else value
    return tuple(_slice_of(part) for part in parts)


def _slice_of(part: Any) -> int | tuple[int | None, int | None, int | None]:
    if isinstance(part, int):
        return part
    if part is None:
        return None, None, None
    if isinstance(part, Mapping):
        part = [part.get(name) for name in ("start", "stop", "step")]
    if isinstance(part, slice):
        part = [part.start, part.stop, part.step]
    if isinstance(part, str):
        if re.fullmatch(r"\s*-?\d+\s*", part):
            return int(part)
        part = [int(n) if n.strip() else None for n in part.split(":")]
    start, stop, step = (*part, None, None, None)[:3]
    return start, stop, step


def _check_filters(data: Any, path: str) -> None:
    """Bring in the decompressors that the dataset needs, or say how to get them."""
    h5z = import_h5py().h5z
    pipeline = data.id.get_create_plist()
    wanted = [pipeline.get_filter(i) for i in range(pipeline.get_nfilters())]
    if all(h5z.filter_avail(code) for code, *_ in wanted):
        return
    try:
        import hdf5plugin  # noqa: F401  # registers its filters when imported
    except ImportError as error:
        names = ", ".join(f"{name.decode(errors='replace')} ({code})" for code, _, _, name in wanted)
        raise MissingDependency.of("hdf5plugin", extra="assets", purpose=f"to decompress {path}: {names}") from error
    lacking = [code for code, *_ in wanted if not h5z.filter_avail(code)]
    if lacking:
        raise AssetUnavailable(
            f"{path} is compressed with HDF5 filters {lacking}, which hdf5plugin does not have either"
        )
