"""Runs made of Datasets, `write_run`; copied into a catalog, `copy`, and into archives, `pack` and `unpack`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.transfer.assets.embedding import Embedding
from intake_bluesky.transfer.assets.file_copies import FileCopies
from intake_bluesky.transfer.copier import Copier
from intake_bluesky.transfer.packs import PackAssets, PackFormat, check_pack, pack, unpack
from intake_bluesky.transfer.report import CopiedFile, CopyReport, EmbeddedArray
from intake_bluesky.transfer.sources import Runs, Sources
from intake_bluesky.transfer.targets import assets_place, check_into

if TYPE_CHECKING:
    from intake_bluesky.catalogs.run import BlueskyRun
    from intake_bluesky.transfer.written_runs.write import Arrays, Streams

__all__ = [
    "Assets", "CopiedFile", "CopyReport", "EmbeddedArray", "PackAssets", "PackFormat", "Runs", "Unfinished",
    "check_pack", "copy", "pack", "unpack", "write_run",
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


def write_run(  # what there is to choose, and beside it the run start
    streams: Streams,
    into: BlueskyCatalog,
    *,
    arrays: Arrays = "auto",
    files: str | os.PathLike[str] | None = None,
    dimension: str | None = None,
    check: bool | None = None,
    **start: Any,
) -> BlueskyRun:
    """Write Datasets into a catalog as a run, from which they are read back as they were.

    Variables, coordinates, dimensions, dtypes, attributes and their order are kept; `encoding`, indexes of other
    kinds than xarray makes by itself, and the chunks of dask are not. The run goes in whole, or nothing stays of it.

    Parameters
    ----------
    streams : xarray.Dataset, mapping of str to Dataset, or xarray.DataTree
        A Dataset becomes the stream ``primary``; of a mapping, each stream has a name. Groups of a tree are streams
        called by their paths, its root ``primary``.
    into : BlueskyCatalog
        One that can be written.
    arrays : {"auto", "inline", "hdf5", "zarr"}
        Where values are: in events (``"inline"``), or arrays of numbers in one file of the run, HDF5 or Zarr in a zip
        file, written some chunks of dask at a time. Text is in events. ``"auto"``: up to 1 MiB in events, more in HDF5,
        or Zarr where h5py is missing; without a place for a file, or a library for it, up to 64 MiB in events.
    files : str or Path, optional
        The folder for that file, or the URL of one in a bucket; by default ``assets`` in the folder of the catalog's
        runs. A database has none.
    dimension : str, optional
        The dimension of which each position becomes an event, of all Datasets that have it. By default ``time``, else
        the first dimension of the first data variable that has one.
    check : bool, optional
        Read the run back and compare it, which computes dask arrays twice. By default where it has up to 64 MiB.
    **start
        Fields of the run start: ``plan_name``, ``sample`` ... Without ``uid`` and ``time`` it has a new one, and now.

    Returns
    -------
    BlueskyRun

    Raises
    ------
    DuplicateRun
        When the catalog has a run of this uid.
    UnsupportedOperation
        When the catalog cannot be written, the Dataset has what runs have no form for, or there is no place for a file.
    DamagedRun
        When what is read back is not what was written.
    StoreUnavailable, MissingDependency

    Examples
    --------
    >>> import xarray as xr
    >>> from intake_bluesky import BlueskyCatalog, Data, Start, ingest
    >>> from intake_bluesky.testing import MemoryStore
    >>> cat = BlueskyCatalog(MemoryStore())
    >>> pattern = xr.Dataset({"I": ("tth", [3.0, 9.0, 4.0])}, coords={"tth": [1.0, 1.5, 2.0]}, attrs={"sample": "Si"})
    >>> run = ingest.write_run(pattern, into=cat, plan_name="simulation", parameters={"a": 5.43})
    >>> run.primary.read().identical(pattern)
    True
    >>> len(cat.search((Start("parameters.a") > 5.4) & (Data("I").max() > 8)))
    1
    """
    from intake_bluesky.transfer.written_runs.write import write_datasets

    return write_datasets(streams, into, arrays=arrays, files=files, dimension=dimension, check=check, start=start)
