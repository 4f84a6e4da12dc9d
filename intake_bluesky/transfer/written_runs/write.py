"""`write_run`: Datasets into a catalog, whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from uuid import uuid4

import xarray as xr
from event_model import DocumentNames, schema_validators

from intake_bluesky.catalogs.run import BlueskyRun
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.datasets.variables import storable
from intake_bluesky.documents.model import DEFAULT_STREAM, Document, to_plain
from intake_bluesky.errors import (
    DamagedRun,
    DuplicateRun,
    IntakeBlueskyError,
    MissingDependency,
    RunNotFound,
    StoreUnavailable,
    UnsupportedOperation,
)
from intake_bluesky.transfer.assets.file_places import FilePlace
from intake_bluesky.transfer.targets import assets_place, check_into
from intake_bluesky.transfer.written_runs.array_files import ArrayFile, HDF5File, ZarrFile
from intake_bluesky.transfer.written_runs.compare import difference
from intake_bluesky.transfer.written_runs.composed import ComposedRun

__all__ = ["Arrays", "Streams", "write_datasets"]

Arrays: TypeAlias = Literal["auto", "inline", "hdf5", "zarr"]
Streams: TypeAlias = "xr.Dataset | xr.DataTree | Mapping[str, xr.Dataset]"
FILES: Final[Mapping[str, type[ArrayFile]]] = {"hdf5": HDF5File, "zarr": ZarrFile}
SMALL: Final = 2**20
"""Bytes of all values of a run up to which they are in its events."""
MOST_INLINE: Final = 2**26
"""Bytes up to which they are, where there is no place for a file, or no library for one."""
CHECKED: Final = 2**26
"""Bytes up to which a run is read back and compared, unless the caller says."""


@dataclass(slots=True)
class _Written:
    """The file of a run, if it has one."""

    file: ArrayFile | None = None
    place: FilePlace | None = None
    path: str = ""

    @property
    def uri(self) -> str:
        """What documents call it."""
        if self.place is None:
            return ""
        at = self.place.at(self.path)
        return at if "://" in at else Path(at).as_uri().replace("file://", "file://localhost", 1)

    def remove(self) -> None:
        """Take it away again."""
        if self.place is not None:
            self.place.remove(self.path)


def write_datasets(
    streams: Streams,
    into: BlueskyCatalog,
    *,
    arrays: Arrays,
    files: str | os.PathLike[str] | None,
    dimension: str | None,
    check: bool | None,
    start: Mapping[str, Any],
) -> BlueskyRun:
    """Do what `intake_bluesky.ingest.write_run` says."""
    if arrays not in ("auto", *FILES, "inline"):
        raise UnsupportedOperation(f"arrays is 'auto', 'inline', 'hdf5' or 'zarr', not {arrays!r}")
    if files is not None and arrays == "inline":
        raise UnsupportedOperation("files is the folder for arrays that are not in events: leave out arrays='inline'")
    check_into(into)
    datasets = _datasets(streams, dimension)
    first = _start(start)
    _refuse_known(into, first["uid"])
    run = ComposedRun(first, datasets, dimension)
    size = run.inline_bytes
    written = _Written()
    kind = _chosen(into, arrays, files, size)
    if kind is not None:
        run.move_out()
    if kind is not None and run.arrays:
        written = _Written(kind, assets_place(into, files, argument="files"), "")
        written.path = f"{storable(first['uid'])}-{uuid4().hex[:8]}{kind.ending}"
    return _insert(run, datasets, into, written, checked=size <= CHECKED if check is None else check)


def _insert(
    run: ComposedRun, datasets: Mapping[str, xr.Dataset], into: BlueskyCatalog, written: _Written, *, checked: bool
) -> BlueskyRun:
    """Write the file, then the documents; where anything fails, neither stays."""
    uid, store = run.start["uid"], into.store
    _make_file(run, written)
    try:
        [error] = store.insert_runs([run.documents(written.file, written.uri, stopped=time.time())])
        if error is not None:
            raise error
    except BaseException as error:
        written.remove()
        if isinstance(error, OSError) and not isinstance(error, IntakeBlueskyError):
            raise StoreUnavailable(
                f"run {uid} cannot be written into {into!r}: {type(error).__name__}: {error}; nothing of it stays"
            ) from error
        raise
    try:
        store.refresh()
        origin = into.origin
        # Without the transforms of the catalog, which users see the run through.
        stored = BlueskyRun(store, store.header(uid), assets=origin.assets)
        if checked and (found := difference(stored, datasets)):
            raise DamagedRun(f"run {uid}, read back from {into!r}, is not what was written, {found}: it was taken out")
    except BaseException:
        with suppress(RunNotFound):
            store.remove(uid, permanent=True)
        written.remove()
        raise
    return into._opened(origin.store.header(uid))


def _make_file(run: ComposedRun, written: _Written) -> None:
    if written.file is None or written.place is None:
        return
    file, arrays = written.file, run.arrays
    write: Callable[[str], None] = lambda path: file.write(path, arrays)  # noqa: E731
    try:
        written.place.make(written.path, write)
    except IntakeBlueskyError:
        raise
    except OSError as error:
        where = written.place.at(written.path)
        raise StoreUnavailable(
            f"the arrays of run {run.start['uid']} cannot be written to {where}: {type(error).__name__}: {error}; "
            "nothing of the run was written"
        ) from error


def _datasets(streams: Any, dimension: str | None) -> dict[str, xr.Dataset]:
    """The Dataset of each stream, by its name."""
    if isinstance(streams, xr.Dataset):
        found: dict[Any, Any] = {DEFAULT_STREAM: streams}
    elif isinstance(streams, xr.DataTree):
        full = {node.path.strip("/"): _of_node(node) for node in streams.subtree if node.has_data or node.attrs}
        found = {path or DEFAULT_STREAM: dataset for path, dataset in full.items()}
        if len(found) < len(full):
            raise UnsupportedOperation(
                f"the root of the tree has data, which is stream {DEFAULT_STREAM!r}, and so is its child of that name: "
                "give a mapping of stream names to Datasets"
            )
    else:
        found = dict(streams) if isinstance(streams, Mapping) else {}
    if not found:
        raise UnsupportedOperation(
            f"write_run takes an xarray.Dataset, a DataTree with data, or a mapping of stream names to Datasets, not "
            f"{'an empty one' if isinstance(streams, (Mapping, xr.DataTree)) else type(streams).__name__}"
            f"{': give array.to_dataset(name=...)' if isinstance(streams, xr.DataArray) else ''}"
        )
    for name, dataset in found.items():
        if type(name) is not str or not name or not isinstance(dataset, xr.Dataset):
            raise UnsupportedOperation(
                f"stream {name!r} is a {type(dataset).__name__}: a stream has a text as its name, and an xarray.Dataset"
            )
    if dimension is not None and not any(dimension in dataset.sizes for dataset in found.values()):
        raise UnsupportedOperation(f"no Dataset has the dimension {dimension!r} to make events of")
    return found


def _of_node(node: xr.DataTree) -> xr.Dataset:
    """The Dataset of a group, with the coordinates of groups above that its dimensions have."""
    own, whole = node.to_dataset(inherit=False), node.to_dataset()
    return whole.drop_vars([name for name in whole.variables.keys() - own.variables.keys() if name not in own.dims])


def _start(given: Mapping[str, Any]) -> Document:
    """The run start document, of event-model's form."""
    start: Document = to_plain({"uid": str(uuid4()), "time": time.time(), **given})
    schema = schema_validators[DocumentNames.start]
    if (error := next(iter(sorted(schema.iter_errors(start), key=str)), None)) is not None:
        where = ".".join(map(str, error.absolute_path)) or "it"
        raise UnsupportedOperation(f"the run start is not of event-model's form: of {where!r}, {error.message}")
    return start


def _refuse_known(into: BlueskyCatalog, uid: str) -> None:
    # Before a file is written; the store itself refuses a run that comes in between.
    try:
        into.store.header(uid)
    except (RunNotFound, StoreUnavailable):
        return
    except DamagedRun:
        pass
    raise DuplicateRun(f"{into!r} has a run {uid} already: remove it first, or write another uid")


def _chosen(into: BlueskyCatalog, arrays: Arrays, files: str | os.PathLike[str] | None, size: int) -> ArrayFile | None:
    """The kind of file for the arrays; None where they are to be in events."""
    if arrays in FILES:
        FILES[arrays].check_installed()
        return FILES[arrays]()
    if arrays == "inline" or size <= SMALL:
        return None
    missing = "its catalog has no folder for files: give files=, a folder or the URL of one"
    if files is not None or into.store.folder is not None:
        for kind in FILES.values():
            with suppress(MissingDependency):
                kind.check_installed()
                return kind()
        missing = 'neither h5py nor zarr is installed to write it to a file: pip install "bluesky-intake[assets]"'
    if size <= MOST_INLINE:
        return None
    raise UnsupportedOperation(
        f"the run has {size:,} bytes of values, too many to be in events unless arrays='inline' says so, and {missing}"
    )
