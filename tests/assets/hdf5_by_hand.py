"""Files as areaDetector, Eiger and Xspress3 write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from tests.assets.by_hand import DATASET, Array, write

ATTRIBUTES = "/entry/instrument/NDAttributes"
DETECTOR = "/entry/instrument/detector/data"


def eiger(
    prefix: Path,
    seq_id: int,
    images: Array,
    *,
    per_file: int = 1,
    group: str = "/entry/data",
    kind: str = "links",
    **how: Any,
) -> list[Path]:
    """Write a series: the master first, then its data files.

    Parameters
    ----------
    kind : {"links", "virtual", "both"}
        Whether the master has links to data files, or a virtual dataset of them all.
    """
    parts = [images[start : start + per_file] for start in range(0, len(images), per_file)]
    files = [prefix.with_name(f"{prefix.name}_{seq_id}_data_{n:06d}.h5") for n in range(1, len(parts) + 1)]
    how = how or {**hdf5plugin.Bitshuffle()}
    for file, part in zip(files, parts, strict=True):
        write(file, part, **how)
    layout = h5py.VirtualLayout(images.shape, images.dtype)
    master = prefix.with_name(f"{prefix.name}_{seq_id}_master.h5")
    with h5py.File(master, "w") as out:
        out["/entry/instrument/detector/frame_time"] = 0.1
        for number, (file, part) in enumerate(zip(files, parts, strict=True)):
            if kind != "virtual":
                out[f"{group}/data_{number + 1:06d}"] = h5py.ExternalLink(file.name, DATASET)
            layout[number * per_file : number * per_file + len(part)] = h5py.VirtualSource(
                file.name, DATASET, part.shape, part.dtype
            )
        if kind != "links":
            out.create_virtual_dataset(f"{group}/data", layout)
    return [master, *files]


def timed(path: Path, seconds: Array, nanoseconds: Array) -> Path:
    """The attributes of frames, as NDFileHDF5 writes them."""
    with h5py.File(path, "w") as file:
        for name, values in (("NDArrayEpicsTSSec", seconds), ("NDArrayEpicsTSnSec", nanoseconds)):
            file.create_dataset(f"{ATTRIBUTES}/{name}", data=values, chunks=(2, *values.shape[1:]))
    return path


def single_files(folder: Path, flat: Array, template: str = "img_%6.6d.h5", **how: Any) -> list[Path]:
    """An image a file."""
    files = [folder / (template % number) for number in range(len(flat))]
    for file, image in zip(files, flat, strict=True):
        with h5py.File(file, "w") as out:
            out.create_dataset(DATASET, data=image, **how)
    return files


def stacked_files(folder: Path, flat: Array, per_file: int) -> list[Path]:
    """Several images a file."""
    return single_files(folder, flat.reshape(-1, per_file, *flat.shape[1:]), chunks=(1, 16, flat.shape[2]))


CODECS: dict[str, dict[str, Any]] = {
    "gzip": {"compression": "gzip"},
    "gzip-shuffled": {"compression": "gzip", "shuffle": True},
    "bitshuffle": dict(hdf5plugin.Bitshuffle()),
    "blosc": dict(hdf5plugin.Blosc(cname="blosclz")),
    "lz4": dict(hdf5plugin.LZ4()),
    "zstd": dict(hdf5plugin.Zstd()),
}


def compressed(folder: Path, flat: Array, codec: str = "gzip", dataset: str = DATASET) -> list[Path]:
    """One file, in chunks of two frames."""
    return [write(folder / "x.h5", flat, dataset=dataset, chunks=(2, *flat.shape[1:]), **CODECS[codec])]


def linked_file(folder: Path, flat: Array, *, virtual: bool = False) -> list[Path]:
    """A file whose dataset is in another."""
    data = write(folder / "data.h5", flat, chunks=(1, 16, flat.shape[2]))
    layout = h5py.VirtualLayout(flat.shape, flat.dtype)
    layout[...] = h5py.VirtualSource(data.name, DATASET, flat.shape, flat.dtype)
    with h5py.File(folder / "master.h5", "w") as master:
        if virtual:
            master.create_virtual_dataset(DATASET, layout)
        else:
            master[DATASET] = h5py.ExternalLink(data.name, DATASET)
    return [data]


def all_series(folder: Path, flat: Array, *, images: int, per_file: int, kind: str) -> list[Path]:
    """An Eiger series an event, with the ids 0, 1 ..."""
    series = flat.reshape(-1, images, *flat.shape[1:])
    written = [eiger(folder / "x", n, each, per_file=per_file, kind=kind) for n, each in enumerate(series)]
    return [file for files in written for file in files]


def one_series(folder: Path, flat: Array) -> list[Path]:
    """One Eiger series, of an image a file: the data files."""
    return eiger(folder / "x", 1, flat)[1:]


def spectra(path: Path, data: Array, dataset: str = DETECTOR) -> Path:
    """Frames, channels, bins."""
    return write(path, data, dataset=dataset)


def read_eiger(files: Sequence[Path]) -> Array:
    """All images of the data files, as h5py reads them."""
    found = []
    for file in files:
        if "_data_" in file.name:
            with h5py.File(file) as data:
                found.append(data[DATASET][()])
    return np.concatenate(found)
