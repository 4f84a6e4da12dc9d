"""Runs copied into a catalog, `copy`, and into archives, `pack` and `unpack`; and the `CopyReport` of what was done."""

from __future__ import annotations

import os
from typing import Literal, TypeAlias, get_args

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.transfer.assets.embedding import Embedding
from intake_bluesky.transfer.assets.file_copies import FileCopies
from intake_bluesky.transfer.copier import Copier
from intake_bluesky.transfer.packs import PackAssets, PackFormat, check_pack, pack, unpack
from intake_bluesky.transfer.report import CopiedFile, CopyReport, EmbeddedArray
from intake_bluesky.transfer.sources import Runs, Sources
from intake_bluesky.transfer.targets import assets_place, check_into

__all__ = [
    "Assets", "CopiedFile", "CopyReport", "EmbeddedArray", "PackAssets", "PackFormat", "Runs", "Unfinished",
    "check_pack", "copy", "pack", "unpack",
]  # fmt: skip

Assets: TypeAlias = Literal["link", "copy", "embed"]
Unfinished: TypeAlias = Literal["skip", "copy"]


def copy(
    runs: Runs,
    into: BlueskyCatalog,
    *,
    assets: Assets = "link",
    assets_into: str | os.PathLike[str] | None = None,
    unfinished: Unfinished = "skip",
    dry_run: bool = False,
) -> CopyReport:
    """Copy runs into a catalog, of whatever drivers both are; each copy is read back and compared with its source.

    Documents are copied as the source's catalog shows them, `BlueskyRun.documents`. A run that is there already, and is
    the same, is passed over; so the same call, after whatever ended it, goes on where it was. A run that cannot be
    copied is in the report with the reason, and the others are copied.

    Parameters
    ----------
    runs : BlueskyCatalog, BlueskyRun, or list of BlueskyRun
        A catalog, or what a search in one found.
    into : BlueskyCatalog
        One that can be written.
    assets : {"link", "copy", "embed"}
        What becomes of the files that detectors wrote: ``"link"`` leaves them, both catalogs refer to the same files;
        ``"copy"`` copies those that the runs name into `assets_into`, with checksums; ``"embed"`` writes their arrays
        into a Zarr catalog, whatever its own ``arrays``, and reads them back. A run whose files are not all there is
        then refused.
    assets_into : str or Path, optional
        A folder of this machine, or the URL of one in a bucket; by default ``assets`` in the folder, or bucket, into
        which runs are copied. A bucket is reached by the `storage_options` of `into`, by which that reads the copies,
        too. Documents are never changed: `CopyReport.root_map` is what a catalog needs to find the copies.
    unfinished : {"skip", "copy"}
        What to do with runs without a stop, which may be going on: pass over, or copy what there is. A later call
        copies them anew once they have ended.
    dry_run : bool
        Read and compare, write nothing.

    Returns
    -------
    CopyReport

    Raises
    ------
    UnsupportedOperation, StoreUnavailable
        When the catalog, or this user, may not write.
    CopyFailed
        When either store fails as a whole, such as by a full disk: it has the report of what was done.

    Examples
    --------
    >>> from intake_bluesky import BlueskyCatalog, ingest
    >>> from intake_bluesky.testing import EXAMPLES, MemoryStore
    >>> cat = BlueskyCatalog(MemoryStore(EXAMPLES[name](None) for name in ("count", "scan", "failed")))
    >>> other = BlueskyCatalog(MemoryStore())
    >>> ingest.copy(cat.search(plan_name="scan"), into=other)
    2 runs copied (17 documents)
    >>> report = ingest.copy(cat, into=other)
    >>> len(report.copied), len(report.skipped)
    (1, 2)
    """
    for name, value, known in (("assets", assets, get_args(Assets)), ("unfinished", unfinished, get_args(Unfinished))):
        if value not in known:
            raise UnsupportedOperation(f"{name} is {' or '.join(map(repr, known))}, not {value!r}")
    check_into(into, dry_run=dry_run)
    if assets_into is not None and assets != "copy":
        raise UnsupportedOperation("assets_into is where files are copied to: give assets='copy' as well")
    files: FileCopies | Embedding | None = None
    if assets == "copy":
        files = FileCopies(assets_place(into, assets_into), dry_run=dry_run)
    elif assets == "embed":
        files = Embedding(into.store, dry_run=dry_run)
    return Copier(into.store, files, unfinished=unfinished == "copy", dry_run=dry_run).copy(Sources(runs))
