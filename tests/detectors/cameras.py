"""Cameras with areaDetector's plugins: a RunEngine triggers them, ophyd makes the documents, the files are real."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import fabio
import h5py
import numpy as np
import tifffile
from ophyd import Device
from ophyd.areadetector.filestore_mixins import FileStoreBase
from ophyd.status import Status

from intake_bluesky.apps.demo.experiments import run_engine

Array = np.ndarray[Any, np.dtype[Any]]

FRAME = (12, 16)
AD_DATASET = "entry/data/data"


class Plugin(ABC):
    """What one of areaDetector's file plugins writes, and how the library that wrote it reads it.

    Parameters
    ----------
    folder : Path
    frames : int
        Frames a point.
    """

    spec: ClassVar[str]

    def __init__(self, folder: Path, frames: int) -> None:
        self.folder, self.frames = folder, frames

    @property
    def path(self) -> Path:
        """What the resource names."""
        return self.folder

    @property
    def kwargs(self) -> dict[str, Any]:
        """The resource's."""
        return {"frame_per_point": self.frames}

    def datum(self, point: int) -> dict[str, Any]:
        """The kwargs of one point's datum."""
        return {"point_number": point}

    def shape(self, frame: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one point's value."""
        return (self.frames, *frame)

    @abstractmethod
    def write(self, point: int, frames: Array) -> None:
        """Write the frames of one point."""

    @abstractmethod
    def read(self, points: int) -> Array:
        """Read all points, shape ``(points, *shape)``."""

    def close(self) -> None:
        """End the series."""


class HDF5(Plugin):
    """One file, opened for appending in SWMR mode as the plugin does it."""

    spec = "AD_HDF5_SWMR"
    dataset: ClassVar[str] = AD_DATASET
    _file: Any = None

    @property
    def path(self) -> Path:
        return self.folder / f"{self.spec}.h5"

    def write(self, point: int, frames: Array) -> None:
        if self._file is None:
            self._file = h5py.File(self.path, "w", libver="latest")
            self._begin(self._file, frames)
            self._file.swmr_mode = True
        self._append(self._file[self.dataset], frames)

    def _begin(self, file: Any, frames: Array) -> None:
        shape = (0, *frames.shape[1:])
        file.create_dataset(
            self.dataset, shape, frames.dtype, chunks=(1, *shape[1:]), maxshape=(None, *shape[1:]), compression="gzip"
        )

    def _append(self, data: Any, frames: Array) -> None:
        data.resize(len(data) + len(frames), 0)
        data[-len(frames) :] = frames
        data.flush()

    def read(self, points: int) -> Array:
        with h5py.File(self.path) as file:
            data = file[self.dataset][: points * self.frames]
        return data.reshape(points, self.frames, *data.shape[1:])  # type: ignore[no-any-return]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Timepix(HDF5):
    """Timepix through the HDF5 plugin."""

    spec = "TPX_HDF5"
    dataset = "entry/instrument/detector/data"


class Files(Plugin):
    """A file a frame, named by areaDetector's template."""

    ending: ClassVar[str]
    name = "scan7"
    first = 0

    @property
    def kwargs(self) -> dict[str, Any]:
        return {**super().kwargs, "template": f"%s%s_%6.6d.{self.ending}", "filename": self.name}

    def file(self, number: int) -> str:
        """The path of one file."""
        return str(self.kwargs["template"]) % (f"{self.folder}/", self.name, number + self.first)

    def write(self, point: int, frames: Array) -> None:
        for number, frame in enumerate(frames, start=point * self.frames):
            self.write_file(self.file(number), frame)

    @abstractmethod
    def write_file(self, path: str, frame: Array) -> None:
        """Write one frame."""

    @abstractmethod
    def read_file(self, path: str) -> Array:
        """Read one frame."""

    def read(self, points: int) -> Array:
        images = [self.read_file(self.file(number)) for number in range(points * self.frames)]
        return np.array(images).reshape(points, self.frames, *images[0].shape)


class TIFF(Files):
    """The TIFF plugin."""

    spec, ending = "AD_TIFF", "tiff"

    def write_file(self, path: str, frame: Array) -> None:
        tifffile.imwrite(path, frame)

    def read_file(self, path: str) -> Array:
        return tifffile.imread(path)


class CBF(Files):
    """A Pilatus, which begins with the file of number one."""

    spec, ending, first = "AD_CBF", "cbf", 1

    def write_file(self, path: str, frame: Array) -> None:
        fabio.cbfimage.CbfImage(data=frame.astype("<i4")).write(path)

    def read_file(self, path: str) -> Array:
        with fabio.open(path) as image:
            return np.array(image.data)


class SingleHDF5(Files):
    """The HDF5 plugin in the mode of one image a file."""

    spec, ending = "AD_HDF5_SINGLE", "h5"

    def write_file(self, path: str, frame: Array) -> None:
        with h5py.File(path, "w") as file:
            file[AD_DATASET] = frame

    def read_file(self, path: str) -> Array:
        with h5py.File(path) as file:
            return file[AD_DATASET][()]  # type: ignore[no-any-return]


class Eiger(Plugin):
    """A Dectris Eiger: a master file, which links to data files of three images each."""

    spec = "AD_EIGER"
    per_file = 3

    @property
    def path(self) -> Path:
        return self.folder / "eiger"

    @property
    def kwargs(self) -> dict[str, Any]:
        return {"images_per_file": self.per_file}

    def datum(self, point: int) -> dict[str, Any]:
        return {"seq_id": point + 1}

    def master(self, point: int) -> str:
        """The master file of one point."""
        return f"{self.path}_{point + 1}_master.h5"

    def write(self, point: int, frames: Array) -> None:
        with h5py.File(self.master(point), "w") as master:
            for number, start in enumerate(range(0, len(frames), self.per_file), start=1):
                name = f"eiger_{point + 1}_data_{number:06d}.h5"
                with h5py.File(self.folder / name, "w") as file:
                    file[AD_DATASET] = frames[start : start + self.per_file]
                master[f"entry/data/data_{number:06d}"] = h5py.ExternalLink(name, AD_DATASET)

    def read(self, points: int) -> Array:
        series = []
        for point in range(points):
            with h5py.File(self.master(point)) as master:
                series.append(np.concatenate([data[()] for _, data in sorted(master["entry/data"].items())]))
        return np.array(series)


class SPE(Files):
    """WinView: all frames of a point in one file, a header of 4100 bytes first."""

    spec, ending = "AD_SPE", "spe"

    def write(self, point: int, frames: Array) -> None:
        header = np.zeros(4100, np.uint8)
        for offset, kind, value in ((42, "<u2", frames.shape[2]), (108, "<i2", 3), (656, "<u2", frames.shape[1])):
            header[offset : offset + 2] = np.array([value], kind).view(np.uint8)
        header[1446:1450] = np.array([len(frames)], "<i4").view(np.uint8)
        Path(self.file(point)).write_bytes(header.tobytes() + frames.astype("<u2").tobytes())

    def write_file(self, path: str, frame: Array) -> None:
        raise AssertionError("a file holds a point")

    def read_file(self, path: str) -> Array:
        return np.fromfile(path, "<u2", offset=4100).reshape(-1, *FRAME)

    def read(self, points: int) -> Array:
        return np.array([self.read_file(self.file(point)) for point in range(points)])


PLUGINS: tuple[type[Plugin], ...] = (HDF5, Timepix, TIFF, CBF, SingleHDF5, Eiger, SPE)


class Camera(FileStoreBase, Device):  # type: ignore[misc]  # ophyd ships no types
    """A camera with one of the plugins; its counts tell the frame."""

    def __init__(self, plugin: Plugin, **kwargs: Any) -> None:
        super().__init__("", write_path_template=str(plugin.folder), root=str(plugin.folder), **kwargs)
        self.plugin, self.filestore_spec = plugin, plugin.spec
        self.taken: list[Array] = []

    def stage(self) -> Any:
        """Begin a file or a sequence, and the resource."""
        staged = super().stage()
        self.taken.clear()
        self._fn = self.plugin.path
        self._generate_resource(self.plugin.kwargs)
        return staged

    def trigger(self) -> Status:
        """Take the frames of one point."""
        point = len(self.taken)
        number = np.arange(point * self.plugin.frames, (point + 1) * self.plugin.frames)
        pixels = np.arange(np.prod(FRAME)).reshape(FRAME)
        self.taken.append((1000 * number[:, None, None] + pixels).astype("<u2"))
        self.plugin.write(point, self.taken[-1])
        self.generate_datum(f"{self.name}_image", time.time(), self.plugin.datum(point))
        status = Status(self)
        status.set_finished()
        return status

    def describe(self) -> dict[str, Any]:
        """The data key as ophyd's area detectors describe it."""
        shape = self.plugin.shape(FRAME)
        key = {"source": f"SIM:{self.name}", "dtype": "array", "shape": list(shape), "external": "FILESTORE:"}
        return {f"{self.name}_image": key}

    def unstage(self) -> Any:
        """End the file."""
        self.plugin.close()
        return super().unstage()


def recorded(writer: Callable[[str, dict[str, Any]], Any], plan: Callable[[], Any]) -> str:
    """Let a RunEngine do what a plan says, made when there is one, and give the uid of the run."""
    with run_engine({}) as engine:
        engine.subscribe(writer)
        uids: Any = engine(plan())
    [uid] = uids
    return str(uid)
