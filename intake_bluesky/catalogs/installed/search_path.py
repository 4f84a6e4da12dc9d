"""The search path of catalogs: the folders of databroker and those of Intake."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from intake.config import conf

from intake_bluesky.runtime.patterns import as_pattern
from intake_bluesky.runtime.trust import is_local
from intake_bluesky.storage.contract import Problem

__all__ = ["CatalogLocation", "search_path", "yaml_files"]

SUFFIXES = (".yml", ".yaml")


@dataclass(frozen=True, slots=True)
class CatalogLocation:
    """A folder of YAML files, a YAML file, or a pattern of such.

    Attributes
    ----------
    path : str
    asked_by : str
        The setting that names it, such as ``"INTAKE_PATH"``; ``""`` for the customary folders, which need not exist.
    """

    path: str
    asked_by: str = ""


def search_path() -> list[CatalogLocation]:
    """The places that are searched, those that win first.

    databroker's folders come before Intake's, as they do in databroker 1.

    Examples
    --------
    >>> all(isinstance(place.path, str) for place in search_path())
    True
    """
    places = [CatalogLocation(folder) for folder in (*_of_databroker(), *_of_intake())]
    places += [
        CatalogLocation(path, "catalog_path of Intake's configuration") for path in _split(conf.get("catalog_path"))
    ]
    places += [CatalogLocation(path, "INTAKE_PATH") for path in _split(os.environ.get("INTAKE_PATH"))]
    once: dict[str, CatalogLocation] = {}
    for place in places:
        # A virtual environment under $VIRTUAL_ENV is mostly `sys.prefix`, too: each of its catalogs would hide itself.
        once.setdefault(os.path.realpath(place.path), place)
    return list(once.values())


def _of_databroker() -> Iterator[str]:
    if os.name == "nt":
        yield os.path.join(os.environ.get("APPDATA") or str(Path.home()), "databroker")
        return
    yield str(Path.home() / ".config" / "databroker")
    yield os.path.join(sys.prefix, "etc", "databroker")
    yield os.path.join("/", "etc", "databroker")


def _of_intake() -> Iterator[str]:
    """The user's folder, the environment's, the machine's.

    Intake's own function runs ``conda`` in a process of its own, and imports ``distutils``, which Python 3.12 removed.
    """
    yield platformdirs.user_data_dir("intake", "intake")
    for prefix in (os.environ.get("VIRTUAL_ENV"), sys.prefix):
        if prefix:
            yield os.path.join(prefix, "share", "intake")
    yield platformdirs.site_data_dir("intake", "intake")


def _split(setting: str | list[str] | tuple[str, ...] | None) -> list[str]:
    """The paths of a setting: a list, or text with this machine's separator, which URLs hold too, between them."""
    paths = re.split(";" if os.name == "nt" else ":(?!//)", setting) if isinstance(setting, str) else setting or ()
    return [os.path.expanduser(str(path)) for path in paths if path]


def yaml_files(place: CatalogLocation) -> tuple[list[str], Problem | None]:
    """The YAML files of a place, in order of their names, or why there are none."""
    if not is_local(place.path):
        message = f"{place.asked_by or 'the search path'} names a place on another machine: open_catalog(...) opens it"
        return [], Problem(place.path, message)
    # `file://` is local, too, and no name that `os` knows.
    path = place.path.partition("://")[2] or place.path
    try:
        if os.path.isdir(path):
            return sorted(entry.path for entry in os.scandir(path) if _is_yaml(entry)), None
    except OSError as error:
        return [], Problem(path, f"this folder cannot be listed: {error.strerror}")
    found = sorted(glob.glob(as_pattern(path)))
    if found or not place.asked_by:
        return found, None
    return [], Problem(path, f"there is no such folder or file; {place.asked_by} names it")


def _is_yaml(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(SUFFIXES) and not entry.name.startswith(".") and entry.is_file()
