"""Intake's view of runs: a catalog of runs, a run, a stream; and the catalogs installed on this machine."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from intake_bluesky.runtime.installed_packages import check_installed_packages

if TYPE_CHECKING:
    from intake_bluesky.catalogs.installed.mapping import InstalledCatalogs
    from intake_bluesky.catalogs.installed.search_path import CatalogLocation, search_path
    from intake_bluesky.catalogs.intake_readers.readers import BlueskyRunReader, BlueskyStreamReader
    from intake_bluesky.catalogs.offered import Offered

    catalog: InstalledCatalogs

__all__ = [
    "BlueskyRunReader",
    "BlueskyStreamReader",
    "CatalogLocation",
    "InstalledCatalogs",
    "Offered",
    "catalog",
    "search_path",
]

check_installed_packages()

_MODULES = {
    "InstalledCatalogs": "installed.mapping",
    "Offered": "offered",
    "BlueskyRunReader": "intake_readers.readers",
    "BlueskyStreamReader": "intake_readers.readers",
    "CatalogLocation": "installed.search_path",
    "search_path": "installed.search_path",
}


def __getattr__(name: str) -> Any:
    # Late, since each run and stream comes through this package and needs none of it.
    if name == "catalog":
        value: Any = import_module(f"{__name__}.installed.mapping").InstalledCatalogs()
    elif name in _MODULES:
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(globals().keys() | set(__all__))
