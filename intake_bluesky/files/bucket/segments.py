"""The index in the bucket: segments that each writer puts, and that anybody may merge.

``_index/`` holds four kinds of objects, told by how their names begin:

- ``t-<writer>-<number>``: the tail of one writer, which rewrites it as its runs begin and end;
- ``s-<writer>-<number>``: a tail that is full, and never changes again;
- ``b-<hash>``: a base, merged of segments that it names;
- ``d-<hash>``: the details that belong to a base.

What a reader knows is the union of all: of two rows of one run the finished one counts. Nothing is deleted before what
takes its place is there, so that whoever lists the folder finds every run that was in it before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from intake_bluesky.files.bucket.location import INDEX, BucketLocation
from intake_bluesky.files.index_segments import IndexSegment, SegmentDetails, SegmentRow, UnusableSegment, written
from intake_bluesky.index.index import IndexEntry
from intake_bluesky.objects import ObjectInfo

__all__ = [
    "REMOVED",
    "MergedRows",
    "SegmentFolder",
    "is_idle",
    "is_removal",
    "is_removed",
    "last",
    "supersedes",
    "unknown",
]

REMOVED: Final = "removed"
"""The problem in a row that takes away a run in one version."""
IDLE: Final = 3600.0
"""Seconds after which the tail of a writer is nobody's: writers leave a tail alone after a sixth of that."""
GROWTH: Final = 4
"""A segment is merged with those that together are larger than this part of it."""
SEVERAL: Final = 4
"""Sealed segments from which on they are merged."""
AGAIN: Final = 20
"""Attempts to read segments that others merge meanwhile."""


def supersedes(row: SegmentRow, earlier: SegmentRow | IndexEntry | None) -> bool:
    """Whether of two rows of one file this one counts."""
    return earlier is None or (earlier.stop is None and row.stop is not None)


@dataclass
class MergedRows:
    """The rows of several segments, one a file."""

    rows: dict[str, dict[str, SegmentRow]] = field(default_factory=dict)  # by name and stamp
    details: dict[tuple[str, str], SegmentDetails] = field(default_factory=dict)
    removed: set[tuple[str, str]] = field(default_factory=set)

    def add(self, row: SegmentRow) -> None:
        """Take a row."""
        if is_removal(row):
            self.removed.add((row.name, row.stamp))
            return
        if row.layout is not None or row.statistics is not None:
            self.details[row.name, row.stamp] = SegmentDetails(row.name, row.stamp, row.layout, row.statistics)
        self.rows.setdefault(row.name, {})[row.stamp] = row

    def kept(self) -> Iterator[SegmentRow]:
        """Yield the rows in the order of their names, those that were removed left out, and told at the end."""
        names = {name for name, _ in self.removed}
        for name in sorted(self.rows):
            chosen: SegmentRow | None = None
            for _, row in sorted(self.rows[name].items()):
                if not is_removed(row, self.removed, names) and supersedes(row, chosen):
                    chosen = row
            if chosen is not None:
                yield chosen
        for name, stamp in sorted(self.removed):
            yield SegmentRow(name, stamp, problem=REMOVED)


def is_removal(row: SegmentRow) -> bool:
    """Whether a row takes away a run."""
    return row.start is None and row.problem == REMOVED


def is_removed(row: SegmentRow, removed: Collection[tuple[str, str]], names: Collection[str]) -> bool:
    """Whether a run was removed, given which versions of which files were, and the names of these.

    Of a run that was removed, what was known before it ended may be in any segment: of such a name finished runs alone
    are shown.
    """
    return (row.name, row.stamp) in removed or (row.stop is None and row.name in names)


class SegmentFolder:
    """The folder ``_index`` of a catalog."""

    def __init__(self, location: BucketLocation, suffix: str) -> None:
        self._location, self._suffix = location, suffix

    def listed(self) -> list[ObjectInfo]:
        """The segments there are: one request for every thousand."""
        with suppress(FileNotFoundError):
            return list(self._location.objects.list(self._location.below(INDEX)))
        return []

    def name(self, last: str) -> str:
        """The whole name of a segment."""
        return self._location.below(INDEX, last)

    def put(self, last: str, rows: Iterable[SegmentRow]) -> str:
        """Put a segment of rows with their details, in place of one of that name; give its tag."""
        data = written(rows, {"suffix": self._suffix, "part": "rows"}, level=3)
        return self._location.objects.put(self.name(last), data)

    def get(self, name: str) -> tuple[IndexSegment, str]:
        """Fetch a segment, and its tag.

        Raises
        ------
        FileNotFoundError
            When it was merged meanwhile.
        UnusableSegment
        """
        data, info = self._location.objects.get(name)
        return IndexSegment(data, self._suffix), info.tag

    def delete(self, names: Iterable[str]) -> None:
        """Delete segments."""
        self._location.objects.delete(names)

    def merge(self) -> bool:
        """Merge small segments into a larger one, if there are several; say whether.

        Others may do the same at the same time: each puts a base before it deletes what it was made of.
        """
        listed = self.listed()
        chosen = _chosen(listed)
        if len(chosen) < SEVERAL:
            return False
        try:
            merged = self._merged(chosen, {last(info) for info in listed})
        except (FileNotFoundError, UnusableSegment):  # another merges, or it takes a rebuild
            return False
        # Somebody may have been quicker, and made the index anew since: this would bring back what is gone from it.
        listed = self.listed()
        now = {last(info): info.tag for info in listed}
        if any(now.get(last(info)) != info.tag for info in chosen):
            return False
        self.delete_orphans(listed, self.replace(chosen, merged))
        return True

    def delete_orphans(self, listed: Sequence[ObjectInfo], base: str) -> None:
        """Delete details that belong to no base, whose writer was killed before it put that, or deleted them.

        `base` was put since the listing: it has the details that were left, if it was merged of the same.
        """
        there = {base.rpartition("/")[2], *(last(info) for info in listed)}
        self.delete(
            info.name
            for info in listed
            if last(info).startswith("d-") and f"b-{last(info)[2:]}" not in there and _is_old(info, listed)
        )

    def _merged(self, chosen: Sequence[ObjectInfo], there: set[str]) -> MergedRows:
        merged = MergedRows()
        for info in chosen:
            for row in self.get(info.name)[0].rows():
                merged.add(row)
            if (details := details_of(last(info))) in there:
                for one in self.get(self.name(details))[0].details():
                    merged.details[one.name, one.stamp] = one
        return merged

    def replace(self, old: Sequence[ObjectInfo], merged: MergedRows, *, complete: bool = False) -> str:
        """Put a base in the place of segments.

        Parameters
        ----------
        old : sequence of ObjectInfo
        merged : MergedRows
        complete : bool
            Whether it has all runs that there are, so that those which others have are gone.

        Returns
        -------
        str
            The name of the base.
        """
        objects, rows = self._location.objects, list(merged.kept())
        names = [f"{last(info)} {info.tag}" for info in old]
        # One that has all must not have the name of one that merges the same: readers who have those skip the latter.
        digest = _digest([*names, *(["complete"] if complete else [])], rows if complete else [])
        names.sort()
        details = [merged.details[row.name, row.stamp] for row in rows if (row.name, row.stamp) in merged.details]
        if details:
            objects.put(self.name(f"d-{digest}"), written(details, {"suffix": self._suffix, "part": "details"}))
        about = {"suffix": self._suffix, "part": "heads", "replaces": names, "complete": complete}
        with suppress(FileExistsError):  # another merged the same
            objects.create(self.name(f"b-{digest}"), written((row[:5] for row in rows), about))
        gone = [info.name for info in old if last(info) != f"b-{digest}"]
        gone += [self.name(one) for info in old if (one := details_of(last(info))) and one != f"d-{digest}"]
        self.delete(gone)
        return self.name(f"b-{digest}")

    def read(
        self,
        choose: Callable[[Sequence[ObjectInfo]], Iterable[ObjectInfo]],
        take: Callable[[IndexSegment, ObjectInfo], None],
    ) -> tuple[list[ObjectInfo], dict[str, str]]:
        """Give to `take` the segments that `choose` takes from those of rows, all there are at one moment.

        Returns
        -------
        listed : list of ObjectInfo
            All segments there are.
        unusable : dict
            Of those that cannot be used the names, and why.
        """
        for _ in range(AGAIN):
            listed, unusable = self.listed(), dict[str, str]()
            try:
                for info in choose([info for info in listed if not last(info).startswith("d-")]):
                    self._give(info, take, unusable)
            except FileNotFoundError:  # merged meanwhile: what it is in now is there
                continue
            return listed, unusable
        raise OSError(f"segments of {self.name('')} are merged faster than they can be read: try again")

    def _give(
        self, info: ObjectInfo, take: Callable[[IndexSegment, ObjectInfo], None], unusable: dict[str, str]
    ) -> None:
        try:
            segment, tag = self.get(info.name)
            take(segment, info._replace(tag=tag))
        except UnusableSegment as error:
            unusable[info.name] = str(error)


def last(info: ObjectInfo) -> str:
    """The name of a segment within the folder."""
    return info.name.rpartition("/")[2]


def details_of(name: str) -> str:
    """The name of the details of a base; empty for other segments, which have them within."""
    return f"d-{name[2:]}" if name.startswith("b-") else ""


def is_idle(info: ObjectInfo, listed: Sequence[ObjectInfo]) -> bool:
    """Whether a segment is a tail that nobody writes any more, by the clock of the store."""
    return last(info).startswith("t-") and _is_old(info, listed)


def _is_old(info: ObjectInfo, listed: Sequence[ObjectInfo]) -> bool:
    return max(other.modified for other in listed) - info.modified > IDLE


def _digest(names: Iterable[str], rows: Iterable[SegmentRow] = ()) -> str:
    """What a base is called by, of the names and tags of what it was merged of, and of all rows where it has all."""
    content = "\n".join([*sorted(names), *(f"{row.name} {row.stamp}" for row in rows)])
    return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()[:32]


def unknown(listed: Sequence[ObjectInfo], known: dict[str, str]) -> list[ObjectInfo]:
    """The segments to fetch, by those that are `known`, names and tags; what was merged of these alone is added there.

    The name of a base tells what it was merged of, where that is just what is gone since.
    """
    there = {last(info) for info in listed}
    gone = [f"{name} {tag}" for name, tag in known.items() if name not in there and not name.startswith("d-")]
    # Tails are gone when they are sealed, too.
    merged = {f"b-{_digest(names)}" for names in (gone, [name for name in gone if not name.startswith("t-")])}
    known |= {last(info): info.tag for info in listed if last(info) in merged}
    return [info for info in listed if known.get(last(info)) != info.tag]


def _chosen(listed: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    """The segments to merge: tails that nobody writes any more, and of the others the smallest, as far as they grow."""
    idle = [info for info in listed if is_idle(info, listed)]
    sealed = [info for info in listed if last(info)[:2] in ("s-", "b-")]
    sizes = {last(info): info.size for info in listed}
    weights = [(info.size + sizes.get(details_of(last(info)), 0), info) for info in sealed]
    chosen, whole = [*idle], sum(info.size for info in idle)
    for number, (size, info) in enumerate(sorted(weights, key=lambda pair: pair[0])):
        if number >= SEVERAL - 1 and size > GROWTH * whole:
            break
        chosen.append(info)
        whole += size
    return chosen
