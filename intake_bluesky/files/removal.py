"""Taking runs away: their files are moved into a folder beside them, or deleted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing, suppress
from itertools import count
from typing import Final

from intake_bluesky.errors import DamagedRun, RunNotFound, StoreUnavailable, UnsupportedOperation
from intake_bluesky.files.content.decompress import content_of
from intake_bluesky.files.content.file_location import LocalLocation, shown
from intake_bluesky.files.content.listing import REMOVED
from intake_bluesky.files.content.source import LocalSource
from intake_bluesky.files.indexed_files import IndexedFiles
from intake_bluesky.files.run_writer import is_being_written

__all__ = ["remove_run"]

MOST: Final = 1 << 22  # bytes without a whole document that a writer may leave


def remove_run(files: IndexedFiles, uid: str, *, permanent: bool, new: str | None) -> None:
    """Remove all files that hold a run; see `FileStore.remove`.

    Parameters
    ----------
    new : str or None
        The file into which the run would be written. Where there is no run, and this was left without even a whole
        start document, it goes.
    """
    try:
        paths = _paths(files, uid)
    except RunNotFound:
        if new is None or not _is_left(files, new):
            raise
        paths = [new]
    for path in paths:
        _check(files, uid, path)
    try:
        for path in paths:  # the one that is shown is the last: until then the run is whole
            _remove(uid, path, files.locations.holding(path).endings, permanent=permanent)
    finally:
        files.ask(lambda _: files.look_again(paths))


def _paths(files: IndexedFiles, uid: str) -> list[str]:
    """The files that hold a run now: what another run has taken the place of is not removed in its stead."""
    files.list_again(uid)
    known = files.ask(lambda index: index.files_of(uid))
    stale = files.locations.stale(known)
    if stale:
        files.ask(lambda _: files.look_again(stale))
        known = files.ask(lambda index: index.files_of(uid))
    if not known:
        raise files.not_found(uid)
    return [path for path, _ in known]


def _is_left(files: IndexedFiles, path: str) -> bool:
    """Whether a file has no document, as a writer leaves it that is killed at its beginning."""
    try:
        with closing(LocalSource(path)) as source:
            data = content_of(source, path, [(0, 0)]).read(0, MOST)
            return len(data) < MOST and next(files.codec.split(data), None) is None
    except (OSError, DamagedRun):
        return False


def _check(files: IndexedFiles, uid: str, path: str) -> None:
    """Refuse before anything is removed."""
    if not isinstance(files.locations.holding(path), LocalLocation):
        raise UnsupportedOperation(
            f"run {uid} is in {shown(path)}: files on other machines are not removed from here, remove it by the tools "
            "of that storage"
        )
    with suppress(FileNotFoundError):
        if is_being_written(path):
            raise UnsupportedOperation(
                f"run {uid} is being written by this program, into {path}: let it end, or close its writer, first"
            )


def _remove(uid: str, path: str, endings: Sequence[str], *, permanent: bool) -> None:
    try:
        if permanent:
            os.unlink(path)  # of a link, the link: what it points to is not in this catalog
        else:
            _move(path, os.path.join(os.path.dirname(path), REMOVED), endings)
    except OSError as error:
        if not os.path.lexists(path):  # somebody else was faster
            return
        how = "deleted" if permanent else f"moved into the folder {REMOVED} beside it"
        raise StoreUnavailable(
            f"run {uid} stays, {path} cannot be {how}: {error.strerror or error}. Let somebody remove it who may write "
            "there, or see that there is room and no other program has it open"
        ) from error


def _move(path: str, folder: str, endings: Sequence[str]) -> None:
    os.makedirs(folder, exist_ok=True)
    target = _reserved(folder, os.path.basename(path), endings)
    try:
        os.replace(path, target)
    except OSError:  # of nothing else is it certain that the name is still that of an empty file
        os.unlink(target)
        raise


def _reserved(folder: str, name: str, endings: Sequence[str]) -> str:
    """Take a name, with a number where it is another file's, which renaming would replace."""
    ending = next((one for one in endings if name.endswith(one)), "")
    for number in count(1):
        free = name if number == 1 else f"{name.removesuffix(ending)}.{number}{ending}"
        with suppress(FileExistsError):
            target = os.path.join(folder, free)
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            return target
    raise AssertionError  # there is always another number
