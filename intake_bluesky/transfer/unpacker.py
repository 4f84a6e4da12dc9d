"""Packs from elsewhere, copied into a folder or into a catalog: what is not as it was packed is told and left out."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from intake_bluesky.assets.options import AssetOptions
from intake_bluesky.catalogs.drivers import driver_of, opened_by
from intake_bluesky.errors import CopyFailed, DamagedPack, UnsupportedOperation
from intake_bluesky.runtime.progress import track
from intake_bluesky.transfer.asset_names import ASSETS
from intake_bluesky.transfer.manifest import CATALOG, DOCUMENTS, Manifest, NamedFile, PackedFile, PackedRun
from intake_bluesky.transfer.pack_sources import PackSource
from intake_bluesky.transfer.pack_targets import PackTarget, target_for
from intake_bluesky.transfer.report import CopiedFile, CopyReport
from intake_bluesky.transfer.sources import Source, Sources

__all__ = ["OpenedRuns", "PackedSources", "opened_runs", "unpack_into"]


class PackedSources(Sources):
    """Runs in a folder of a pack, whose documents may name files in that folder alone.

    Parameters
    ----------
    form : str
        Of documents.
    paths : list of str
    root_map : dict of str to str
    refused : mapping of str to str
        Runs that are not copied, and why.
    """

    def __init__(
        self, form: str, paths: list[str], root_map: Mapping[str, str], refused: Mapping[str, str] | None = None
    ) -> None:
        driver: Any = driver_of(f".{form}", opened_by(lambda driver: driver.suffixes))
        catalog = driver(paths)
        super().__init__(catalog)
        self.problems = {problem.where: problem.message for problem in catalog.problems}
        self._options = AssetOptions(root_map=dict(root_map), trusted=False)
        self._uids = [uid for uid in self._uids if uid not in (refused or {})]

    def __iter__(self) -> Iterator[Source | str]:
        for source in super().__iter__():
            yield source if isinstance(source, str) else source._replace(assets=self._options)


@dataclass(frozen=True, slots=True)
class OpenedRuns:
    """The runs of a pack, for a catalog to copy.

    Attributes
    ----------
    sources : PackedSources
    refused : dict of str to str
        Runs that are not among them, since something of them is damaged.
    damaged : dict of str to str
        Files that are damaged, missing or unknown.
    folder, place : str
        Where the files are now, and where the pack is.
    """

    sources: PackedSources
    refused: dict[str, str]
    damaged: dict[str, str]
    folder: str
    place: str

    def told(self, report: CopyReport) -> CopyReport:
        """The report of copying them, with what was not, and with the paths of the pack itself."""
        report.refused |= self.refused
        report.missing = {path.replace(self.folder, self.place): why for path, why in report.missing.items()}
        report.missing |= self.damaged
        report.files = [replace(one, path=one.path.replace(self.folder, self.place)) for one in report.files]
        return report


def unpack_into(pack: PackSource, into: Path) -> CopyReport:
    """Copy a pack into a folder, or a zip file, where it is a pack again.

    Raises
    ------
    UnsupportedOperation
        When something else is there.
    CopyFailed
        When the disk fails, or would be full.
    """
    with target_for(into) as target:
        if target.previous is not None and target.previous.runs.keys() != pack.manifest.runs.keys():
            raise UnsupportedOperation(f"{into} is another pack: unpack into a new folder")
        report = CopyReport()
        try:
            _check_space(pack, target, into)
            _copy_files(pack, target, into, report)
            manifest = _what_is_there(pack.manifest, target, report)
            target.finish(manifest)
        except OSError as error:
            so_far = f"So far: {report.head}. Once that is mended, the same call goes on from here"
            raise CopyFailed(f"unpacking stopped: {error}. {so_far}", report) from error
    report.root_map = manifest.root_map
    known = {} if target.previous is None else target.previous.runs
    for run in manifest.runs.values():
        (report.skipped if known.get(run.uid) == run else report.copied).append(run.uid)
    report.documents = sum(manifest.runs[uid].documents for uid in report.copied)
    return report


def _check_space(pack: PackSource, target: PackTarget, into: Path) -> None:
    needed = sum(file.size for path, file in pack.manifest.files.items() if path not in target.files)
    folder = next(folder for folder in (into, *into.parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(f"the pack says that its files have {needed:,} bytes, and the disk of {into} has {free:,} free")


def _copy_files(pack: PackSource, target: PackTarget, into: Path, report: CopyReport) -> None:
    report.missing.update(dict(pack.problems(read=False)))
    files = [file for path, file in pack.manifest.files.items() if path != CATALOG and path not in report.missing]
    for file in track(files, total=len(files), what="unpacking"):
        there = target.files.get(file.path)
        new = there is None or there.sha256 != file.sha256
        if new:
            try:
                written = target.put(file.path, pack.blocks(file), source=file.source, stamp=file.stamp)
            except DamagedPack as error:
                report.missing[file.path] = str(error)
                continue
            target.keep(written)
        if not file.path.startswith(f"{DOCUMENTS}/"):
            copy = str(into / file.path)
            report.files.append(CopiedFile(str(pack.place / file.path), copy, file.size, file.sha256, new=new))


def _what_is_there(packed: Manifest, target: PackTarget, report: CopyReport) -> Manifest:
    """The manifest of what was copied; runs without their documents are none."""
    files = {path: file for path, file in target.files.items() if path in packed.files}
    runs = {}
    for run in packed.runs.values():
        if run.path in files:
            runs[run.uid] = replace(run, files=tuple(_named(one, files, report) for one in run.files))
        else:
            report.refused[run.uid] = f"its documents, {run.path}: {report.missing.get(run.path, 'they are missing')}"
    return replace(packed, runs=runs, files=files)


def _named(file: NamedFile, files: Mapping[str, PackedFile], report: CopyReport) -> NamedFile:
    if file.path is None and file.problem:
        report.missing[file.source] = f"it is not in the pack: {file.problem}"
    if file.path is None or file.path in files:
        return file
    return NamedFile(file.source, None, report.missing.get(file.path, "it is missing"))


@contextmanager
def opened_runs(pack: PackSource, beside: str) -> Iterator[OpenedRuns]:
    """The runs of a pack that are as they were packed, for a catalog to copy; a zip file is unpacked for that time."""
    near = None if "://" in beside else beside  # of a bucket, where this machine has its temporary files
    if near is not None:
        os.makedirs(near, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=near) as temporary:
        folder, damaged = pack.place, {}
        if not pack.place.is_dir():
            folder = Path(temporary, "pack")
            told = {file.source for run in pack.manifest.runs.values() for file in run.files if file.path is None}
            missing = unpack_into(pack, folder).missing
            damaged = {path: why for path, why in missing.items() if path not in told}
        else:
            paths = pack.problems()
            damaged = dict(track(paths, total=None, what="checking"))
        refused = {run.uid: why for run in pack.manifest.runs.values() for why in _damages(run, damaged)}
        # Not the places of files that were left elsewhere: a pack may say that these are anywhere.
        own = {root: place for root, place in pack.manifest.root_map.items() if place.startswith(f"{ASSETS}/")}
        root_map = {root: str(folder / place) for root, place in own.items()}
        sources = PackedSources(pack.manifest.form, [str(folder / DOCUMENTS)], root_map, refused)
        yield OpenedRuns(sources, refused, damaged, str(folder), str(pack.place))


def _damages(run: PackedRun, damaged: Mapping[str, str]) -> Iterator[str]:
    for path in (run.path, *(file.path for file in run.files)):
        if path is not None and path in damaged:
            yield f"{path}: {damaged[path]}"
            return
