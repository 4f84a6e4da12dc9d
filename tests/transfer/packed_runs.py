"""Runs whose files are of every kind that a pack has to bring along, and what is read of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
import zarr

from intake_bluesky import BlueskyCatalog
from intake_bluesky.errors import IntakeBlueskyError
from intake_bluesky.testing import EXAMPLES, MemoryStore, Run, RunComposer, data_key
from intake_bluesky.testing.asset_runs import DATASET, HDF5, IMAGE, frames, write_hdf5

FILLABLE = data_key("array", [1, 4, 6], external="FILESTORE:")


def streamed(label: str, path: Path | str, mimetype: str = HDF5, count: int = 3, **parameters: Any) -> Run:
    """A run with frames in one file, or folder, by stream resource."""
    run = RunComposer(label)
    primary = run.descriptor({"image": IMAGE})
    uri = path if isinstance(path, str) else f"file://localhost{path}"
    image = run.stream_resource("image", mimetype=mimetype, uri=uri, **{"dataset": DATASET, **parameters})
    run.stream_datum(image, primary, (1, count + 1))
    run.stop()
    return run.documents


def master(path: Path, *names: str) -> Path:
    """A virtual dataset of datasets in other files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = h5py.VirtualLayout((3 * len(names), 4, 6), "<u2")
    for number, name in enumerate(names):
        layout[3 * number : 3 * number + 3] = h5py.VirtualSource(name, DATASET, (3, 4, 6))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset(DATASET, layout)
    return path


def linked_runs(folder: Path) -> list[Run]:
    """Runs whose HDF5 files lead to others: beside them, above them, by absolute names, by links of links."""
    write_hdf5(folder / "raw" / "near.h5", frames(3))
    write_hdf5(folder / "far" / "far.h5", frames(3, first=3))
    virtual = master(folder / "raw" / "virtual.h5", "near.h5", "../far/far.h5")
    absolute = master(folder / "other" / "absolute.h5", str(folder / "far" / "far.h5"))
    with h5py.File(folder / "raw" / "link.h5", "w", userblock_size=512) as file:
        file[DATASET] = h5py.ExternalLink("virtual.h5", DATASET)
    with h5py.File(folder / "raw" / "outside.h5", "w") as file:
        np.zeros(72, "<u2").tofile(folder / "raw" / "outside.bin")
        file.create_dataset(DATASET, (3, 4, 6), "<u2", external=[("outside.bin", 0, 144)])
    return [
        streamed("virtual", virtual, count=6),
        streamed("absolute", absolute),
        streamed("link", folder / "raw" / "link.h5", count=6),
        streamed("outside", folder / "raw" / "outside.h5"),
    ]


def folder_run(folder: Path) -> Run:
    """A run whose array is a folder, of Zarr."""
    group = zarr.open_group(str(folder / "image.zarr"), mode="w")
    group.create_array("data", shape=(3, 4, 6), chunks=(1, 4, 6), dtype="<u2")[...] = frames(3)
    return streamed("folder", folder / "image.zarr", "application/x-zarr", dataset="data")


def eiger_run(folder: Path) -> Run:
    """A run with a series of an Eiger: a master, and two files that its links lead to."""
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "e_7_master.h5", "w") as file:
        for number in (1, 2):
            write_hdf5(folder / f"e_7_data_00000{number}.h5", frames(2, first=2 * number), dataset="data")
            file[f"entry/data/data_00000{number}"] = h5py.ExternalLink(f"e_7_data_00000{number}.h5", "data")
    run = RunComposer("eiger")
    primary = run.descriptor({"image": data_key("array", [4, 4, 6], external="FILESTORE:")})
    resource = run.resource("AD_EIGER2", root=str(folder), path="e", images_per_file=2)
    run.event(primary, {"image": run.datum(resource, 0, seq_id=7)}, filled={"image": False})
    run.stop()
    return run.documents


def all_runs(folder: Path) -> list[Run]:
    """All of these, and the examples, each with a folder of its own."""
    examples = [EXAMPLES[name](folder / "examples" / name) for name in EXAMPLES]
    (folder / "zarr").mkdir(parents=True)
    return [*examples, *linked_runs(folder / "linked"), folder_run(folder / "zarr"), eiger_run(folder / "eiger")]


def catalog(*runs: Run, **options: Any) -> BlueskyCatalog:
    return BlueskyCatalog(MemoryStore(runs), **options)


def read_all(cat: BlueskyCatalog) -> dict[tuple[str, str], xr.Dataset | str]:
    """The Datasets of all streams, or how reading one fails."""
    found: dict[tuple[str, str], xr.Dataset | str] = {}
    for uid in cat:
        for stream in cat[uid]:
            try:
                found[uid, stream] = cat[uid][stream].read()
            except (IntakeBlueskyError, OSError) as error:
                found[uid, stream] = type(error).__name__
    return found


def differing(one: dict[tuple[str, str], Any], other: dict[tuple[str, str], Any]) -> list[tuple[str, str]]:
    """The streams whose Datasets are not identical."""
    assert one.keys() == other.keys()
    return [key for key in one if not _same(one[key], other[key])]


def _same(one: xr.Dataset | str, other: xr.Dataset | str) -> bool:
    if isinstance(one, xr.Dataset) and isinstance(other, xr.Dataset):
        return one.identical(other)
    return isinstance(one, str) and one == other
