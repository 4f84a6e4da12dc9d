"""Folders made by databroker-pack, read as data: their YAML names no code, and no file outside of the folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from intake_bluesky.catalogs.file_catalog import is_inside
from intake_bluesky.errors import DamagedPack
from intake_bluesky.transfer.manifest import CATALOG, MANIFEST

__all__ = ["DatabrokerPack", "databroker_pack"]

LISTED: Final = "documents_manifest.txt"
EXTERNAL: Final = "external_files_manifest_*.txt"
FOLDERS: Final = ("documents/", "external_files/")
LIBRARY: Final = "databroker_pack"


class DatabrokerPack(NamedTuple):
    """Where the runs of such a folder are, and where their files.

    Attributes
    ----------
    form : str
        ``"jsonl"`` or ``"msgpack"``.
    paths : list of str
    root_map : dict of str to str
    missing : dict of str to str
        Files that its lists have, and the folder has not.
    """

    form: str
    paths: list[str]
    root_map: dict[str, str]
    missing: dict[str, str]


def databroker_pack(folder: Path) -> DatabrokerPack | None:
    """What is in a folder, or a YAML file of it, that databroker-pack made; None for anything else.

    Raises
    ------
    DamagedPack
        When it is one, and cannot be read as one.
    """
    import yaml

    if folder.name == CATALOG:
        folder = folder.parent
    if (folder / MANIFEST).exists() or not (folder / CATALOG).is_file():
        return None
    try:
        catalog = yaml.safe_load((folder / CATALOG).read_text(encoding="utf-8"))
        [source] = catalog["sources"].values()
        metadata = source["metadata"]
        if metadata["generated_by"]["library"] != LIBRARY:
            return None
    except (ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        return None
    return _described(folder, source, metadata)


def _described(folder: Path, source: Mapping[str, Any], metadata: Mapping[str, Any]) -> DatabrokerPack:
    form = str(source.get("driver")).removeprefix("bluesky-").removesuffix("-catalog")
    relative, root_map = metadata.get("relative_paths"), source.get("args", {}).get("root_map") or {}
    if form not in ("jsonl", "msgpack") or not isinstance(relative, list) or not all(map(is_inside, relative)):
        raise DamagedPack(f"{folder / CATALOG} of databroker-pack names no documents in its folder: {relative!r}")
    own = {str(root): str(place).replace("\\", "/") for root, place in root_map.items() if is_inside(place)}
    there = {root: os.path.normpath(folder / place) for root, place in own.items()}
    # The name of the folder may have what is a pattern elsewhere.
    return DatabrokerPack(form, [_below(folder, path) for path in relative], there, _not_there(folder))


def _below(folder: Path, path: str) -> str:
    import glob

    place = path.replace("\\", "/")
    return os.path.join(glob.escape(str(folder)), os.path.normpath(place))


def _not_there(folder: Path) -> dict[str, str]:
    """Of the documents and files that were listed when the folder was made; files that were left elsewhere aside."""
    missing: dict[str, str] = {}
    for listing in (folder / LISTED, *sorted(folder.glob(EXTERNAL))):
        text = listing.read_text(encoding="utf-8", errors="surrogateescape") if listing.is_file() else ""
        names = [line.replace("\\", "/").removeprefix("./") for line in text.splitlines()]
        own = [name for name in names if name.startswith(FOLDERS) and is_inside(name)]
        missing |= {name: f"{listing.name} names it" for name in own if not (folder / name).exists()}
    return missing
