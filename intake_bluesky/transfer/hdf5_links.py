"""The files that an HDF5 file leads to: by external links, virtual datasets, and raw data kept outside."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from typing import Any, Final

from intake_bluesky.assets.hdf5.open_files import import_h5py
from intake_bluesky.assets.location import Location
from intake_bluesky.errors import AssetUnavailable

__all__ = ["linked_files"]

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"


def linked_files(place: Location) -> Iterator[tuple[Location, str]]:
    """Yield the files that one leads to, and by which name, relative to its folder, HDF5 finds a copy of each.

    Of a file that is named by an absolute path, HDF5 looks in the same folder, too, where there is none at that path.

    Raises
    ------
    AssetUnavailable
        When one is not there, may not be named, or when the file cannot be read.
    """
    if not place.is_local or not _is_hdf5(place.path):
        return
    folder = os.path.dirname(place.path)
    for name in sorted(_names(place.path)):
        inside = os.path.basename(name) if os.path.isabs(name) else name
        found = next(filter(None, map(_there, (name, os.path.join(folder, inside)))), [])
        if not found:
            raise AssetUnavailable(f"{place.path} leads to {name!r}, which is not there")
        for path in found:
            if not place.may_lead_to(path):
                raise AssetUnavailable(f"{place.path} leads to {path}, which its documents may not name")
            yield place.with_path(path), os.path.join(os.path.dirname(inside), os.path.basename(path))


def _is_hdf5(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def _there(path: str) -> list[str]:
    if not os.path.isabs(path):
        return []
    if "%" in path:  # virtual datasets count their files by it
        return sorted(glob.glob(glob.escape(path).replace("%b", "*").replace("%%", "%")))
    return [path] if os.path.exists(path) else []


def _names(path: str) -> set[str]:
    h5py = import_h5py()
    found: set[str] = set()
    seen: set[int] = set()

    def walk(group: Any) -> None:
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                found.add(link.filename)
            elif isinstance(link, h5py.HardLink):
                one = group[name]
                address = h5py.h5o.get_info(one.id).addr
                if address not in seen:
                    seen.add(address)
                    walk(one) if isinstance(one, h5py.Group) else found.update(_of_dataset(h5py, one))

    try:
        with h5py.File(path, "r", locking=False) as file:
            walk(file)
    except (OSError, RuntimeError, KeyError) as error:
        raise AssetUnavailable(f"{path} is an HDF5 file that cannot be looked into: {error}") from error
    return found


def _of_dataset(h5py: Any, one: Any) -> Iterator[str]:
    if not isinstance(one, h5py.Dataset):
        return
    how = one.id.get_create_plist()
    yield from (os.fsdecode(how.get_external(number)[0]) for number in range(how.get_external_count()))
    if how.get_layout() == h5py.h5d.VIRTUAL:
        yield from {how.get_virtual_filename(number) for number in range(how.get_virtual_count())} - {"."}
