"""The contract of a reader of external files: flat frames of one resource."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from intake_bluesky.assets.location import Location
from intake_bluesky.assets.options import JoinMethod
from intake_bluesky.assets.region import WHOLE, Region
from intake_bluesky.assets.whole_numbers import positive, whole
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import AssetUnavailable, IntakeBlueskyError

__all__ = ["AssetReader", "FrameStructure", "LocatedReader", "UnreadableReader"]


@dataclass(frozen=True, slots=True)
class FrameStructure:
    """Number, shape and dtype of frames, from the header of a file.

    Attributes
    ----------
    frames : int or None
        How many the resource holds; None where each file would have to be opened to count them.
    frame_shape : tuple of int
    dtype : numpy.dtype
    chunk_frames : int
        Frames in one chunk of the file, which are best read together; of a sequence, those in one file.
    version : str
        Changes when the file does.
    parsed : bool
        Whether frames are rows of text, `frame_shape` the number of columns. Text has no dtype: that is the data key's,
        and so is whether columns are elements or fields.
    frames_per_event : int or None
        As the file has it, where the resource gives none: the whole of a series.
    odd : str
        What is odd about the file, though it can be read.
    """

    frames: int | None
    frame_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk_frames: int = 1
    version: str = ""
    parsed: bool = False
    frames_per_event: int | None = None
    odd: str = ""


class AssetReader(ABC):
    """Reads flat frames of one resource: the first axis counts frames, whatever an event has of them.

    Subclasses are frozen dataclasses: they pickle, compare by value, and do no I/O when made. A package offers its
    reader under the entry point group ``intake_bluesky.assets``, once by the name of each mimetype and spec that it
    reads (``=`` in a name is written ``%3D``).
    """

    frame_by_frame: ClassVar[bool] = False
    """Whether each frame may be missing on its own, as where each has a file of its own."""
    numbered_by: ClassVar[str | None] = None
    """What a legacy datum calls the number of its event; empty where an event is all that the file holds, None where
    the format has no datums."""

    @classmethod
    @abstractmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader of one resource from its ``parameters`` or ``resource_kwargs``, without I/O."""

    @abstractmethod
    def structure(self, first: int = 0) -> FrameStructure:
        """Read the header of the file; of many files, of that which holds the frame `first`.

        Raises
        ------
        OSError
            When the file is not there or not readable.
        """

    @abstractmethod
    def read_into(self, start: int, stop: int, out: Array, region: Region = WHOLE) -> None:
        """Read the frames from `start` to `stop`, or the same part of each.

        Called by several threads at once. Reads no more of a file than it has to: of chunked formats the chunks
        that the region touches.

        Parameters
        ----------
        start, stop : int
        out : numpy.ndarray, shape ``(stop - start, *frame_shape)`` or ``(stop - start, *region.shape)``, C-contiguous
            Of the dtype of `structure`, or one that holds all its values.
        region : Region
            Of each frame, in steps of one; the empty one is all of it.

        Raises
        ------
        OSError
            When the file is not there, not readable or too short.
        """

    def session(self) -> AbstractContextManager[Any]:
        """Stay open for the calls that follow, where that spares opening a file for each."""
        return nullcontext()

    @property
    @abstractmethod
    def path(self) -> str:
        """The file, folder or prefix, for messages."""

    def files(self) -> Sequence[Location]:
        """The files of the resource, whether they exist or not."""
        return [Location(self.path)]

    def lost_files(self, start: int, stop: int) -> Iterator[str]:
        """Yield the paths of files that are not there, from which files of this resource take some of these frames.

        A master takes them from files of data, a virtual dataset from its sources.

        Raises
        ------
        OSError
            When one of them is there and cannot be read.
        """
        yield from ()

    @property
    def frames_per_event(self) -> int | None:
        """The number that the resource gives, or None."""
        return None

    @property
    def join_method(self) -> JoinMethod | None:
        """``"stack"`` or ``"concat"`` as the resource gives it, or None."""
        return None

    @classmethod
    def event_of(cls, datum_kwargs: Mapping[str, Any]) -> int:
        """The index, in events, of a legacy datum among those that share its `parameters_of`.

        Raises
        ------
        KeyError, TypeError, ValueError
            When the datum lacks it, or has a number below 0.
        """
        if cls.numbered_by is None:
            raise KeyError("datum_kwargs")
        if not cls.numbered_by:
            return 0
        number = whole(cls.numbered_by, datum_kwargs[cls.numbered_by])
        if number < 0:
            raise ValueError(f"{cls.numbered_by} is {number}, and counts from 0")
        return number

    @classmethod
    def parameters_of(cls, datum_kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a legacy datum adds to its resource's kwargs: the channel, the file of a series.

        Datums that add the same are read by one reader, which is made with it; values are hashable.
        """
        return {}

    def knowing(self, spec: Mapping[str, Any], *, finished: bool) -> AssetReader:
        """The reader, for a format that does not say itself what the data key or the end of the run says.

        Parameters
        ----------
        spec : mapping
            The data key.
        finished : bool
            Whether the run has ended, so that the file grows no more.
        """
        return self


@dataclass(frozen=True, slots=True)
class LocatedReader(AssetReader):
    """A reader of what is at one location, which knows how frames make events as far as its resource gives that.

    Attributes
    ----------
    location : Location
    frames_per_event : int or None
        ``multiplier`` or ``frame_per_point`` of the resource; 0 where it gives that, which says nothing.
    join_method : {"stack", "concat"} or None
        As the stream resource gives it.
    """

    location: Location
    frames_per_event: int | None = field(default=None, kw_only=True)
    join_method: JoinMethod | None = field(default=None, kw_only=True)

    @staticmethod
    def of_events(parameters: Mapping[str, Any], *further: str) -> dict[str, Any]:
        """The fields `frames_per_event` and `join_method`, from the parameters of a resource.

        The first of ``multiplier``, ``frame_per_point`` and `further` ones that is not 0 counts.
        """
        names = [name for name in ("multiplier", "frame_per_point", *further) if parameters.get(name) is not None]
        given = {name: whole(name, parameters[name]) for name in names}
        frames = next((positive(name, number) for name, number in given.items() if number), 0 if given else None)
        join = parameters.get("join_method")
        return {
            "frames_per_event": frames,
            "join_method": join if join in ("stack", "concat") else None,
        }

    @property
    def path(self) -> str:
        return self.location.path

    def files(self) -> Sequence[Location]:
        """What is at the location."""
        return [self.location]


@dataclass(frozen=True, slots=True)
class UnreadableReader(LocatedReader):
    """In place of a reader where nothing reads a resource; raises on reading, so that the rest of the stream opens.

    Its path is that in the document.

    Attributes
    ----------
    error : type
    message : str
    known : bool
        Whether there is a reader of its format, and something else is in the way.
    """

    error: type[IntakeBlueskyError]
    message: str
    known: bool = False

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make one with no further reason."""
        return cls(location, AssetUnavailable, f"{location.path} cannot be read")

    def structure(self, first: int = 0) -> FrameStructure:
        """Raise."""
        raise self.error(self.message)

    def read_into(self, start: int, stop: int, out: Array, region: Region = WHOLE) -> None:
        """Raise."""
        raise self.error(self.message)

    def files(self) -> Sequence[Location]:
        """None: nothing is told of a file that documents may not name."""
        return ()
