"""Archives of runs: `pack`, `unpack` and `check_pack`, which `intake_bluesky.ingest` offers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.runtime.progress import track
from intake_bluesky.runtime.secrets import shown
from intake_bluesky.transfer.assets.file_copies import FileCopies
from intake_bluesky.transfer.copier import Copier
from intake_bluesky.transfer.databroker_packs import DatabrokerPack, databroker_pack
from intake_bluesky.transfer.pack_sources import open_pack
from intake_bluesky.transfer.pack_targets import target_for
from intake_bluesky.transfer.packer import RunPacker
from intake_bluesky.transfer.report import CopyReport
from intake_bluesky.transfer.sources import Runs, Sources
from intake_bluesky.transfer.targets import assets_place, check_into
from intake_bluesky.transfer.unpacker import PackedSources, opened_runs, unpack_into

__all__ = ["PackAssets", "PackFormat", "check_pack", "pack", "unpack"]

PackAssets: TypeAlias = Literal["copy", "link"]
PackFormat: TypeAlias = Literal["jsonl", "msgpack"]
Place: TypeAlias = str | os.PathLike[str]


def pack(runs: Runs, into: Place, *, assets: PackAssets = "copy", format: PackFormat = "jsonl") -> CopyReport:
    """Pack runs and their files into a folder or a zip file, which opens as a catalog wherever it is moved.

    Documents are never changed. The same call goes on after whatever ended it, and on a finished pack copies what is
    new. A run that cannot be packed, and a file that is missing, is in the report and in the pack's manifest.

    Parameters
    ----------
    runs : BlueskyCatalog, BlueskyRun, or list of BlueskyRun
        A catalog, or what a search in one found. Runs without a stop are packed as far as they are there.
    into : str or Path
        A new folder, or a pack that is to have more runs; a zip file, if it ends with ``.zip``.
    assets : {"copy", "link"}
        What becomes of the files that detectors wrote: ``"copy"`` copies them into the pack, ``"link"`` leaves them
        where they are.
    format : {"jsonl", "msgpack"}
        Of the documents. JSONL has no bytes and no complex numbers.

    Returns
    -------
    CopyReport

    Raises
    ------
    CopyFailed
        When a store or a disk fails as a whole: it has the report of what was done.
    UnsupportedOperation
        When something else than a pack is there.

    Examples
    --------
    >>> from intake_bluesky import BlueskyCatalog, ingest
    >>> from intake_bluesky.testing import EXAMPLES, MemoryStore
    >>> cat = BlueskyCatalog(MemoryStore(EXAMPLES[name](None) for name in ("count", "scan")))
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     ingest.pack(cat, f"{folder}/beamtime.zip")
    ...     ingest.check_pack(f"{folder}/beamtime.zip")
    2 runs copied (19 documents)
    {}
    """
    for name, value, known in (("assets", assets, get_args(PackAssets)), ("format", format, get_args(PackFormat))):
        if value not in known:
            raise UnsupportedOperation(f"{name} is {' or '.join(map(repr, known))}, not {value!r}")
    return _pack(Sources(runs), _path(into), assets, format)


def _pack(sources: Sources, into: Path, assets: PackAssets, format: str) -> CopyReport:
    with target_for(into) as target:
        if target.previous is not None and target.previous.form != format:
            raise UnsupportedOperation(f"the documents in {into} are {target.previous.form}: give that as format")
        return RunPacker(target, into, format, copies=assets == "copy").pack(sources)


def unpack(archive: Place, into: Place | BlueskyCatalog, *, assets_into: Place | None = None) -> CopyReport:
    """Copy the runs of a pack into a folder, or into a catalog of any driver, with their files.

    What is read is compared with the checksums of the pack. What is damaged or missing is in the report, and the rest
    is copied. A pack is data: no code that it names is imported, and its documents name no files but its own.

    Parameters
    ----------
    archive : str or Path
        A folder or zip file that `pack` made, or a folder of databroker-pack.
    into : str, Path or BlueskyCatalog
        A new folder, or a zip file, which is a pack again; or a catalog that can be written.
    assets_into : str or Path, optional
        Where files go, for a catalog: as of `copy`.

    Returns
    -------
    CopyReport

    Raises
    ------
    DamagedPack
        When it is no pack, or its manifest cannot be read.
    UntrustedName
        When it names files outside of itself, or has links in it.
    CopyFailed
        As `copy` and `pack`.
    """
    older = databroker_pack(_path(archive))
    if older is not None:
        return _from_databroker(older, into, assets_into)
    with open_pack(archive) as opened:
        if not isinstance(into, BlueskyCatalog):
            if assets_into is not None:
                raise UnsupportedOperation("assets_into is for catalogs: in a folder files are in assets")
            return unpack_into(opened, _path(into))
        place = assets_place(into, assets_into)
        with opened_runs(opened, place.at("")) as runs:
            return runs.told(_copied(runs.sources, into, FileCopies(place, dry_run=False)))


def check_pack(archive: Place) -> dict[str, str]:
    """Compare all files of a pack with its checksums, and give what is damaged, missing or unknown: path and why.

    Raises
    ------
    DamagedPack, UntrustedName
        When its manifest cannot be read, or names what it may not.
    """
    with open_pack(archive) as opened:
        return dict(track(opened.problems(), total=None, what="checking"))


def _from_databroker(older: DatabrokerPack, into: Place | BlueskyCatalog, assets_into: Place | None) -> CopyReport:
    sources = PackedSources(older.form, older.paths, older.root_map)
    if isinstance(into, BlueskyCatalog):
        report = _copied(sources, into, FileCopies(assets_place(into, assets_into), dry_run=False))
    else:
        report = _pack(sources, _path(into), "copy", older.form)
    report.missing |= older.missing | sources.problems
    return report


def _copied(sources: Sources, into: BlueskyCatalog, files: FileCopies) -> CopyReport:
    check_into(into)
    return Copier(into.store, files, unfinished=True, dry_run=False).copy(sources)


def _path(place: Place) -> Path:
    if "://" in os.fspath(place):
        raise UnsupportedOperation(f"packs are in local folders and zip files, not at {shown(os.fspath(place))}")
    return Path(place).expanduser().absolute()
