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
