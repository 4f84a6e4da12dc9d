"""Every format that is read: how its own library writes it, and what documents say of it.

A reader's entry in `FORMATS` brings it under all tests of `ReaderTests`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import tifffile
import zarr

from intake_bluesky.testing.readers import EVENTS, SHAPE, FileFormat
from tests.assets.by_hand import DATASET, HDF5, Array, frames, write
from tests.assets.files_by_hand import cbfs, jpegs, read_jpegs, spes
from tests.assets.hdf5_by_hand import (
    DETECTOR,
    all_series,
    compressed,
    linked_file,
    one_series,
    read_eiger,
    single_files,
    stacked_files,
)


def smooth(count: int, shape: tuple[int, ...]) -> Array:
    """Frames of bytes that JPEG does not change by much."""
    size = int(np.prod(shape))
    return (np.linspace(0, 200, size).reshape(shape) + np.arange(count).reshape(-1, *(1,) * len(shape))).astype("u1")


def tiffs(folder: Path, flat: Array, name: str = "img_{:06d}.tiff", **how: Any) -> list[Path]:
    """A file a frame."""
    files = [folder / name.format(number) for number in range(len(flat))]
    for file, frame in zip(files, flat, strict=True):
        tifffile.imwrite(file, frame, **how)
    return files


def stacks(folder: Path, flat: Array, per_file: int) -> list[Path]:
    """Several pages a file."""
    return tiffs(folder, flat.reshape(-1, per_file, *flat.shape[1:]), photometric="minisblack")


def numpy_files(folder: Path, flat: Array) -> list[Path]:
    """A file a frame."""
    files = [folder / f"img_{number}.npy" for number in range(len(flat))]
    for file, frame in zip(files, flat, strict=True):
        np.save(file, frame)
    return files


def hdf5_file(folder: Path, flat: Array) -> list[Path]:
    """One file, in chunks that are less than a frame."""
    return [write(folder / "x.h5", flat, chunks=(1, 16, flat.shape[2]))]


def zarr_zip(folder: Path, flat: Array) -> list[Path]:
    """One store in one file, in chunks that are less than a frame."""
    with zarr.storage.ZipStore(folder / "x.zip", mode="w") as store:
        group = zarr.create_group(store)
        array = group.create_array("entry/data", shape=flat.shape, dtype=flat.dtype, chunks=(1, 16, flat.shape[2]))
        array[...] = flat
    return [folder / "x.zip"]


def read_hdf5(files: Sequence[Path]) -> Array:
    """As h5py does."""
    with h5py.File(files[0]) as file:
        data: Array = file[DATASET][()]
    return data


TIFF = "multipart/related;type=image/tiff"
OLD = {"template": "%s%s_%6.6d.tiff", "filename": "img"}
SPE = {"template": "%s%s_%3.3d.spe", "filename": "img"}
JPEG = "multipart/related;type=image/jpeg"
NEW = {"template": "img_{:06d}.tiff", "chunk_shape": [1, *SHAPE]}

FORMATS: Final = [
    FileFormat(name="tiff", write=tiffs, spec="AD_TIFF", kwargs=OLD, mimetype=TIFF, parameters=NEW),
    FileFormat(
        name="tiff-several-files-an-event",
        write=tiffs,
        spec="AD_TIFF",
        kwargs={**OLD, "frame_per_point": 2},
        mimetype=TIFF,
        parameters={**NEW, "files_per_datum": 2},
        per_event=2,
    ),
    FileFormat(
        name="npy",
        write=numpy_files,
        spec="NPY_SEQ",
        path="img",
        datum=lambda number: {"index": number},
        mimetype="multipart/related;type=application/x-npy",
        uri="img",
    ),
    FileFormat(
        name="tiff-prefix",
        write=tiffs,
        spec="AD_TIFF",
        kwargs={"template": "img_%06d.tiff"},
        mimetype=TIFF,
        uri="img",
        parameters={"template": "_{:06d}.tiff"},
    ),
    FileFormat(
        name="tiff-compressed-big-endian",
        write=partial(tiffs, compression="zlib", predictor=True, byteorder=">"),
        spec="AD_TIFF",
        kwargs=OLD,
        mimetype=TIFF,
        parameters=NEW,
        reads_part=False,
    ),
    FileFormat(
        name="tiff-several-pages-a-file",
        write=partial(stacks, per_file=2),
        mimetype=TIFF,
        parameters={**NEW, "chunk_shape": [2, *SHAPE]},
        per_event=4,
    ),
    FileFormat(
        name="tiff-event-a-file",
        write=partial(stacks, per_file=3),
        mimetype=TIFF,
        parameters={"template": "img_{:06d}.tiff"},
        per_event=3,
    ),
    FileFormat(
        name="tiff-one-file",
        write=partial(stacks, per_file=EVENTS),
        mimetype=TIFF,
        uri="img_000000.tiff",
        one_file=True,
    ),
    FileFormat(
        name="jpeg",
        write=jpegs,
        mimetype=JPEG,
        parameters={"template": "img_{:06d}.jpg"},
        make=partial(smooth, shape=SHAPE),
        read=read_jpegs,
        reads_part=False,
    ),
    FileFormat(
        name="jpeg-rgb",
        write=jpegs,
        mimetype=JPEG,
        parameters={"template": "%s%s_%6.6d.jpg", "filename": "img"},
        make=partial(smooth, shape=(*SHAPE, 3)),
        read=read_jpegs,
        reads_part=False,
    ),
    FileFormat(
        name="cbf",
        write=cbfs,
        spec="AD_CBF",
        kwargs={"template": "%s%s_%5.5d.cbf", "filename": "img"},
        make=partial(frames, shape=SHAPE, dtype="<i4"),
        reads_part=False,
    ),
    FileFormat(
        name="cbf-several-files-an-event",
        write=partial(cbfs, first=0),
        spec="AD_CBF",
        kwargs={"template": "%s%s_%5.5d.cbf", "filename": "img", "frame_per_point": 3, "initial_number": 0},
        make=partial(frames, shape=SHAPE, dtype="<i4"),
        per_event=3,
        reads_part=False,
    ),
    FileFormat(
        name="spe",
        write=spes,
        spec="AD_SPE",
        kwargs=SPE,
    ),
    FileFormat(
        name="spe-several-frames-an-event",
        write=partial(spes, per_file=3, version=3.0, tracking=16),
        spec="AD_SPE",
        kwargs={**SPE, "frame_per_point": 3},
        make=partial(frames, shape=SHAPE, dtype="<f4"),
        per_event=3,
    ),
    FileFormat(
        name="hdf5",
        write=hdf5_file,
        spec="AD_HDF5",
        path="x.h5",
        mimetype=HDF5,
        uri="x.h5",
        parameters={"dataset": DATASET},
        read=read_hdf5,
        one_file=True,
        opens_in_python=False,
    ),
    *(
        FileFormat(
            name=f"hdf5-{codec}",
            write=partial(compressed, codec=codec),
            spec="AD_HDF5_SWMR",
            path="x.h5",
            kwargs={"frame_per_point": 2},
            mimetype=HDF5,
            uri="x.h5",
            parameters={"path": ["entry", "data", "data"], "multiplier": 2, "swmr": True},
            per_event=2,
            read=read_hdf5,
            one_file=True,
            opens_in_python=False,
            reads_part=False,
        )
        for codec in ("gzip", "gzip-shuffled", "bitshuffle", "blosc", "lz4", "zstd")
    ),
    FileFormat(
        name="hdf5-linked",
        write=linked_file,
        spec="AD_HDF5",
        path="master.h5",
        mimetype=HDF5,
        uri="master.h5",
        parameters={"dataset": DATASET},
        read=read_hdf5,
        one_file=True,
        opens_in_python=False,
    ),
    FileFormat(
        name="hdf5-virtual",
        write=partial(linked_file, virtual=True),
        spec="AD_HDF5",
        path="master.h5",
        mimetype=HDF5,
        uri="master.h5",
        parameters={"dataset": DATASET},
        read=read_hdf5,
        one_file=True,
        opens_in_python=False,
    ),
    FileFormat(
        name="hdf5-timepix",
        write=partial(compressed, dataset=DETECTOR),
        spec="TPX_HDF5",
        path="x.h5",
        kwargs={"frame_per_point": 3},
        per_event=3,
        one_file=True,
        opens_in_python=False,
        reads_part=False,
    ),
    FileFormat(
        name="hdf5-single-files",
        write=partial(single_files, chunks=(16, SHAPE[1])),
        spec="AD_HDF5_SINGLE",
        kwargs={"template": "%s%s_%6.6d.h5", "filename": "img"},
        mimetype="multipart/related;type=application/x-hdf5",
        parameters={"template": "img_{:06d}.h5", "chunk_shape": [1, *SHAPE], "dataset": DATASET},
        opens_in_python=False,
    ),
    FileFormat(
        name="hdf5-single-files-of-several-frames",
        write=partial(stacked_files, per_file=2),
        mimetype="multipart/related;type=application/x-hdf5",
        parameters={"template": "img_{:06d}.h5", "chunk_shape": [2, *SHAPE], "dataset": DATASET},
        per_event=4,
        opens_in_python=False,
    ),
    *(
        FileFormat(
            name=f"eiger-{kind}",
            write=partial(all_series, images=12, per_file=6, kind=kind),
            spec=spec,
            path="x",
            kwargs={"images_per_file": 6},
            datum=lambda number: {"seq_id": number},
            per_event=12,
            read=read_eiger,
            opens_in_python=False,
            reads_part=False,
        )
        for kind, spec in (("links", "AD_EIGER"), ("virtual", "AD_EIGER2"))
    ),
    FileFormat(
        name="eiger-slice",
        write=one_series,
        spec="AD_EIGER_SLICE",
        path="x",
        kwargs={"images_per_file": 1},
        datum=lambda number: {"seq_id": 1, "frame_num": number},
        read=read_eiger,
        opens_in_python=False,
        reads_part=False,
    ),
    FileFormat(
        name="zarr",
        write=zarr_zip,
        mimetype="application/x-zarr",
        uri="x.zip",
        parameters={"path": "entry/data"},
        one_file=True,
    ),
]
