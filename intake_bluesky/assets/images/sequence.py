"""Sequences of files: what readers of images in files of their own have in common."""

from __future__ import annotations

import errno
import math
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, ClassVar, Final, NamedTuple, Self

import numpy as np

from intake_bluesky.assets.images.name_template import NameTemplate
from intake_bluesky.assets.location import Location, fetched_whole, locate
from intake_bluesky.assets.options import AssetOptions
from intake_bluesky.assets.reader import FrameStructure, LocatedReader
from intake_bluesky.assets.region import WHOLE, Region
from intake_bluesky.assets.whole_numbers import positive, whole
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import AssetUnavailable, IntakeBlueskyError
from intake_bluesky.runtime.threads import run_all

__all__ = ["FrameFile", "SequenceReader"]

LARGEST: Final = 16 << 20
"""Bytes of the frames of a remote file from which on it is read in parts, and not fetched whole."""
HELD: Final = 64 << 20
"""Bytes of files that are fetched at once, about."""
MOST_FETCHED: Final = 64
HEADERS: Final = 1 << 20
"""Bytes that a file may have beside its frames."""


class FrameFile(NamedTuple):
    """One open file of a sequence: how many frames it holds, each of what shape and dtype, and how to read one."""

    frames: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[int, Array, Region], None]
    """Reads the frame of a number in the file, or a region of it, into an array of that shape."""
    lacking: Callable[[], str] = str
    """Says what is not there of the values that the header speaks of, for messages; empty where all are."""


class _FramesOfFile(NamedTuple):
    """Frames in one file: the first in the file, and their place among the frames wanted."""

    file: Location
    first: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class SequenceReader(LocatedReader):
    """Reads frames that are in files of their own, or a fixed number of them in each.

    The file of a frame follows from its number: no folder is listed, and only the files that hold wanted frames are
    opened, a few at a time, each for as long as it is being read.

    Attributes
    ----------
    template : NameTemplate
        Of names in the folder at the location, or that begin so.
    per_file : int
        Frames in each file. Where it is 1 and a file holds several, all that the file holds is the frame. Where the
        template has no number there is one file, and all frames are in it.
    first : int
        Number of the first file.

    Notes
    -----
    Parameters understood by all sequences: ``template`` and ``filename`` (see `NameTemplate`); ``chunk_shape``, whose
    first number is the frames in a file; ``files_per_datum``; ``multiplier`` or ``frame_per_point``, the frames per
    event; ``join_method``.
    """

    frame_by_frame: ClassVar[bool] = True
    numbered_by: ClassVar[str | None] = "point_number"
    format: ClassVar[str] = "image"
    """What each file is, for messages."""
    default_template: ClassVar[str] = ""

    template: NameTemplate = field(default_factory=NameTemplate)
    per_file: int = 1
    first: int = 0

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Make the reader from a stream resource's parameters or a resource's kwargs."""
        template = parameters.get("template") or cls.default_template
        filename = str(parameters.get("filename") or "")
        names = NameTemplate.parse(str(template), filename) if template else NameTemplate(numbered=False)
        # The name of any number will do: what it may climb or lead to does not depend on the number.
        _refuse_elsewhere(location, names.path(location.path, 0))
        chunk, files = parameters.get("chunk_shape"), parameters.get("files_per_datum")
        lengths = chunk if isinstance(chunk, (list, tuple)) else () if chunk is None else (chunk,)
        per_file = positive("chunk_shape", lengths[0]) if lengths else 1
        told = 0 if files is None else whole("files_per_datum", files)
        reader = cls(location, names, per_file, **cls.of_events(parameters))
        if told and not reader.frames_per_event:
            frames = positive("files_per_datum", told) * per_file
            return replace(reader, frames_per_event=frames if frames > 1 else None)
        return reader

    @abstractmethod
    def opened(self, location: Location) -> AbstractContextManager[FrameFile]:
        """Open one file and read its header, but no values; closed when done with."""

    def file(self, number: int) -> Location:
        """The file of a number."""
        return self.location.with_path(self.template.path(self.path, number))

    def files_of(self, frames: Iterable[range]) -> list[Location]:
        """The files of some frames, whether they exist or not."""
        if not self.template.numbered:
            return [self.file(0)]
        numbers = {
            number for part in frames for number in range(part.start // self.per_file, -(-part.stop // self.per_file))
        }
        return [self.file(self.first + number) for number in sorted(numbers)]

    def files(self) -> Sequence[Location]:
        """The files that exist (a resource does not declare how many there should be)."""
        if not self.template.numbered:
            return [self.file(0)]
        found = set(map(self.template.number_of, self.location.beginning_with(self.template.prefix(self.path))))
        return [self.file(number) for number in sorted(n for n in found if n is not None and n >= self.first)]

    def structure(self, first: int = 0) -> FrameStructure:
        """Shape and dtype, from the header of the one file that holds the frame `first`."""
        return self._looked_at(first, values=False)[0]

    def checked(self, first: int) -> tuple[FrameStructure, str]:
        """As `structure`, and what the file lacks of its values, for messages; empty where it is whole.

        Raises
        ------
        OSError
            As `structure` does, and where values can be told to be damaged without reading more than the file.
        """
        return self._looked_at(first, values=True)

    def _looked_at(self, first: int, *, values: bool) -> tuple[FrameStructure, str]:
        location = next(self._parts(first, first + 1)).file
        with _naming(location, self.format), self.opened(location) as file:
            version = location.status()[0]
            lacking = file.lacking() if values else ""
            if lacking:
                lacking = f"{location.path} is too short: {lacking}"
            if not self.template.numbered:
                each = None if self.numbered_by else file.frames
                found = FrameStructure(file.frames, file.shape, file.dtype, 1, version, frames_per_event=each)
                return found, lacking
            if file.frames < self.per_file:
                raise AssetUnavailable(f"{location.path} has {file.frames} frames, and was to have {self.per_file}")
            return FrameStructure(None, self._frame_shape(file), file.dtype, self.per_file, version), lacking

    def read_into(self, start: int, stop: int, out: Array, region: Region = WHOLE) -> None:
        """Read the frames from their files, several files at once."""
        if not out.size:
            return
        for parts in self._ready(self._parts(start, stop), out, region):
            run_all(lambda part: self._read(part, out[part.begin : part.end], region), parts)

    def _ready(self, parts: Iterator[_FramesOfFile], out: Array, region: Region) -> Iterator[Iterable[_FramesOfFile]]:
        """The files, and where one request is best for each, as many as are held at once, fetched."""
        shape = [part.stop for part in region] or out.shape[1:]
        about = self.per_file * math.prod(shape) * out.itemsize  # no less, unless it is compressed
        if self.location.is_local or not self.template.numbered or about > LARGEST:
            yield parts
            return
        while several := list(islice(parts, max(2, min(MOST_FETCHED, HELD // max(about, 1))))):
            fetched = fetched_whole([part.file for part in several], 2 * about + HEADERS)
            yield [part._replace(file=file) for part, file in zip(several, fetched, strict=True)]

    def _parts(self, start: int, stop: int) -> Iterator[_FramesOfFile]:
        """The files that hold the frames from `start` to `stop`."""
        if not self.template.numbered:
            yield _FramesOfFile(self.file(0), start, 0, stop - start)
            return
        for number in range(start // self.per_file, -(-stop // self.per_file)):
            begin = max(start, number * self.per_file)
            end = min(stop, (number + 1) * self.per_file)
            yield _FramesOfFile(
                self.file(self.first + number), begin - number * self.per_file, begin - start, end - start
            )

    def _read(self, part: _FramesOfFile, out: Array, region: Region) -> None:
        path = part.file.path
        with _naming(part.file, self.format), self.opened(part.file) as file:
            shape = self._frame_shape(file)
            _check(path, shape, file.dtype, out, region)
            first, target = part.first, out
            # All frames of the file make one frame of the sequence: its first axis picks among them.
            if len(shape) > len(file.shape):
                first, target, region = (region[0].start if region else 0), out[0], Region(region[1:])
            if first + len(target) > file.frames:
                raise AssetUnavailable(f"{path} has {file.frames} frames, frame {first + len(target) - 1} was asked")
            for number in range(len(target)):
                file.read(first + number, target[number, ...], region)

    def _frame_shape(self, file: FrameFile) -> tuple[int, ...]:
        whole = self.per_file == 1 and self.template.numbered and file.frames > 1
        return (file.frames, *file.shape) if whole else file.shape


def _refuse_elsewhere(location: Location, path: str) -> None:
    """Refuse files beside a folder that documents may name, where the folder's own name is what theirs begin with."""
    if location.is_local and location.roots is not None:
        locate({"uri": path}, AssetOptions(trusted=False, allowed_roots=location.roots))


def _check(path: str, shape: tuple[int, ...], dtype: np.dtype[Any], out: Array, region: Region) -> None:
    """Refuse a file whose frames differ from those of the header that was read."""
    fits = len(region) == len(shape) and all(part.stop <= length for part, length in zip(region, shape, strict=True))
    if not (fits if region else shape == out.shape[1:]) or not np.can_cast(dtype, out.dtype, "safe"):
        before = f"a part up to {tuple(part.stop for part in region)}" if region else f"shape {out.shape[1:]}"
        raise AssetUnavailable(
            f"{path} has {dtype} of shape {shape}, where {out.dtype} of {before} was found in the sequence before"
        )


@contextmanager
def _naming(location: Location, what: str) -> Iterator[None]:
    """Name the file in whatever its reading raises."""
    try:
        yield
    except IntakeBlueskyError:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), location.path) from error
    except Exception as error:  # decoders raise whatever they like at damage
        # The message names the file already.
        if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.filename is not None):
            raise
        raise AssetUnavailable(
            f"{location.path} is damaged, or no {what} file: {type(error).__name__}: {error}"
        ) from error
