"""A finished copy of an index beside the files, for readers to start from.

It is two files, ``.intake-bluesky-index.jsonl.heads`` and ``.details`` (or what else the suffix is): starts and stops
of all runs, by which they are found; and where their documents lie, with the statistics of their data, which is taken
in when a search by data or a large file first needs it. Both are put as a whole and never written in place. Whoever can
write the folder can write them, so nothing in them is believed that the files would not be: names count only where a
listing has them too, times and uids are those of the documents.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final, TypeVar

from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.files.bucket.location import INDEX
from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.file_location import FileLocation, RemoteLocation, shown
from intake_bluesky.files.content.source import is_certain, is_unproved, size_of, unproved, version_of
from intake_bluesky.files.index_segments import (
    IndexSegment,
    SegmentDetails,
    SegmentRow,
    UnusableSegment,
    entry_from,
    sound_statistics,
    written,
)
from intake_bluesky.index.index import Index, IndexEntry
from intake_bluesky.objects.local import LocalObjects

__all__ = ["adopt", "name_for", "publish", "take_details"]

T = TypeVar("T")
BATCH: Final = 500
TAKEN: Final = "taken in"
SEGMENTS: Final = ("t-", "s-", "b-")
"""How the names of segments in a bucket begin that have runs."""


def name_for(codec: Codec, part: str) -> str:
    """The name of a part of the copy for files of a codec.

    Examples
    --------
    >>> from intake_bluesky_jsonl import JSONLCodec
    >>> name_for(JSONLCodec(), "heads")
    '.intake-bluesky-index.jsonl.heads'
    """
    return f".intake-bluesky-index{codec.suffix}.{part}"


def publish(entries: Iterable[IndexEntry], codec: Codec, location: FileLocation) -> list[str]:
    """Put what is known of the files of a location beside them, and say where.

    Raises
    ------
    StoreUnavailable
        Where the folder cannot be written, or has an index of its own that all its writers keep.
    """
    home = location.home
    assert home is not None  # the caller asks for locations that are folders
    _check_other_index(location, home)
    known = [entry for entry in entries if entry.path.startswith(home) and is_certain(entry.stamp)]
    rows = [(_relative(e.path, home), version_of(e.stamp), e.start, e.stop, e.problem) for e in known]
    details = [
        SegmentDetails(row[0], row[1], e.layout, e.statistics)
        for row, e in zip(rows, known, strict=True)
        if e.layout is not None or e.statistics is not None
    ]
    paths = [home + name_for(codec, part) for part in ("details", "heads")]
    try:
        # The heads last, which lead to the details.
        location.store(paths[0], written(details, {"suffix": codec.suffix, "part": "details"}))
        location.store(paths[1], written(rows, {"suffix": codec.suffix, "part": "heads"}))
    except (OSError, NotImplementedError) as error:
        raise StoreUnavailable(
            f"{shown(home)} cannot be written ({shown(str(error))}): the index in your own cache is complete "
            "all the same; let somebody publish it who may write there"
        ) from error
    return [shown(path) for path in reversed(paths)]


def _check_other_index(location: FileLocation, home: str) -> None:
    """Refuse to put a copy, of some of the runs maybe, beside the index of a catalog in a bucket."""
    objects = location.objects if isinstance(location, RemoteLocation) else LocalObjects()
    with suppress(FileNotFoundError, PermissionError):  # who may not list it is told when the copy is put
        names = [info.name.rpartition("/")[2] for info in objects.list(f"{objects.name_of(home)}{INDEX}")]
        if any(name.startswith(SEGMENTS) for name in names):
            folder = shown(home.rstrip("/" + os.sep))
            raise StoreUnavailable(
                f"{folder} is a catalog in a bucket, with an index of its own in {INDEX}, and a second one would help "
                f"nobody: make that anew with `intake-bluesky index {folder}`, or give --no-publish"
            )


def _relative(path: str, home: str) -> str:
    return path.removeprefix(home).replace(os.sep, "/")


def adopt(index: Index, codec: Codec, locations: Sequence[FileLocation], stamps: Mapping[str, str]) -> int:
    """Begin an index with what was published beside the files, as far as it fits them; say how many entries.

    `stamps` are those of the files that were listed, by path: of no other is anything taken.
    """
    adopted = 0
    for location in locations:
        home = location.home
        segment = None if home is None else _fetched(codec, location, home, "heads")
        if home is None or segment is None:
            continue
        listed = {_relative(path, home): path for path in stamps if path.startswith(home)}
        remote = isinstance(location, RemoteLocation)
        found = (_entry(row, listed, stamps, codec, remote=remote) for row in segment.rows())
        for some in _batches(entry for entry in found if entry is not None):
            index.put(some)
            adopted += len(some)
        index.note_segments({home + name_for(codec, "details"): ""})
    return adopted


def take_details(index: Index, codec: Codec, locations: Sequence[FileLocation]) -> bool:
    """Take in the details of what was adopted, if there are any that were not; say whether."""
    known, taken = index.segments(), False
    for location in locations:
        home = location.home
        path = None if home is None else home + name_for(codec, "details")
        if home is None or path is None or known.get(path) != "":
            continue
        segment = _fetched(codec, location, home, "details")
        if segment is not None:
            stamps = index.stamps()
            found = (_with_stamp(details, home, stamps) for details in segment.details())
            for some in _batches(one for one in found if one is not None):
                index.add_details(some)
        index.note_segments({path: TAKEN})
        taken = True
    return taken


def _with_stamp(
    details: SegmentDetails, home: str, stamps: Mapping[str, str]
) -> tuple[str, str, bytes | None, bytes | None] | None:
    """Details for the entry of a file that is as it was; None for any other."""
    path = home + (details.name if "://" in home else details.name.replace("/", os.sep))
    stamp = stamps.get(path, "")
    same_size = is_unproved(stamp) and size_of(stamp) in (0, size_of(details.stamp))
    if not stamp or not (same_size or version_of(stamp) == details.stamp):
        return None
    return path, stamp, details.layout, sound_statistics(details.statistics)


def _batches(items: Iterator[T]) -> Iterator[list[T]]:
    while some := list(islice(items, BATCH)):
        yield some


def _fetched(codec: Codec, location: FileLocation, home: str, part: str) -> IndexSegment | None:
    """A part of the copy; None, with a warning where there is one that cannot be used."""
    path = home + name_for(codec, part)
    try:
        return IndexSegment(location.fetch(path), codec.suffix)
    except FileNotFoundError:
        return None
    except (UnusableSegment, OSError) as error:
        warnings.warn(
            f"the published index {shown(path)} is not used ({shown(str(error))}): make it anew with "
            f"`intake-bluesky index {shown(location.pattern)}`",
            stacklevel=2,
        )
        return None


def _entry(
    row: SegmentRow, listed: Mapping[str, str], stamps: Mapping[str, str], codec: Codec, *, remote: bool
) -> IndexEntry | None:
    """The entry of a listed file that is still as it was; None for any other, and for what is not as it should be."""
    path = listed.get(row.name)
    stamp = _fitting(stamps[path], row.stamp, remote=remote) if path is not None else ""
    return entry_from(row, path, stamp, codec) if path is not None and stamp else None


def _fitting(listed: str, version: str, *, remote: bool) -> str:
    """The stamp of an entry, by those of the listing and of the copy; empty where they do not fit.

    What copies files to a bucket keeps no times: there the size decides, until the run is opened and looked at.
    """
    if version and version_of(listed) == version:
        return listed
    same = size_of(listed) in (0, size_of(version)) if remote else False
    return unproved(listed) if same else ""
