"""What is true of every reader, over all of `FORMATS`."""

from __future__ import annotations

import gc
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import numpy as np
import pytest

from intake_bluesky.errors import AssetUnavailable
from tests.assets.by_hand import both
from tests.assets.formats import FORMATS, Format, Made

PAIRS = [(form, way) for form in FORMATS for way in form.ways]
OPENED: list[str] = []
COUNTING = [False]


def over(pairs: list[tuple[Format, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("form", "way"), [pytest.param(*pair, id="-".join(map(str, pair))) for pair in pairs]
    )


every = over(PAIRS)
of_several_files = over([pair for pair in PAIRS if not pair[0].one_file])


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if COUNTING[0] and event == "open" and isinstance(arguments[0], str):
        OPENED.append(arguments[0])


sys.addaudithook(_hook)


@contextmanager
def opens(folder: Path) -> Iterator[list[str]]:
    """The files in a folder that Python opens meanwhile."""
    gc.collect()
    OPENED.clear()
    COUNTING[0] = True
    found: list[str] = []
    try:
        yield found
    finally:
        COUNTING[0] = False
        found.extend(name for name in OPENED if name.startswith(f"{folder}/"))


def bytes_read() -> int:
    """So far, by this process, from files."""
    return int(Path("/proc/self/io").read_text().split("rchar:")[1].split()[0])


@pytest.fixture
def made(form: Format, tmp_path: Path) -> Made:
    return Made.of(form, tmp_path)


@every
def test_values_and_dtype_are_those_of_the_library(made: Made, way: str) -> None:
    observed = both(made.array(way))
    assert observed.dtype == made.expected.dtype
    np.testing.assert_array_equal(observed, made.expected)


@every
@pytest.mark.parametrize("target", [1, 60_000])
def test_chunks_change_no_value(made: Made, way: str, target: int) -> None:
    np.testing.assert_array_equal(both(made.array(way, target_chunk=target)), made.expected)


@every
def test_concatenated(made: Made, way: str) -> None:
    expected = made.expected.reshape(-1, *made.expected.shape[2:])
    np.testing.assert_array_equal(both(made.array(way, join_method="concat")), expected)


@pytest.mark.parametrize("form", [form for form in FORMATS if len(form.ways) == 2], ids=str)
def test_both_ways_reach_the_same_reader(made: Made) -> None:
    datum, stream = (made.array(way).readers[0] for way in ("datum", "stream"))
    assert type(datum) is type(stream)


@every
def test_describing_reads_headers_alone(made: Made, way: str) -> None:
    made.array(way).dask()  # imports what it needs
    with opens(made.folder) as opened:
        before = bytes_read()
        described = made.array(way).dask()[1:3].mean()
        used = bytes_read() - before
    assert described.ndim == 0
    assert used < made.expected.nbytes / 3
    assert len(opened) <= 1


@over([pair for pair in PAIRS if pair[0].opens_in_python and not pair[0].one_file])
def test_an_event_opens_its_files_alone(made: Made, way: str) -> None:
    described = made.array(way).dask()[3]
    with opens(made.folder) as opened:
        described.compute(scheduler="sync")
    each = len(made.files) // len(made.expected)
    assert sorted(opened) == sorted(map(str, made.files[3 * each : 4 * each]))


@every
def test_part_of_each_frame(made: Made, way: str) -> None:
    part = np.s_[1:5, :, 3:9, 2:-1]
    described = made.array(way).dask()[part]
    np.testing.assert_array_equal(described.compute(scheduler="sync"), made.expected[part])


@over([pair for pair in PAIRS if pair[0].reads_part])
def test_part_of_each_frame_reads_part_of_the_files(made: Made, way: str) -> None:
    described = made.array(way).dask()[:, :, :16]
    described.compute(scheduler="sync")
    before = bytes_read()
    described.compute(scheduler="sync")
    headers = 20_000 * len(made.files)
    assert bytes_read() - before < made.expected.nbytes / 4 + headers


@every
def test_everything_pickles(made: Made, way: str) -> None:
    array = made.array(way)
    for package in (pickle, cloudpickle):
        assert package.loads(package.dumps(array.readers)) == array.readers
        np.testing.assert_array_equal(package.loads(package.dumps(array)).read(), made.expected)
        described = package.loads(package.dumps(array.dask()))
        np.testing.assert_array_equal(described.compute(scheduler="sync"), made.expected)


def damaged(made: Made, how: str) -> Path:
    """One file, in the midst where there are several, that is gone, or cut short, or of something else."""
    file = made.files[len(made.files) // 2]
    content = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(content[: len(content) // 2] if how == "short" else b"" if how == "empty" else b"other" * 2000)
    return file


@every
@pytest.mark.parametrize("how", ["gone", "short", "empty", "other"])
def test_damaged_file_is_named(made: Made, way: str, how: str) -> None:
    file = damaged(made, how)
    array = made.array(way)
    for compute in (array.read, lambda: array.dask().compute(scheduler="sync")):
        with pytest.raises(AssetUnavailable, match=file.name):
            compute()


@of_several_files
@pytest.mark.parametrize("how", ["gone", "short", "empty", "other"])
def test_what_is_damaged_is_filled_and_the_rest_read(made: Made, way: str, how: str) -> None:
    file = damaged(made, how)
    event = made.files.index(file) * len(made.expected) // len(made.files)
    observed = both(made.array(way, on_missing="fill"))
    np.testing.assert_array_equal(np.delete(observed, event, 0), np.delete(made.expected, event, 0))
    assert not np.nan_to_num(observed[event]).any()
