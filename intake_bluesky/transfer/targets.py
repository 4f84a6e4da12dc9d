"""The catalog that runs are copied into, and the place for their files."""

from __future__ import annotations

import os
from typing import Final

from intake_bluesky.catalogs.argument_checks import not_of_runs
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.transfer.assets.file_places import FilePlace, file_place

__all__ = ["assets_place", "check_into"]

FOLDER: Final = "assets"


def check_into(into: BlueskyCatalog, *, dry_run: bool = False) -> None:
    """Refuse a catalog that cannot be written.

    Raises
    ------
    UnsupportedOperation, StoreUnavailable
    """
    if not isinstance(into, BlueskyCatalog):
        raise UnsupportedOperation(f"into is a catalog of runs, not {not_of_runs(into)}")
    store = into.store
    if not store.writable:
        raise UnsupportedOperation(
            f"{into!r} is open for reading only, nothing is written into it: open it for writing, with writable=True "
            "where its driver takes that"
        )
    if not dry_run:
        store.check_writable()


def assets_place(
    into: BlueskyCatalog, given: str | os.PathLike[str] | None, *, argument: str = "assets_into"
) -> FilePlace:
    """Where the files of runs in a catalog are put: a place that was `given` by an argument, else beside the runs.

    Raises
    ------
    UnsupportedOperation
    MissingDependency
    """
    folder = None if given is None else os.fspath(given)
    if folder is None and (own := into.store.folder) is not None:
        folder = f"{own.rstrip('/')}/{FOLDER}"
    if folder is None:
        raise UnsupportedOperation(f"{into!r} has no folder to put files into: give {argument}=...")
    # By these the catalog reads the copies, too.
    return file_place(folder, into.storage_options or {})
