"""The conformance suite of readers of detectors' files: what every `AssetReader` has to pass.

The test file of a reader shows how another library writes such files, and how documents describe them::

    class TestMyReader(ReaderTests):
        formats = [FileFormat(name="mine", write=write_frames, mimetype="application/x-mine", uri="frames.mine")]

The reader is found by its mimetype or spec, as in a catalog: its package is installed. The suite needs pytest, and
Linux, which counts what a process reads.
"""

from __future__ import annotations

import gc
import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import pytest

from intake_bluesky.assets import AssetArray, AssetOptions, datum_array, stream_asset_array
from intake_bluesky.documents.columns import Array
from intake_bluesky.documents.model import StreamAsset
from intake_bluesky.errors import AssetUnavailable
from intake_bluesky.testing.differences import assert_arrays

__all__ = ["EVENTS", "SHAPE", "FileFormat", "ReaderTests", "WrittenFiles", "distinct_frames"]

SHAPE: Final = (128, 96)
"""Of a frame: 24 KiB of uint16, so that what is read of a file for its header is little beside it."""
EVENTS: Final = 6


def distinct_frames(count: int, shape: tuple[int, ...] = SHAPE, dtype: Any = "<u2") -> Array:
    """Make frames whose neighbouring pixels differ, and whose first ones do."""
    size = int(np.prod(shape))
    return np.arange(count * size).reshape(count, *shape).astype(dtype)


@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """One format, or one layout of it, and the documents that describe it.

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
        Makes so many frames, of at least 9 rows and 17 columns.
    read : callable or None
        The library's own reading of the files, where that differs from what was written.
    one_file : bool
        Whether all frames are in one file, so that all are missing or none.
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
    make: Callable[[int], Array] = distinct_frames
    read: Callable[[Sequence[Path]], Array] | None = None
    one_file: bool = False
    opens_in_python: bool = True
    reads_part: bool = True

    @property
    def ways(self) -> list[str]:
        """The documents that there are for it."""
        return [way for way, there in (("datum", self.spec), ("stream", self.mimetype)) if there]


@dataclass(frozen=True)
class WrittenFiles:
    """Files of a format, and what is in them.

    Attributes
    ----------
    expected : numpy.ndarray, shape ``(events, per_event, *frame)``
        As the format's own library reads it.
    """

    format: FileFormat
    folder: Path
    files: Sequence[Path]
    expected: Array

    @classmethod
    def of(cls, form: FileFormat, folder: Path) -> WrittenFiles:
        """Write the files."""
        flat = form.make(EVENTS * form.per_event)
        files = list(form.write(folder, flat))
        read = flat if form.read is None else form.read(files)
        return cls(form, folder, files, read.reshape(EVENTS, form.per_event, *read.shape[1:]))

    def array(self, way: str, **options: Any) -> AssetArray:
        """The array that the documents of one way describe."""
        shape = list(self.expected.shape[1:])
        spec = {"source": "sim", "dtype": "array", "shape": shape, "external": "STREAM:"}
        return (self._of_datums if way == "datum" else self._of_streams)(spec, AssetOptions(**options))

    def _of_datums(self, spec: dict[str, Any], options: AssetOptions) -> AssetArray:
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

    def _of_streams(self, spec: dict[str, Any], options: AssetOptions) -> AssetArray:
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

    @contextmanager
    def damaged(self, how: str) -> Iterator[Path]:
        """One file, in the midst where there are several, that is gone, or cut short, or of something else."""
        file = self.files[len(self.files) // 2]
        content = file.read_bytes()
        file.unlink()
        if how != "gone":
            file.write_bytes({"short": content[: len(content) // 2], "empty": b"", "other": b"other" * 2000}[how])
        yield file
        file.write_bytes(content)


def read_both_ways(array: AssetArray) -> Array:
    """Read straight and by dask; the two agree with each other and with what was declared."""
    described = array.dask()
    observed = array.read()
    computed = described.compute(scheduler="sync")
    assert (described.shape, described.dtype) == (array.shape, array.dtype)
    assert (computed.shape, computed.dtype) == (described.shape, described.dtype)
    assert (observed.shape, observed.dtype) == (array.shape, array.dtype)
    assert_arrays(computed, observed, "computed by dask")
    return observed


DAMAGES: Final = ("gone", "short", "empty", "other")
APPLIES: Final[dict[str, Callable[[FileFormat], bool]]] = {
    "test_both_ways_reach_the_same_reader": lambda form: len(form.ways) == 2,
    "test_an_event_opens_its_files_alone": lambda form: form.opens_in_python and not form.one_file,
    "test_part_of_each_frame_reads_part_of_the_files": lambda form: form.reads_part,
    "test_what_is_damaged_is_filled_and_the_rest_read": lambda form: not form.one_file,
}
"""Tests that are not of every format."""


class ReaderTests:
    """What every reader has to pass, in each of its formats and by either kind of documents that locate files.

    Attributes
    ----------
    formats : sequence of FileFormat
    """

    formats: ClassVar[Sequence[FileFormat]]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give each test its formats, and the ways of each where it has the argument."""
        applies = APPLIES.get(metafunc.function.__name__)
        forms = [form for form in self.formats if applies is None or applies(form)]
        if "way" in metafunc.fixturenames:
            pairs = [pytest.param(form, way, id=f"{form.name}-{way}") for form in forms for way in form.ways]
            metafunc.parametrize(("form", "way"), pairs)
        else:
            metafunc.parametrize("form", [pytest.param(form, id=form.name) for form in forms])

    @pytest.fixture
    def written(self, form: FileFormat, tmp_path: Path) -> WrittenFiles:
        """Write the files of a format."""
        return WrittenFiles.of(form, tmp_path)

    def test_values_and_dtype_are_those_of_the_library(self, written: WrittenFiles, way: str) -> None:
        observed = read_both_ways(written.array(way))
        assert observed.dtype == written.expected.dtype
        assert_arrays(observed, written.expected, "frames")

    def test_chunks_change_no_value(self, written: WrittenFiles, way: str) -> None:
        for target in (1, 60_000):
            assert_arrays(read_both_ways(written.array(way, target_chunk=target)), written.expected, "frames")

    def test_concatenated(self, written: WrittenFiles, way: str) -> None:
        expected = written.expected.reshape(-1, *written.expected.shape[2:])
        assert_arrays(read_both_ways(written.array(way, join_method="concat")), expected, "frames")

    def test_both_ways_reach_the_same_reader(self, written: WrittenFiles) -> None:
        datum, stream = (written.array(way).readers[0] for way in ("datum", "stream"))
        assert type(datum) is type(stream)

    def test_describing_reads_headers_alone(self, written: WrittenFiles, way: str) -> None:
        written.array(way).dask()  # imports what it needs
        with _opens(written.folder) as opened:
            before = _bytes_read()
            described = written.array(way).dask()[1:3].mean()
            used = _bytes_read() - before
        assert described.ndim == 0
        assert used < written.expected.nbytes / 3
        assert len(opened) <= 1

    def test_an_event_opens_its_files_alone(self, written: WrittenFiles, way: str) -> None:
        described = written.array(way).dask()[3]
        with _opens(written.folder) as opened:
            described.compute(scheduler="sync")
        each = len(written.files) // len(written.expected)
        assert sorted(opened) == sorted(map(str, written.files[3 * each : 4 * each]))

    def test_part_of_each_frame(self, written: WrittenFiles, way: str) -> None:
        part = np.s_[1:5, :, 3:9, 2:-1]
        described = written.array(way).dask()[part]
        assert_arrays(described.compute(scheduler="sync"), written.expected[part], "frames")

    def test_part_of_each_frame_reads_part_of_the_files(self, written: WrittenFiles, way: str) -> None:
        described = written.array(way).dask()[:, :, :16]
        described.compute(scheduler="sync")  # imports codecs, which are read from files as well
        before = _bytes_read()
        described.compute(scheduler="sync")
        headers = 20_000 * len(written.files)
        assert _bytes_read() - before < written.expected.nbytes / 4 + headers

    def test_threads_share_a_reader(self, written: WrittenFiles, way: str) -> None:
        array = written.array(way)
        with ThreadPoolExecutor(4) as pool:
            for observed in pool.map(lambda _: array.read(), range(4)):
                assert_arrays(observed, written.expected, "frames")

    def test_everything_pickles(self, written: WrittenFiles, way: str) -> None:
        import cloudpickle  # type: ignore[import-untyped]  # it ships no types

        array = written.array(way)
        # dask.distributed takes cloudpickle where pickle fails.
        for package in (pickle, cloudpickle):
            assert package.loads(package.dumps(array.readers)) == array.readers
            assert_arrays(package.loads(package.dumps(array)).read(), written.expected, "frames")
            described = package.loads(package.dumps(array.dask()))
            assert_arrays(described.compute(scheduler="sync"), written.expected, "frames")

    def test_damaged_file_is_named(self, written: WrittenFiles, way: str) -> None:
        for how in DAMAGES:
            with written.damaged(how) as file:
                array = written.array(way)
                for compute in (array.read, lambda array=array: array.dask().compute(scheduler="sync")):
                    with pytest.raises(AssetUnavailable, match=file.name):
                        compute()

    def test_what_is_damaged_is_filled_and_the_rest_read(self, written: WrittenFiles, way: str) -> None:
        for how in DAMAGES:
            with written.damaged(how) as file:
                event = written.files.index(file) * len(written.expected) // len(written.files)
                observed = read_both_ways(written.array(way, on_missing="fill"))
                expected = np.delete(written.expected, event, 0)
                assert_arrays(np.delete(observed, event, 0), expected, f"frames beside one that is {how}")
                # Filling goes by frame: those of the event that are in other files are there.
                frames = written.format.per_event
                own, whole = (each[event].reshape(frames, -1) for each in (observed, written.expected))
                filled = ~np.nan_to_num(own).any(axis=1)
                assert filled.any(), how
                assert_arrays(own[~filled], whole[~filled], f"frames beside one that is {how}")


@cache
def _opened() -> list[str]:
    """Whatever files Python opens from now on; an audit hook stays for good."""
    opened: list[str] = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str):
            opened.append(arguments[0])

    sys.addaudithook(note)
    return opened


@contextmanager
def _opens(folder: Path) -> Iterator[list[str]]:
    """The files in a folder that Python opens meanwhile."""
    gc.collect()
    first, found = len(_opened()), list[str]()
    yield found
    found += [name for name in _opened()[first:] if name.startswith(f"{folder}/")]


def _bytes_read() -> int:
    """So far, by this process, from files."""
    # `rchar` counts calls of read() whether or not the page cache answered them, as `read_bytes` does not.
    return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])
