"""The catalog that runs are copied into, and the folder for their files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import UnsupportedOperation

__all__ = ["assets_folder", "check_into"]

FOLDER: Final = "assets"


def check_into(into: BlueskyCatalog, *, dry_run: bool = False) -> None:
    """Refuse a catalog that cannot be written.

    Raises
    ------
    UnsupportedOperation, StoreUnavailable
    """
    store = into.store
    if not store.writable:
        raise UnsupportedOperation(
            f"{into!r} is open for reading only, nothing is copied into it: open it for writing, with writable=True "
            "where its driver takes that"
        )
    if not dry_run:
        store.check_writable()


def assets_folder(into: BlueskyCatalog, given: str | os.PathLike[str] | None) -> Path:
    """Where the files of runs in a catalog are copied to.

    Raises
    ------
    UnsupportedOperation
    """
    if given is not None:
        if "://" in os.fspath(given):
            raise UnsupportedOperation(f"files are copied into a local folder, not to {given}")
        return Path(given).expanduser().absolute()
    folder = into.store.local_folder
    if folder is None:
        raise UnsupportedOperation(f"{into!r} has no local folder to copy files into: give assets_into=...")
    return Path(folder, FOLDER)
