"""Where in a file which documents lie, small enough to keep for every run."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import msgpack

from intake_bluesky.documents.columns import Observed
from intake_bluesky.documents.model import Span
from intake_bluesky.files.content.decompress import Member
from intake_bluesky.runtime.compression import squeezed, unsqueezed

__all__ = ["FileBlock", "FileLayout", "unpacked"]

FORMAT: Final = 2
LARGEST: Final = 1 << 28  # bytes of a layout: of a file of some terabytes


@dataclass(slots=True)
class FileBlock:
    """A range of the content with events or datums in it, of any number of streams."""

    start: int  # of complete items, none of them damaged
    stop: int
    # How many events of each descriptor are there, by the place of its uid in `FileLayout.uids`.
    events: dict[int, int] = field(default_factory=dict)
    # The resources whose datums are there, by the places of their uids.
    resources: set[int] = field(default_factory=set)


@dataclass(slots=True)
class FileLayout:
    """What a scan found in a file, and where to go on when the file has grown."""

    scanned: int = 0  # where in the content the last complete item ends
    guard: int = 0  # checksum of the bytes before that, to tell a file that grew from another one
    heads: list[tuple[int, int]] = field(default_factory=list)  # ranges of the descriptors and (stream) resources
    uids: list[str] = field(default_factory=list)  # of descriptors and resources, which blocks name by their place
    blocks: list[FileBlock] = field(default_factory=list)
    extensible: bool = False  # whether the last block may still grow
    spans: dict[tuple[str, str], list[Span]] = field(default_factory=dict)  # by stream resource and descriptor, merged
    observed: dict[str, dict[str, Observed]] = field(default_factory=dict)  # by descriptor and key
    members: list[Member] = field(default_factory=lambda: [(0, 0)])  # those that ended, and where the next begins
    damage: list[tuple[int, int, str]] = field(default_factory=list)  # ranges that are no documents, and why
    rest: str = ""  # what is wrong with the bytes after `scanned`, if there are any

    def problems(self) -> list[str]:
        """What to report of the file."""
        shown = [f"bytes {start} to {stop} are passed over: {why}" for start, stop, why in self.damage[:5]]
        if len(self.damage) > len(shown):
            shown.append(f"and {len(self.damage) - len(shown)} more such places")
        return shown + ([self.rest] if self.rest else [])

    def pack(self) -> bytes:
        """Write it in few bytes; `unpack` reads them."""
        kinds: dict[int, tuple[int, Observed]] = {}  # by identity: there are few, and hashing them takes longer
        observed = {
            descriptor: {key: kinds.setdefault(id(seen), (len(kinds), seen))[0] for key, seen in keys.items()}
            for descriptor, keys in self.observed.items()
        }
        ranges = _deltas([(block.start, block.stop) for block in self.blocks])
        fields = [
            FORMAT,
            [self.scanned, self.guard, self.extensible, self.rest],
            _deltas(self.heads),
            self.uids,
            [[*pair, b.events, sorted(b.resources)] for pair, b in zip(ranges, self.blocks, strict=True)],
            [[*names, spans] for names, spans in self.spans.items()],
            [seen.to_list() for _, seen in kinds.values()],
            observed,
            self.members,
            self.damage,
        ]
        return squeezed(msgpack.packb(fields))

    @classmethod
    def unpack(cls, packed: bytes, most: int | None = None) -> FileLayout:
        """Read what `pack` wrote, or what a published index has in its place.

        Parameters
        ----------
        most : int, optional
            Bytes that the file's content can have, in which all has to lie.

        Raises
        ------
        ValueError
            Another version's, damaged, or of no file of that size: scan the file again.
        """
        try:
            # Blocks have ints for keys, which msgpack refuses by default.
            fields = msgpack.unpackb(unsqueezed(packed, LARGEST), strict_map_key=False)
            if fields[0] != FORMAT:
                raise ValueError(f"a layout of format {fields[0]}, this version reads {FORMAT}")
            layout = cls._of(fields)
            layout._check(most)
        except (msgpack.UnpackException, AttributeError, IndexError, KeyError, TypeError) as error:
            raise ValueError(f"not a layout: {error}") from error
        return layout

    def _check(self, most: int | None) -> None:
        """Refuse ranges that are none, and more events than there are bytes for."""
        if most is not None and self.scanned > most:
            raise ValueError(f"it tells of {self.scanned} bytes where there can be {most}")
        last = 0
        for block in self.blocks:
            events = block.events.values()
            if min(events, default=0) < 0 or sum(events) > block.stop - block.start:
                raise ValueError("it tells of more events than there is room for")
            if not last <= block.start <= block.stop <= self.scanned:
                raise ValueError("its blocks overlap, or lie outside of what was scanned")
            last = block.stop
        if any(not 0 <= start <= stop <= self.scanned for start, stop in self.heads):
            raise ValueError("its documents lie outside of what was scanned")

    @classmethod
    def _of(cls, fields: list[Any]) -> FileLayout:
        _, (scanned, guard, extensible, rest), heads, uids, blocks, spans, kinds, observed, members, damage = fields
        seen = [Observed.from_list(kind) for kind in kinds]
        ranges = _sums([block[:2] for block in blocks])
        return cls(
            scanned,
            guard,
            _sums(heads),
            uids,
            [FileBlock(*pair, block[2], set(block[3])) for pair, block in zip(ranges, blocks, strict=True)],
            extensible,
            {(resource, descriptor): [(a, b, c, d) for a, b, c, d in found] for resource, descriptor, found in spans},
            {uid: {key: seen[place] for key, place in keys.items()} for uid, keys in observed.items()},
            [(offset, start) for offset, start in members],
            [(start, stop, why) for start, stop, why in damage],
            rest,
        )


@lru_cache(maxsize=32)
def unpacked(packed: bytes, most: int | None) -> FileLayout:
    """As `FileLayout.unpack`, remembered for a run that is asked for again and again: nobody may change it."""
    return FileLayout.unpack(packed, most)


def _deltas(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Distance from the range before, and length: small numbers take fewer bytes."""
    ends = [0, *(stop for _, stop in ranges)]
    return [(start - end, stop - start) for (start, stop), end in zip(ranges, ends, strict=False)]


def _sums(deltas: list[Any]) -> list[tuple[int, int]]:
    ranges, end = [], 0
    for distance, length in deltas:
        start = end + distance
        end = start + length
        ranges.append((start, end))
    return ranges
