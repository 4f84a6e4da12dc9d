"""The contract of a file format: how (name, document) pairs lie in a file's bytes."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import ClassVar, Final, NamedTuple

from intake_bluesky.documents.columns import Observed
from intake_bluesky.documents.model import ALL_KEYS, NAMES, Document, EventPage, Keys
from intake_bluesky.runtime.plugins import Registry

__all__ = ["CODECS", "Codec", "DocumentSpan"]


class DocumentSpan(NamedTuple):
    """One (name, document) pair in a file: its name and the bytes ``data[start:stop]`` it occupies."""

    name: str
    start: int
    stop: int


class Codec(ABC):
    """Documents to bytes and back, one self-delimiting item a document.

    Codecs have no state: stores and writers share one instance between threads and pickle it.
    """

    suffix: ClassVar[str]
    """End of a file's name, without compression: ``.jsonl``."""
    also_read: ClassVar[tuple[str, ...]] = ()
    """Other ends of names of files that are read, and never written."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Ends of the names of files that are read."""
        return (self.suffix, *self.also_read)

    @abstractmethod
    def encode(self, name: str, doc: Document) -> bytes:
        """Make one item: all its bytes, delimiter included, numpy values and enums accepted."""

    @abstractmethod
    def split(self, data: bytes | memoryview, start: int = 0) -> Iterator[DocumentSpan]:
        """Yield the complete items of `data` from `start` on; an incomplete last one is left out.

        Does not decode more than it takes to find an item's name and end.

        Raises
        ------
        DamagedRun
            When the bytes there are no item and more follow; the message gives the offset.
        """

    @abstractmethod
    def decode(self, item: bytes | memoryview) -> tuple[str, Document]:
        """Decode one item.

        Raises
        ------
        DamagedRun
            Bytes that are no (name, document) pair, or hold what is refused (pickled objects).
        """

    def is_blank(self, data: bytes) -> bool:
        """Whether there is no document in `data`, nor the beginning of one."""
        return data.isspace()

    def next_beginning(self, data: bytes, start: int) -> int:
        """Where an item may begin, from `start` on; -1 where none does."""
        found = _any_beginning(self).search(data, start)
        return found.start() if found else -1

    def last_beginning(self, data: bytes, name: str, stop: int) -> int:
        """Where the last item of a name may begin, before `stop`; -1 where none does."""
        return data.rfind(_beginning(self, name), 0, stop)

    def decode_several(self, data: bytes, start: int, size: int) -> tuple[list[tuple[str, Document]], list[int]]:
        """Decode items that follow each other, where that is faster together than one by one.

        Parameters
        ----------
        data : bytes
        start : int
            Where the first of them begins.
        size : int
            Bytes to decode at once, about.

        Returns
        -------
        pairs : list of (str, dict)
            The complete items from `start` on, as `split` and `decode` give them one after the other; none where these
            have to be used, which is always right.
        stops : list of int
            Where each item ends.
        """
        return [], []

    @abstractmethod
    def event_pages(
        self,
        block: bytes | memoryview,
        descriptor: str,
        *,
        data: Keys = ALL_KEYS,
        timestamps: Keys = (),
        observed: Mapping[str, Observed] | None = None,
    ) -> Iterator[EventPage]:
        """Decode the events of one descriptor out of a block of complete items, other items passed over.

        Single events that follow each other come as one page.

        Parameters
        ----------
        block : bytes
            Complete items.
        descriptor : str
            uid of the event descriptor.
        data, timestamps : container of str
            Keys wanted.
        observed : mapping of key to Observed, optional
            What earlier looks found: a hint for fast paths, never a reason to change a value.
        """


@lru_cache
def _beginning(codec: Codec, name: str) -> bytes:
    """How an item of this name begins in this format."""
    item, text = codec.encode(name, {}), name.encode()
    return item[: item.index(text) + len(text)]


@lru_cache
def _any_beginning(codec: Codec) -> re.Pattern[bytes]:
    return re.compile(b"|".join(re.escape(_beginning(codec, name)) for name in sorted(NAMES)))


CODECS: Final[Registry[Codec]] = Registry("intake_bluesky.codecs")
"""The formats of runs' documents by their names, which packages announce as entry points."""
