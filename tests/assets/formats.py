"""Every format that is read: how its own library writes it, and what documents say of it.

A reader's entry in `FORMATS` brings it under all tests of ``test_every_reader.py``. It says how to write frames with
the library that the format belongs to, and what the documents of both ways (``resource`` and ``datum``,
``stream_resource`` and ``stream_datum``) say of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
import zarr

from intake_bluesky.assets import AssetArray, AssetOptions, datum_array, stream_asset_array
from intake_bluesky.documents.model import StreamAsset
from tests.assets.by_hand import DATASET, HDF5, Array, frames, key, write
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

SHAPE = (128, 96)
"""Of a frame: 24 KiB of uint16, so that what is read of a file for its header is little beside it."""
EVENTS = 6


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format, or one way to lay it out.

    Attributes
    ----------
    name : str
        Of the tests.
    write : callable
        Writes flat frames, shape ``(events * per_event, *shape)``, into a folder; returns the files in their order.
    spec, path, kwargs, datum
        Of a resource in the folder (``root``): its spec, ``resource_path`` and ``resource_kwargs``, and the
        ``datum_kwargs`` of each event. No spec: there is no such way.
    mimetype, uri, parameters
        Of a stream resource: the URI within the folder. No mimetype: there is no such way.
    per_event : int
        Frames.
    make : callable
        Makes the frames of so many; those of `frames` in by_hand by default.
    read : callable or None
        The library's own reading of the files, where it does not give back what was written.
    one_file : bool
        Whether all frames are in one file: then nothing but it can be missing.
    opens_in_python : bool
        Whether its files are opened by Python, so that opening them can be counted.
    reads_part : bool
        Whether reading a part of each frame reads less of the files.
    """

    name: str
    write: Callable[[Path, Array], Sequence[Path]]
    spec: str = ""
    path: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    datum: Callable[[int], dict[str, Any]] = lambda number: {"point_number": number}
    mimetype: str = ""
    uri: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    per_event: int = 1
    make: Callable[[int], Array] = lambda count: frames(count, SHAPE)
    read: Callable[[Sequence[Path]], Array] | None = None
    one_file: bool = False
    opens_in_python: bool = True
    reads_part: bool = True

    def __str__(self) -> str:
        return self.name

    @property
    def ways(self) -> list[str]:
        """The documents that there are for it."""
        return [way for way, there in (("datum", self.spec), ("stream", self.mimetype)) if there]


@dataclass(frozen=True)
class Made:
    """Files of a format, and what is in them.

    Attributes
    ----------
    expected : numpy.ndarray, shape ``(events, per_event, *frame)``
        As the format's own library reads it.
    """

    format: Format
    folder: Path
    files: Sequence[Path]
    expected: Array

    @classmethod
    def of(cls, form: Format, folder: Path, events: int = EVENTS) -> Made:
        """Write the files."""
        flat = form.make(events * form.per_event)
        files = list(form.write(folder, flat))
        read = flat if form.read is None else form.read(files)
        return cls(form, folder, files, read.reshape(events, form.per_event, *read.shape[1:]))

    def array(self, way: str, **options: Any) -> AssetArray:
        """The array that the documents of one way describe."""
        shape = key(*self.expected.shape[1:])
        return (self._datum if way == "datum" else self._stream)(shape, AssetOptions(**options))

    def _datum(self, spec: dict[str, Any], options: AssetOptions) -> AssetArray:
        form = self.format
        resource = {
            "uid": "r",
            "spec": form.spec,
            "root": str(self.folder),
            "resource_path": form.path,
            "resource_kwargs": dict(form.kwargs),
        }
        ids = [f"r/{number}" for number in range(len(self.expected))]
        datums = {name: ("r", form.datum(number)) for number, name in enumerate(ids)}
        return datum_array(ids, "det", spec, {"r": resource}, datums, options)

    def _stream(self, spec: dict[str, Any], options: AssetOptions) -> AssetArray:
        form, events = self.format, len(self.expected)
        resource = {
            "uid": "r",
            "data_key": "det",
            "mimetype": form.mimetype,
            "uri": f"file://localhost{self.folder}/{form.uri}",
            "parameters": dict(form.parameters),
        }
        asset = StreamAsset(resource, "det", "descriptor", ((1, events + 1, 0, events),))
        return stream_asset_array([asset], "det", spec, np.arange(1, events + 1), options)


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

FORMATS = [
    Format(name="tiff", write=tiffs, spec="AD_TIFF", kwargs=OLD, mimetype=TIFF, parameters=NEW),
    Format(
        name="tiff-several-files-an-event",
        write=tiffs,
        spec="AD_TIFF",
        kwargs={**OLD, "frame_per_point": 2},
        mimetype=TIFF,
        parameters={**NEW, "files_per_datum": 2},
        per_event=2,
    ),
    Format(
        name="npy",
        write=numpy_files,
        spec="NPY_SEQ",
        path="img",
        datum=lambda number: {"index": number},
        mimetype="multipart/related;type=application/x-npy",
        uri="img",
    ),
    Format(
        name="tiff-prefix",
        write=tiffs,
        spec="AD_TIFF",
        kwargs={"template": "img_%06d.tiff"},
        mimetype=TIFF,
        uri="img",
        parameters={"template": "_{:06d}.tiff"},
    ),
    Format(
        name="tiff-compressed-big-endian",
        write=partial(tiffs, compression="zlib", predictor=True, byteorder=">"),
        spec="AD_TIFF",
        kwargs=OLD,
        mimetype=TIFF,
        parameters=NEW,
        reads_part=False,
    ),
    Format(
        name="tiff-several-pages-a-file",
        write=partial(stacks, per_file=2),
        mimetype=TIFF,
        parameters={**NEW, "chunk_shape": [2, *SHAPE]},
        per_event=4,
    ),
    Format(
        name="tiff-event-a-file",
        write=partial(stacks, per_file=3),
        mimetype=TIFF,
        parameters={"template": "img_{:06d}.tiff"},
        per_event=3,
    ),
    Format(
        name="tiff-one-file",
        write=partial(stacks, per_file=EVENTS),
        mimetype=TIFF,
        uri="img_000000.tiff",
        one_file=True,
    ),
    Format(
        name="jpeg",
        write=jpegs,
        mimetype=JPEG,
        parameters={"template": "img_{:06d}.jpg"},
        make=partial(smooth, shape=SHAPE),
        read=read_jpegs,
        reads_part=False,
    ),
    Format(
        name="jpeg-rgb",
        write=jpegs,
        mimetype=JPEG,
        parameters={"template": "%s%s_%6.6d.jpg", "filename": "img"},
        make=partial(smooth, shape=(*SHAPE, 3)),
        read=read_jpegs,
        reads_part=False,
    ),
    Format(
        name="cbf",
        write=cbfs,
        spec="AD_CBF",
        kwargs={"template": "%s%s_%5.5d.cbf", "filename": "img"},
        make=partial(frames, shape=SHAPE, dtype="<i4"),
        reads_part=False,
    ),
    Format(
        name="cbf-several-files-an-event",
        write=partial(cbfs, first=0),
        spec="AD_CBF",
        kwargs={"template": "%s%s_%5.5d.cbf", "filename": "img", "frame_per_point": 3, "initial_number": 0},
        make=partial(frames, shape=SHAPE, dtype="<i4"),
        per_event=3,
        reads_part=False,
    ),
    Format(
        name="spe",
        write=spes,
        spec="AD_SPE",
        kwargs=SPE,
    ),
    Format(
        name="spe-several-frames-an-event",
        write=partial(spes, per_file=3, version=3.0, tracking=16),
        spec="AD_SPE",
        kwargs={**SPE, "frame_per_point": 3},
        make=partial(frames, shape=SHAPE, dtype="<f4"),
        per_event=3,
    ),
    Format(
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
        Format(
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
    Format(
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
    Format(
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
    Format(
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
    Format(
        name="hdf5-single-files",
        write=partial(single_files, chunks=(16, SHAPE[1])),
        spec="AD_HDF5_SINGLE",
        kwargs={"template": "%s%s_%6.6d.h5", "filename": "img"},
        mimetype="multipart/related;type=application/x-hdf5",
        parameters={"template": "img_{:06d}.h5", "chunk_shape": [1, *SHAPE], "dataset": DATASET},
        opens_in_python=False,
    ),
    Format(
        name="hdf5-single-files-of-several-frames",
        write=partial(stacked_files, per_file=2),
        mimetype="multipart/related;type=application/x-hdf5",
        parameters={"template": "img_{:06d}.h5", "chunk_shape": [2, *SHAPE], "dataset": DATASET},
        per_event=4,
        opens_in_python=False,
    ),
    *(
        Format(
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
    Format(
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
    Format(
        name="zarr",
        write=zarr_zip,
        mimetype="application/x-zarr",
        uri="x.zip",
        parameters={"path": "entry/data"},
        one_file=True,
    ),
]
