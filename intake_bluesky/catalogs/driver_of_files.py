"""The driver of files of runs, by their endings: of a file, of a pattern, of what is in a folder."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from itertools import chain
from typing import Final

from intake_bluesky.catalogs.drivers import DriverCatalog, driver_of, opened_by
from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.runtime.patterns import as_pattern, is_pattern
from intake_bluesky.runtime.secrets import shown

__all__ = ["driver_of_files", "ending_of", "kinds"]

COMPRESSION: Final = (".gz", ".zst")


def kinds() -> str:
    """The files that drivers open, for messages."""
    return " or ".join(f"*{ending}" for ending in sorted(_endings()))


def ending_of(path: str) -> str:
    """The ending of a file of runs, the longest that a driver opens, compression aside; ``""`` for anything else."""
    return _longest(path, _endings())


def driver_of_files(text: str) -> type[DriverCatalog]:
    """The driver by ending: of the file or pattern, else of what is in the folder or matches.

    Raises
    ------
    StoreUnavailable
        Where no file is of a driver, naming what is there and folders below that have runs; or files are of several.
    """
    known = _endings()
    ending = _longest(text, known)
    if ending:
        return driver_of(ending, known)
    if "://" in text:
        folders = opened_by(lambda driver: driver.folder_schemes)
        if (scheme := text.partition("://")[0]) in folders and not is_pattern(text):
            return driver_of(scheme, folders)
        databases = ", ".join(f"{scheme}://" for scheme in opened_by(lambda driver: driver.url_schemes))
        raise StoreUnavailable(
            f"{shown(text)} is no catalog: end the URL of files with {kinds()}; databases begin with {databases}"
        )
    if not os.path.exists(text) and not is_pattern(text):
        raise StoreUnavailable(f"{text} is no catalog: there is no such file or folder")
    marks = opened_by(lambda driver: driver.folder_marks)
    if os.path.isdir(text) and (marked := [mark for mark in marks if os.path.isdir(os.path.join(text, mark))]):
        return driver_of(marked[0], marks)
    names = os.listdir(text) if os.path.isdir(text) else glob.glob(as_pattern(text), recursive=True)
    endings = {_longest(name, known) for name in names} - {""}
    # What a driver writes decides before what it reads, too: beside runs in MessagePack there may be any JSON.
    found = {driver_of(ending, known): ending for ending in endings}
    written = [driver for driver in found if driver.suffixes[0] in endings] or list(found)
    if len(written) == 1:
        return written[0]
    if written:
        raise StoreUnavailable(f"{text} has files of several kinds: give a pattern that ends with one of them")
    yaml = sorted(name for name in names if name.endswith((".yml", ".yaml")))
    named = ", ".join(os.path.join(text, name) if os.path.isdir(text) else name for name in yaml)
    if named:
        advice = f", but a catalog in YAML: give {named}"
    else:
        from intake_bluesky.files.content.folders_below import runs_below  # late: a catalog needs no files to be made

        written_first = {driver.suffixes[0] for driver in chain.from_iterable(known.values())}
        advice = f" and no catalog in YAML{runs_below(text, written_first)}"
    raise StoreUnavailable(f"{text} is no catalog: it has no files of {kinds()}{advice}")


def _endings() -> dict[str, list[type[DriverCatalog]]]:
    return opened_by(lambda driver: driver.suffixes)


def _longest(path: str, endings: Iterable[str]) -> str:
    for compression in COMPRESSION:
        path = path.removesuffix(compression)
    return max(filter(path.endswith, endings), key=len, default="")
