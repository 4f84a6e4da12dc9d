"""The files that a run refers to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from intake_bluesky.assets.images.sequence import SequenceReader
from intake_bluesky.assets.location import Location, locate
from intake_bluesky.assets.options import AssetOptions
from intake_bluesky.assets.reader_registry import datum_readers, stream_reader
from intake_bluesky.documents.model import RunHeader
from intake_bluesky.errors import IntakeBlueskyError
from intake_bluesky.runtime.secrets import shown
from intake_bluesky.runtime.threads import run_all

__all__ = ["MOST", "AssetFile", "asset_files", "looked_at", "sequence_files"]

MOST: Final = 10**6
"""Frames of one sequence whose files are listed: documents may claim any number."""


class AssetFile(NamedTuple):
    """One file: where it is after `root_map`, whether it exists, and its size in bytes.

    None is the size of what is not there, and of a folder in a bucket.

    `problem` says why nothing is known of it: that its document may not name it and what to do about that, as reading
    it says; or why it cannot be looked for. It is empty for a file that is there, and for one that just is not.
    """

    path: str
    exists: bool
    size: int | None
    problem: str = ""


def asset_files(what: RunHeader | Mapping[str, Any], options: AssetOptions | None = None) -> list[AssetFile]:
    """List the files of a run, or of one resource or stream resource, each once.

    Parameters
    ----------
    what : RunHeader or dict
    options : AssetOptions

    Returns
    -------
    list of AssetFile
        Of a sequence the files that exist (which there should be its datums say, see `sequence_files`). What an
        untrusted document may not read is listed with ``exists=False``, and the reason.

    Examples
    --------
    >>> asset_files({"uri": "file://localhost/nowhere/x.h5", "mimetype": "application/x-hdf5"})
    [AssetFile(path='/nowhere/x.h5', exists=False, size=None, problem='')]
    """
    options = options or AssetOptions()
    if isinstance(what, RunHeader):
        resources: Iterable[Mapping[str, Any]] = (*what.resources, *(a.resource for a in what.stream_assets))
    else:
        resources = [what]
    found = {file.path: file for resource in resources for file in _files(resource, options)}
    return list(found.values())


def _files(resource: Mapping[str, Any], options: AssetOptions) -> list[AssetFile]:
    if not {"uri", "resource_path"} & resource.keys():
        return []  # it names no file: the run has stream datums of it, and not the resource
    try:
        here = locate(resource, options)
    except IntakeBlueskyError as error:
        return [_not_there(str(resource.get("uri") or resource.get("resource_path")), error)]
    streamed = "data_key" in resource or "mimetype" in resource
    reader = stream_reader(resource, options) if streamed else datum_readers(resource, [], {}, options)[0][0]
    # An unreadable resource has the path of the document, before `root_map`: its location is the better answer.
    listed = reader.files() if reader.path == here.path else [here]
    return [looked_at(location) for location in listed or [here]]


def sequence_files(reader: SequenceReader, frames: Sequence[range]) -> list[AssetFile]:
    """List the files that hold some frames of a sequence, existing or not.

    Of more than `MOST` frames only the files that exist, and the last.
    """
    if sum(map(len, frames)) > MOST:
        last = max(part.stop for part in frames)
        files = [*reader.files(), *reader.files_of([range(last - 1, last)])]
    else:
        files = reader.files_of(frames)
        if not reader.location.is_local:
            with suppress(OSError):  # a server is asked once for all names, which fsspec then knows
                reader.files()
    found: dict[str, AssetFile] = {}
    run_all(lambda file: found.update({file.path: looked_at(file)}), files)
    return [found[file.path] for file in {file.path: file for file in files}.values()]


def looked_at(location: Location) -> AssetFile:
    """A file or folder as it is now; what is neither, or may not be read, is not there."""
    try:
        location.check()
        try:
            size: int | None = location.status()[1]
        except FileNotFoundError:
            if not location.is_remote_folder():
                raise
            size = None
        return AssetFile(shown(location.path), exists=True, size=size)
    # UntrustedName, which is an OSError: a link to where the document may not look, of which nothing is told.
    # ImportError: fsspec's package for the scheme, such as s3fs, is not installed. ValueError: it knows no such scheme.
    except (OSError, ImportError, ValueError) as error:
        return _not_there(shown(location.path), error)


def _not_there(path: str, error: Exception) -> AssetFile:
    missing = isinstance(error, FileNotFoundError | NotADirectoryError)
    return AssetFile(path, exists=False, size=None, problem="" if missing else shown(str(error)))
