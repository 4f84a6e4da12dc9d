"""dask arrays that compute something else than they say they are: refused where they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.testing import MemoryStore

ONES = da.ones((6, 300), chunks=(2, 300), dtype="i4")
DATES = da.zeros((6, 300), chunks=(2, 300), dtype="M8[s]")
TEXTS = da.full((6, 300), "ab", chunks=(2, 300), dtype="U2")


def write(values: Any, folder: Path, arrays: Any) -> Any:
    dataset = xr.Dataset({"I": (("time", "q"), values)})
    catalog = BlueskyCatalog(MemoryStore())
    files = None if arrays == "inline" else folder
    try:
        return ingest.write_run(dataset, into=catalog, arrays=arrays, files=files, check=False)
    except BaseException:
        assert len(catalog) == 0
        assert not list(folder.iterdir())
        raise


@pytest.mark.parametrize("arrays", ["inline", "hdf5", "zarr"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (ONES.map_blocks(lambda b: b / 2, dtype="i4"), "int32.*values of float64"),
        (ONES.astype("f4").map_blocks(lambda b: b * np.float64(0.1), dtype="f4"), "float32.*values of float64"),
        (DATES.map_blocks(lambda b: b.astype("M8[ms]"), dtype="M8[s]"), r"datetime64\[s\].*values of datetime64\[ms\]"),
        (TEXTS.map_blocks(lambda b: np.strings.add(b, "c"), dtype="U2"), "<U2.*values of <U3"),
        (ONES.map_blocks(lambda b: b[:, :1], chunks=ONES.chunks, dtype="i4"), "values of shape"),
        (ONES.map_blocks(lambda b: b[:1], chunks=ONES.chunks, dtype="i4"), "values of shape"),
    ],
)
def test_values_that_are_none_of_the_array(values: da.Array, message: str, tmp_path: Path, arrays: str) -> None:
    with pytest.raises(UnsupportedOperation, match=message):
        write(values, tmp_path, arrays)


@pytest.mark.parametrize("arrays", ["inline", "hdf5", "zarr"])
@pytest.mark.parametrize(
    "values",
    [
        ONES.map_blocks(lambda b: b.astype(">i4"), dtype="i4"),
        ONES.map_blocks(lambda b: b.astype("i2"), dtype="i4"),
        DATES.map_blocks(lambda b: b.astype("M8[h]"), dtype="M8[s]"),
        TEXTS.map_blocks(lambda b: b.astype("U1"), dtype="U2"),
    ],
)
def test_values_that_the_array_holds(values: da.Array, tmp_path: Path, arrays: str) -> None:
    found = write(values, tmp_path, arrays).primary.read()["I"]
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values.compute())
