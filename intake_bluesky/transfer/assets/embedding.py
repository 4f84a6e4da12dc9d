"""Arrays of files, written into a store that keeps arrays beside documents, and read back before the run is copied."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from intake_bluesky.catalogs.run import BlueskyRun
from intake_bluesky.datasets.variables import variable_names
from intake_bluesky.documents.model import RunHeader
from intake_bluesky.errors import AssetUnavailable, DamagedRun, DuplicateRun, RunNotFound, UnsupportedOperation
from intake_bluesky.storage.array_place import KeptArrays
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.transfer.digests import Relation, compare
from intake_bluesky.transfer.report import CopyReport, EmbeddedArray
from intake_bluesky.transfer.run_assets import run_assets
from intake_bluesky.transfer.sources import Source

__all__ = ["Embedding"]

INSTEAD: Final = "copy it with assets='copy'"


class _SourceArray(NamedTuple):
    """An array of files, lazily."""

    stream: str
    key: str
    values: Any
    """Of dask."""


class Embedding:
    """The arrays of files, written into one store.

    They are there, and the same, before the documents are: nobody meets a run without its arrays.

    Parameters
    ----------
    target : RunStore
    dry_run : bool

    Raises
    ------
    UnsupportedOperation
        When the store keeps no arrays.
    """

    def __init__(self, target: RunStore, *, dry_run: bool) -> None:
        if target.array_place is None:
            raise UnsupportedOperation(
                f"arrays cannot be embedded in {target!r}: a copy never changes documents, and only a Zarr catalog "
                "(bluesky-zarr-catalog) keeps arrays beside them. Copy into one, or copy the files with assets='copy'"
            )
        self._target, self._place, self._dry_run = target, target.array_place, dry_run
        self._written: set[str] = set()

    def copy(self, source: Source, report: CopyReport) -> None:
        """Write the arrays of a run, and compare them with those in the files.

        Raises
        ------
        AssetUnavailable, UnsupportedOperation
            When a file is missing, or an array cannot be kept as it is.
        DamagedRun
            When what was written is not what was read.
        DuplicateRun
            When other arrays of the run are there.
        """
        header = source.store.header(source.uid)
        run = BlueskyRun(source.store, header, assets=replace(source.assets, on_missing="raise"))
        arrays = list(_arrays_of(run, header, source))
        if not arrays or self._has_another(header):  # which is told when its documents are compared
            return
        found = self._place.find(header)
        lacking = found is None or any(one.key not in found.get(one.stream, {}) for one in arrays)
        if lacking and not self._dry_run:
            self._check_same(source)
            self._place.write(run)
            self._written.add(source.uid)
            found = self._place.find(header)
        for one in arrays:
            checksum = "" if lacking and self._dry_run else self._compared(source.uid, one, found, new=lacking)
            size = int(one.values.nbytes)
            report.arrays.append(EmbeddedArray(source.uid, one.stream, one.key, size, checksum, new=lacking))

    def _has_another(self, header: RunHeader) -> bool:
        try:
            there = self._target.header(header.uid)
        except (RunNotFound, DamagedRun):
            return False
        return (there.start, there.stop) != (header.start, header.stop)

    def _check_same(self, source: Source) -> None:
        """Refuse to write beside other documents than the source's."""
        ordered = self._target.exact_documents and source.store.exact_documents
        try:
            there = compare(source.store.documents(source.uid), self._target.documents(source.uid), ordered=ordered)
        except RunNotFound:
            return
        if there is not Relation.SAME:
            raise DuplicateRun(f"{self._target!r} has another run of this uid, with other documents")

    def _compared(self, uid: str, array: _SourceArray, found: KeptArrays | None, *, new: bool) -> str:
        """The checksum of the values, those in the files and those that are kept."""
        kept = {} if found is None else found.get(array.stream, {})
        name = f"the array of {array.key!r} in stream {array.stream!r}"
        read, there = _checksums(array.values, kept[array.key]) if array.key in kept else ("", "nothing")
        if read == there:
            return read
        if not new:
            raise DuplicateRun(
                f"{name} is in {self._target!r} already, with other values than the files have: it stays"
            )
        self._place.remove(uid)
        raise DamagedRun(
            f"{name}, read back from {self._target!r}, is not what is in the files: it was taken out again. Did the "
            "files change meanwhile? Is the storage sound?"
        )

    def finish(self, report: CopyReport) -> None:
        """Remove the arrays of runs whose documents were refused after all."""
        for uid in self._written & report.refused.keys():
            try:
                self._target.header(uid)
            except RunNotFound:
                self._place.remove(uid)
        report.arrays = [one for one in report.arrays if one.uid not in report.refused]


def _arrays_of(run: BlueskyRun, header: RunHeader, source: Source) -> Iterator[_SourceArray]:
    """The arrays that are in files, or were, of a run that can be kept whole."""
    found, files = [], False
    for name in header.streams:
        stream = run[name](portable=True, text_dtype="string")
        reader = stream._reader
        files = files or bool(reader.assets)
        keys = [key for key, spec in reader.specs.items() if key in reader.assets or "external" in spec]
        dataset = stream.to_dask() if keys else None
        names = variable_names(reader.specs)
        for key in keys:
            values = None if dataset is None else dataset.variables.get(names[key])
            if key in reader.assets or values is not None:
                problem = _problem(reader, key, None if values is None else values.dtype)
                if problem:
                    raise UnsupportedOperation(
                        f"the array of {key!r} in stream {name!r} cannot be embedded: {problem}. {INSTEAD.capitalize()}"
                    )
                found.append(_SourceArray(name, key, values.data if values is not None else None))
    if files:
        _check_files(source)
    if found and header.stop is None:
        raise UnsupportedOperation("arrays are embedded once a run has its stop: copy again when it has ended")
    return iter(found)


def _problem(reader: Any, key: str, dtype: np.dtype[Any] | None) -> str:
    """Why an array would not be given for the events of its stream."""
    asset = reader.assets.get(key)
    if dtype is None or dtype.kind not in "biufc":
        return f"its values are no plain numbers ({'structures' if dtype is None else dtype})"
    if not reader.rows.whole:
        return "its frames are not one for each stored event, as after a rewind, or where no events are stored"
    if asset is not None and not asset.on_rows:
        return "frames of several events are joined into one axis"
    if asset is not None and (asset.fill or len(asset.missing)):
        return f"{len(asset.missing)} of its rows have no frames"
    return ""


def _check_files(source: Source) -> None:
    missing = {asset.path: asset.problem for asset in run_assets(source) if asset.location is None}
    for path, problem in missing.items():
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise AssetUnavailable(f"its arrays cannot be embedded whole: {path}{more}: {problem}")


def _checksums(values: Any, kept: Any) -> tuple[str, str]:
    """Those of a lazy array, and of a kept one, both read piece by piece in the order of the kept one's objects."""
    read, there = hashlib.sha256(), hashlib.sha256()
    for digest, array in ((read, values), (there, kept)):
        digest.update(f"{array.shape} {array.dtype.newbyteorder('=')}".encode())
    unit = getattr(kept, "shards", None) or kept.chunks
    ranges = (range(0, length, step) for length, step in zip(kept.shape, unit, strict=True))
    for begin in itertools.product(*ranges) if values.shape == kept.shape else ():
        part = tuple(slice(first, first + step) for first, step in zip(begin, unit, strict=True))
        for digest, piece in ((read, values[part].compute(scheduler="threads")), (there, kept[part])):
            digest.update(np.ascontiguousarray(piece, dtype=kept.dtype.newbyteorder("=")).tobytes())
    return read.hexdigest(), there.hexdigest()
