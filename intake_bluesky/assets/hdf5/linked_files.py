"""All files that an HDF5 file leads to: external links, sources of virtual datasets, raw storage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from intake_bluesky.assets.hdf5.links import LINKS, RAW, SOURCES, files_named
from intake_bluesky.assets.hdf5.open_files import SIGNATURE, import_h5py, open_files
from intake_bluesky.assets.location import Location
from intake_bluesky.errors import AssetUnavailable

__all__ = ["LinkedFile", "is_hdf5", "linked_files", "names_of_others"]

ENDINGS: Final = (".h5", ".hdf5", ".nxs", ".hdf", ".he5")


class LinkedFile(NamedTuple):
    """A file that another names.

    Attributes
    ----------
    name : str
        As the other file has it.
    path : str
        Where it is.
    problem : str
        Why it is not there, or may not be read; empty where it is.
    """

    name: str
    path: str
    problem: str = ""


def is_hdf5(location: Location, begin: bytes) -> bool:
    """Whether a file is one of HDF5: by its first bytes, or, where something stands before them, as HDF5 says."""
    if begin.startswith(SIGNATURE):
        return True
    named = location.is_local and location.path.lower().endswith(ENDINGS)
    return named and bool(import_h5py().is_hdf5(location.path))


def linked_files(location: Location) -> list[LinkedFile]:
    """The files that a file names directly, each once.

    Raises
    ------
    AssetUnavailable
        When it cannot be looked into.
    MissingDependency
        When h5py is not installed.
    """
    try:
        with open_files.lend(location) as handle:
            names = dict.fromkeys(names_of_others(handle.file))
    except AssetUnavailable:
        raise
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise AssetUnavailable(
            f"{location.path} is copied, and may lead to others that are not: it cannot be looked into, {error}"
        ) from error
    found: dict[LinkedFile, None] = {}
    for name, variable in names:
        try:
            first, *others = files_named(location, name, variable)
            same = [path for path in others if "%" in name and os.path.dirname(path) == os.path.dirname(first)]
            found.update((LinkedFile(name, path), None) for path in (first, *same))
        except OSError as error:
            lost = isinstance(error, FileNotFoundError)
            told = f"{location.path} leads to {name!r}, which is not there" if lost else str(error)
            found[LinkedFile(name, os.path.join(os.path.dirname(location.path), name), told)] = None
    return list(found)


def names_of_others(file: Any) -> Iterator[tuple[str, str]]:
    """What a file of h5py calls others, and the variable by which HDF5 finds those."""
    h5py = import_h5py()
    found: list[tuple[str, str]] = []

    def look(name: bytes, info: Any) -> None:
        if info.type == h5py.h5l.TYPE_EXTERNAL:
            found.append((os.fsdecode(file.id.links.get_val(name)[0]), LINKS))
        elif info.type == h5py.h5l.TYPE_HARD:
            found.extend(_of_dataset(h5py, file, name))

    file.id.links.visit(look, info=True)
    return iter(found)


def _of_dataset(h5py: Any, file: Any, name: bytes) -> Iterator[tuple[str, str]]:
    node = h5py.h5o.open(file.id, name)
    if not isinstance(node, h5py.h5d.DatasetID):
        return
    how = node.get_create_plist()
    for number in range(how.get_external_count()):
        yield os.fsdecode(how.get_external(number)[0]), RAW
    if how.get_layout() == h5py.h5d.VIRTUAL:
        for number in range(how.get_virtual_count()):
            source = how.get_virtual_filename(number)
            if source != ".":
                yield source, SOURCES
