"""The contract of a place that holds objects: named runs of bytes, each put as a whole."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, ClassVar, Final, NamedTuple, TypeAlias

__all__ = ["ANY", "Data", "ObjectInfo", "ObjectReplaced", "Objects", "Span", "matcher"]

ANY: Final = "*"
"""The pattern of what is directly in a folder."""

Data: TypeAlias = bytes | BinaryIO
"""What is put: bytes, or a file that is read from its beginning, a few MiB at a time."""


class ObjectInfo(NamedTuple):
    """What a listing tells of an object.

    Attributes
    ----------
    name : str
        Within its `Objects`; folders end with slashes and are left out of listings.
    size : int
        In bytes.
    tag : str
        Changes when the content does: the ETag, or else what the filesystem has; "" where it tells nothing.
    modified : float
        By the clock of the store, in seconds since the epoch; NaN where it is not told.
    """

    name: str
    size: int
    tag: str
    modified: float


class Span(NamedTuple):
    """The bytes of an object from `start` up to `stop`, or its end.

    With a `tag`, those of that version: of another one it is `ObjectReplaced`.
    """

    name: str
    start: int
    stop: int
    tag: str = ""


class ObjectReplaced(OSError):
    """An object is not the one any more that it was."""


def matcher(pattern: str) -> Callable[[str], object]:
    """Tell whether a name, relative to a folder, is one that a pattern stands for.

    Examples
    --------
    >>> matches = matcher("2026/**/*.jsonl")
    >>> [name for name in ("2026/a.jsonl", "2026/05/a.jsonl", "2025/a.jsonl") if matches(name)]
    ['2026/a.jsonl', '2026/05/a.jsonl']
    """
    from fsspec.utils import glob_translate

    return re.compile(glob_translate(pattern)).match


class Objects(ABC):
    """The objects of one bucket, container, server or disk. Making one connects to nothing.

    It pickles to its address and options, and connects where it is unpickled. All methods may be called by several
    threads. Names have slashes, without one at the beginning on object stores.

    A failure is an `OSError`: `FileNotFoundError` for an object that is not there, `PermissionError` for one that may
    not be read or written, `FileExistsError` by `create`. Its message has no credentials. Busy servers (429, 500, 503)
    and lost connections are tried again, for about a minute.
    """

    atomic: ClassVar[bool]
    """Whether of several that `create` an object at once, or `rename` one to it, one alone succeeds."""

    @abstractmethod
    def url(self, name: str) -> str:
        """The address of an object, as users write it."""

    @abstractmethod
    def name_of(self, url: str) -> str:
        """The name of the object that has this address."""

    @abstractmethod
    def list(self, folder: str, pattern: str = ANY) -> Iterator[ObjectInfo]:
        """Yield the objects in a folder, in order of their names, as they are at this moment.

        Parameters
        ----------
        folder : str
        pattern : str
            Relative to the folder: ``*`` and ``?`` stand for parts of a name, ``**`` for any folders.

        Raises
        ------
        FileNotFoundError
            Where there is no such folder; object stores have no empty ones.
        """

    @abstractmethod
    def head(self, name: str) -> ObjectInfo:
        """Look at one object."""

    @abstractmethod
    def get(self, name: str, last: int | None = None) -> tuple[bytes, ObjectInfo]:
        """Fetch all of an object, or its `last` bytes, and what it was: one request (two of Azure for the last)."""

    @abstractmethod
    def ranges(self, spans: Sequence[Span]) -> Sequence[bytes | Exception]:
        """Fetch parts of objects, many at a time: those of one object that are near to each other by one request.

        Returns
        -------
        sequence
            Of each span, in their order, its bytes, fewer where the object ends before; or the error that kept it.
        """

    def range(self, name: str, start: int, stop: int, tag: str = "") -> bytes:
        """Fetch a part of one object."""
        [found] = self.ranges([Span(name, start, stop, tag)])
        if isinstance(found, Exception):
            raise found
        return found

    @abstractmethod
    def put(self, name: str, data: Data) -> str:
        """Write an object, in place of one of that name, and give its tag. Readers see all of it, or the one before."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> str:
        """Write an object that is not there, and give its tag.

        An answer that was lost on the way does not make one's own object another's.

        Raises
        ------
        FileExistsError
            Where it is there; nothing was written.
        """

    @abstractmethod
    def rename(self, name: str, new: str) -> None:
        """Give an object another name, that none has.

        Raises
        ------
        FileExistsError
            Where one has it; nothing was changed.
        """

    @abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that are not there are passed over."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections; the next use makes others."""
