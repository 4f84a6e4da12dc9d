"""Datasets of HDF5 files, through links to other files: of a master file to its data files, of virtual datasets.

The names in a file are as untrusted as those in a document, so links are followed here and not by HDF5: to files of
other folders only where `Location.may_lead_to` allows it.
"""

from __future__ import annotations

import errno
import glob
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from intake_bluesky.assets.hdf5.filters import check_filters
from intake_bluesky.assets.hdf5.open_files import OpenFile, import_h5py, open_files
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.region import Region
from intake_bluesky.errors import AssetUnavailable, UntrustedName
from intake_bluesky.runtime.data_roots import advice

__all__ = [
    "LINKS", "RAW", "SOURCES", "VirtualSource", "check_source", "files_named", "find_dataset", "lead", "list_group",
    "locate_source", "sources_of",
]  # fmt: skip

MOST_LINKS: Final = 32
UNNAMEABLE: Final = re.compile("[\0\ud800-\udfff]")
# Environment variables in which HDF5 looks for the files of links, of virtual datasets and of raw storage. With them it
# may find another file than the one beside the file that names it, and that one has to be checked, too.
LINKS: Final = "HDF5_EXT_PREFIX"
SOURCES: Final = "HDF5_VDS_PREFIX"
RAW: Final = "HDF5_EXTFILE_PREFIX"


@dataclass(frozen=True, slots=True)
class VirtualSource:
    """A dataset of another file that a virtual dataset takes a part from.

    Attributes
    ----------
    file, dataset : str
        As the virtual dataset names them.
    held : tuple of range
        Positions in the virtual dataset, on each axis; empty where they have no end.
    taken : tuple of range
        Positions in the source; empty where it is all of it.
    simple : bool
        Whether both are solid blocks of one shape, but for axes of length one.
    """

    file: str
    dataset: str
    held: tuple[range, ...]
    taken: tuple[range, ...]
    simple: bool

    @classmethod
    def of(cls, how: Any, number: int) -> VirtualSource:
        """Make one from a mapping in the creation properties of a virtual dataset."""
        file, dataset = how.get_virtual_filename(number), how.get_virtual_dsetname(number)
        here, there = how.get_virtual_vspace(number), how.get_virtual_srcspace(number)
        whole = there.get_select_type() == import_h5py().h5s.SEL_ALL
        try:
            (held, full), (taken, all_taken) = _solid(here), ((), True) if whole else _solid(there)
        except (RuntimeError, ValueError):  # a selection without end
            return cls(file, dataset, (), (), simple=False)
        # A printf pattern names as many files as there happen to be: HDF5 finds them.
        simple = full and all_taken and "%" not in file + dataset and (whole or _long(taken)[1] == _long(held)[1])
        return cls(file, dataset, held, taken, simple)

    def overlaps(self, region: Region) -> bool:
        """Whether a part of the virtual dataset is taken from it."""
        return all(own.start <= r[-1] and r[0] < own.stop for own, r in zip(self.held, region, strict=False))

    def part(self, region: Region, shape: tuple[int, ...]) -> tuple[Region, Region]:
        """What to read of the source, which has a shape, for a region; and where in the region it belongs.

        Raises
        ------
        AssetUnavailable
            When the source has not the shape that it should have.
        """
        taken = self.taken or tuple(map(range, shape))
        (own, lengths), (theirs, lengths_there) = _long(self.held), _long(taken)
        if lengths != lengths_there or any(r.stop > n for r, n in zip(taken, shape, strict=True)):
            raise AssetUnavailable(
                f"{self.dataset} of {self.file} has the shape {shape}, where a virtual dataset takes "
                f"{tuple(map(len, self.held))} from it"
            )
        each = zip(self.held, region, strict=True)
        wanted = Region(range(max(held.start, r.start), min(held.stop, r.stop)) for held, r in each)
        part = list(taken)
        for axis, there in zip(own, theirs, strict=True):
            begin = wanted[axis].start - self.held[axis].start
            part[there] = taken[there][begin : begin + len(wanted[axis])]
        return Region(part), wanted.seen_from([r.start for r in region])


def _solid(space: Any) -> tuple[tuple[range, ...], bool]:
    """The smallest block that has a selection, and whether the selection is all of it."""
    ranges = tuple(range(a, b + 1) for a, b in zip(*space.get_select_bounds(), strict=True))
    return ranges, space.get_select_npoints() == math.prod(map(len, ranges))


def _long(ranges: Sequence[range]) -> tuple[list[int], list[int]]:
    """The axes that are longer than one, and how long they are."""
    axes = [axis for axis, positions in enumerate(ranges) if len(positions) != 1]
    return axes, [len(ranges[axis]) for axis in axes]


def find_dataset(handle: OpenFile, name: str) -> tuple[OpenFile, Any]:
    """Find a dataset, and the file that it is in.

    Files that links lead to stay open as long as the one that names them.

    Raises
    ------
    AssetUnavailable
        When there is none of that name.
    FileNotFoundError
        When a link leads to a file that is not there.
    UntrustedName
        When a link leads to a file that documents from elsewhere may not name.
    """
    if UNNAMEABLE.search(name):
        raise AssetUnavailable(f"{name!r} is no name of a dataset in {handle.location.path}")
    owner, path = handle, name
    for _ in range(MOST_LINKS):
        location, path = lead(owner, path)
        if location is owner.location:
            break
        owner = handle.open_linked(location)
    else:
        raise AssetUnavailable(f"{name!r} of {handle.location.path} is a link that leads from file to file without end")
    data = owner.file[path] if path else owner.file
    if not isinstance(data, import_h5py().Dataset) or not data.shape:
        raise AssetUnavailable(f"{name!r} of {handle.location.path} is no array: it cannot hold frames")
    return owner, data


def list_group(handle: OpenFile, name: str) -> list[str]:
    """Names in a group of the file; none where this file has no such group."""
    try:
        location, path = lead(handle, name)
    except AssetUnavailable:
        return []
    group = handle.file[path] if location is handle.location else None
    return list(group) if isinstance(group, import_h5py().Group) else []


def lead(handle: OpenFile, name: str) -> tuple[Location, str]:
    """Follow links until only groups of this file are left on the way, or until one leads to another file.

    Returns
    -------
    Location
        That of the handle itself, if no link leads elsewhere.
    str
        The name in that file.

    Raises
    ------
    AssetUnavailable, FileNotFoundError, UntrustedName
        As `find_dataset` does.
    """
    h5l, known = import_h5py().h5l, handle.file.id.links
    parts, done = _parts(name), 0
    # Links may lead in a circle: each part of the name may take so many steps.
    for _ in range(MOST_LINKS * max(1, len(parts))):
        if done == len(parts):
            return handle.location, "/".join(parts)
        prefix = "/".join(parts[: done + 1]).encode()
        try:
            kind = known.get_info(prefix).type
        except (KeyError, RuntimeError, ValueError) as error:
            raise AssetUnavailable(
                f"{handle.location.path} has no dataset {name!r}; it has {sorted(handle.file)}"
            ) from error
        if kind == h5l.TYPE_HARD:
            done += 1
            continue
        target, rest = known.get_val(prefix), parts[done + 1 :]
        if kind == h5l.TYPE_EXTERNAL:
            file, path = map(os.fsdecode, target)
            return handle.location.with_path(_file_named(handle.location, file, LINKS)), "/".join([path, *rest])
        if kind != h5l.TYPE_SOFT:
            break
        path = os.fsdecode(target)
        parts, done = [*([] if path.startswith("/") else parts[:done]), *_parts(path), *rest], 0
    raise AssetUnavailable(f"the dataset {name!r} of {handle.location.path} is a link that leads nowhere")


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def _file_named(here: Location, name: str, variable: str) -> str:
    """Find the file that another file names."""
    return files_named(here, name, variable)[0]


def files_named(here: Location, name: str, variable: str) -> list[str]:
    """Find the files that another file may mean by a name, that which HDF5 takes first.

    Raises
    ------
    FileNotFoundError
    UntrustedName
        When one is where documents from elsewhere may name no files.
    """
    if not here.is_local:
        return [_remote(here, name)]
    places = list(_places(here, name, variable))
    # All that HDF5 could open, not the first alone: which one it takes depends on the environment and on the moment.
    found = [path for place in places for path in _expanded(place)]
    _refuse(here, found)
    if not found:
        raise FileNotFoundError(errno.ENOENT, f"{here.path} leads to a file that is not there", places[0])
    return found


def _refuse(here: Location, found: list[str]) -> None:
    for path in found:
        if not here.may_lead_to(path):
            raise UntrustedName(
                f"{here.path} leads to {os.path.realpath(path)}, which is under no root_map target and no allowed "
                f"root: {advice(os.path.realpath(path))}, or trust the catalog"
            )
        here.with_path(path).check()


def _places(here: Location, name: str, variable: str) -> Iterator[str]:
    """Where HDF5 looks for a file that is named in another, in its order."""
    folder = os.path.dirname(here.path)
    last = name
    if os.path.isabs(name):
        yield name
        last = os.path.basename(name)
    for prefix in os.environ.get(variable, "").split(os.pathsep):
        if prefix:
            yield os.path.join(prefix.replace("${ORIGIN}", folder), last)
    yield os.path.join(folder, last)
    yield os.path.join(os.path.dirname(os.path.realpath(here.path)), last)
    yield os.path.abspath(last)


def _expanded(place: str) -> list[str]:
    """The files that exist; names of virtual datasets may count blocks with ``%b``."""
    if "%" not in place:
        return [place] if os.path.exists(place) else []
    return sorted(glob.glob(glob.escape(place).replace("%b", "*").replace("%%", "%")))


def _remote(here: Location, name: str) -> str:
    """Beside the file itself: a name inside of a remote file never leads to another host, or to local files."""
    path = PurePosixPath(PurePosixPath(name).name if os.path.isabs(name) else name)
    if ".." in path.parts or ":" in name:
        raise UntrustedName(f"{here.path} leads to {name!r}: from URLs only links to files beside them are followed")
    return f"{here.path.rpartition('/')[0]}/{path}"


def sources_of(handle: OpenFile, data: Any) -> tuple[VirtualSource, ...]:
    """The parts of a virtual dataset, which is in this file; none of another.

    Raises
    ------
    UntrustedName
        When one of them, or the raw storage of the dataset, is in a file that may not be named.
    """
    here, how = handle.location, data.id.get_create_plist()
    # Raw storage outside the file is opened by HDF5 itself, so its places are checked before anything is read.
    for number in range(how.get_external_count()):
        name = os.fsdecode(how.get_external(number)[0])
        _refuse(here, [path for place in _places(here, name, RAW) for path in _expanded(place)])
    if how.get_layout() != import_h5py().h5d.VIRTUAL:
        return ()
    found = tuple(VirtualSource.of(how, number) for number in range(how.get_virtual_count()))
    if not found:
        return ()
    for file in {source.file for source in found} - {"."}:
        # What a pattern matches may change between the check and the read.
        if here.roots is not None and "%" in file:
            raise UntrustedName(f"{here.path} names files by a pattern, {file!r}: trust the catalog to read it")
        with suppress(FileNotFoundError):
            _file_named(here, file, SOURCES)
    return found


def locate_source(handle: OpenFile, source: VirtualSource) -> Location:
    """Where a source is, if it is there and may be named."""
    here = handle.location
    return here if source.file == "." else here.with_path(_file_named(here, source.file, SOURCES))


def check_source(handle: OpenFile, source: VirtualSource, depth: int = MOST_LINKS) -> None:
    """Check that HDF5 will find a source of a virtual dataset: it fills in for those it does not find.

    Raises
    ------
    OSError
        When the file is not there or not readable, or lacks the dataset.
    MissingDependency
        When it cannot be decompressed.
    UntrustedName
        When it leads to a file that may not be named, by whatever detour.
    """
    here = handle.location
    if not depth:
        raise AssetUnavailable(f"{here.path} has virtual datasets of virtual datasets without end")
    if not here.is_local and source.file != ".":
        raise AssetUnavailable(f"{here.path} has a virtual dataset of odd shape, which is not read from URLs")
    location = locate_source(handle, source)
    if "%" in source.file + source.dataset:
        return
    with open_files.lend(location, swmr=bool(handle.file.swmr_mode)) as other:
        owner, data = find_dataset(other, source.dataset)
        check_filters(data, owner.location.path)
        for inner in sources_of(owner, data):
            check_source(owner, inner, depth - 1)
