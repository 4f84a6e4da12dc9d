"""Indexing an array reads what was asked, whatever its rows, its events and its files are like."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from intake_bluesky.assets import AssetArray
from intake_bluesky.assets.hdf5.reader import HDF5Reader
from tests.assets.by_hand import asset, frames, key, opened, write

ROWS = 7


def arrays(folder: Path) -> dict[str, AssetArray]:
    """Arrays of seven rows, of as many kinds as there are."""
    one = write(folder / "one.h5", frames(21, dtype="<f4"), chunks=(4, 2, 3))
    two = write(folder / "two.h5", frames(9, (5, 4), dtype="<f4"), chunks=(2, 5, 4))
    whole = [(1, 8, 0, 7)]
    return {
        "frames": opened(asset(one, whole), key(4, 6), ROWS),
        "one frame an event": opened(asset(one, whole), key(1, 4, 6), ROWS),
        "three frames an event": opened(asset(one, whole), key(3, 4, 6), ROWS, target_chunk=96 * 7),
        "events in parts": opened(asset(one, whole), key(3, 4, 6), ROWS, target_chunk=96),
        "joined": opened(asset(one, whole), key(3, 4, 6), ROWS, join_method="concat", target_chunk=96 * 7),
        "joined in parts": opened(asset(one, whole), key(3, 4, 6), ROWS, join_method="concat", target_chunk=96),
        "joined frames": opened(asset(one, whole), key(4, 6), ROWS, join_method="concat"),
        "squeezed": opened(asset(one, whole), key(1, 4, 6), ROWS, squeeze=True),
        "in another shape": opened(asset(one, whole, multiplier=None), key(2, 12), ROWS),
        "skips and gaps": opened(asset(one, [(1, 3, 4, 6), (4, 6, 0, 2), (6, 7, 20, 21)]), key(4, 6), ROWS),
        "two detectors": opened([asset(one, [(1, 4, 0, 3)]), asset(two, [(4, 8, 1, 5)])], key(1, 4, 6), ROWS),
        "scalars": opened(asset(write(folder / "s.h5", np.arange(9.0), chunks=(4,)), whole), key(1), ROWS),
    }


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, AssetArray]:
    return arrays(tmp_path_factory.mktemp("kinds"))


def indices(ndim: int) -> st.SearchStrategy[Any]:
    """Any basic index of an array whose axes are no longer than 21."""
    bound = st.none() | st.integers(-9, 22)
    part = st.builds(slice, bound, bound, st.sampled_from([None, 1, 2, 3, -1, -2])) | st.integers(-1, 0)
    plain = st.lists(part, max_size=ndim).map(tuple)
    rows = st.lists(st.integers(-ROWS, ROWS - 1), min_size=1, max_size=9)
    return plain | st.tuples(st.just(...), part) | part | rows


def is_before_the_beginning(part: Any) -> bool:
    """Where dask gives the whole axis and numpy nothing: backwards from before the first position."""
    return isinstance(part, slice) and (part.step or 1) < 0 and (part.start or 0) < 0


@pytest.fixture(scope="module")
def wholes(kinds: dict[str, AssetArray]) -> dict[str, Any]:
    return {kind: array.read() for kind, array in kinds.items()}


@given(data=st.data())
def test_indexing_is_numpys(kinds: dict[str, AssetArray], wholes: dict[str, Any], data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(kinds)))
    array, whole = kinds[kind], wholes[kind]
    index = data.draw(indices(array.ndim))
    observed = array[index]
    np.testing.assert_array_equal(observed, whole[index])
    assert observed.dtype == array.dtype
    assume(not any(map(is_before_the_beginning, index if isinstance(index, tuple) else (index,))))
    described = array.dask()[index]
    assert (described.shape, described.dtype) == (observed.shape, observed.dtype)
    np.testing.assert_array_equal(described.compute(scheduler="sync"), observed)


def test_pickled_rows_are_those_rows(kinds: dict[str, AssetArray]) -> None:
    for array in kinds.values():
        again = pickle.loads(pickle.dumps(array))
        np.testing.assert_array_equal(again.reader, array.reader)
        np.testing.assert_array_equal(again.index, array.index)
        assert again.token == array.token


def test_a_million_rows_pickle_small(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", np.zeros(1_000_000), chunks=(100_000,))
    array = opened(asset(path, [(1, 1_000_001, 0, 1_000_000)]), key(1), 1_000_000)
    assert len(pickle.dumps(array)) < 3_000


@pytest.mark.parametrize(
    ("index", "read"),
    [
        (np.s_[5], (5, 6, ())),
        (np.s_[2:5, 0, 1:3, 2:4], (2, 5, (range(1, 3), range(2, 4)))),
        (np.s_[:, 0, 3], (0, 10, (range(3, 4), range(6)))),
        (np.s_[2:9:3], (2, 9, ())),
    ],
)
def test_only_what_was_asked_is_read(one_file: Path, monkeypatch: pytest.MonkeyPatch, index: Any, read: Any) -> None:
    reads = []
    original = HDF5Reader.read_into

    def noting(self: HDF5Reader, start: int, stop: int, out: Any, region: Any = ()) -> None:
        reads.append((start, stop, region))
        original(self, start, stop, out, region)

    monkeypatch.setattr(HDF5Reader, "read_into", noting)
    described = opened(asset(one_file, [(1, 11, 0, 10)]), key(1, 4, 6), 10).dask()
    observed = described[index].compute(scheduler="sync")
    np.testing.assert_array_equal(observed, frames(10)[:, None][index])
    assert reads == [read]


@pytest.mark.parametrize("index", [None, "x", 1.5, [[1, 2]], [0.5], [10]])
def test_other_indices_are_refused(one_file: Path, index: Any) -> None:
    array = opened(asset(one_file, [(1, 11, 0, 10)]), key(1, 4, 6), 10)
    with pytest.raises(IndexError, match=r"this array, not|on an axis of length 10"):
        array[index]
    with pytest.raises(IndexError, match="5 indices for an array of 4"):
        array[0, 0, 0, 0, 0]
    with pytest.raises(IndexError):
        array[10]
