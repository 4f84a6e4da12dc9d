"""Files, data keys and stream assets, made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from intake_bluesky.assets import AssetArray, AssetOptions, stream_asset_array
from intake_bluesky.documents.model import Span, StreamAsset

Array = np.ndarray[Any, np.dtype[Any]]

HDF5 = "application/x-hdf5"
DATASET = "/entry/data/data"


def write(path: Path, data: Array, *, dataset: str = DATASET, chunks: Any = None, **how: Any) -> Path:
    """Write one dataset, a chunk a frame unless told otherwise."""
    with h5py.File(path, "w") as file:
        file.create_dataset(dataset, data=data, chunks=chunks or (1, *data.shape[1:]), **how)
    return path


def frames(count: int, shape: tuple[int, ...] = (4, 6), *, dtype: Any = "<u2", first: int = 0) -> Array:
    """Frames whose every pixel is different, within 16 bits."""
    size = int(np.prod(shape))
    return np.arange(first * size, (first + count) * size).reshape(count, *shape).astype(dtype)


def asset(file: Path | str, spans: Sequence[Span], *, mimetype: str = HDF5, **parameters: Any) -> StreamAsset:
    """A stream asset as event-model 1.24 has it."""
    uri = str(file) if "://" in str(file) else f"file://localhost{file}"
    resource = {"uid": uri, "data_key": "det", "mimetype": mimetype, "uri": uri, "parameters": parameters}
    if mimetype == HDF5:
        parameters.setdefault("dataset", DATASET)
    return StreamAsset(resource, "det", "descriptor", tuple(spans))


def key(*shape: int | None, **more: Any) -> dict[str, Any]:
    """A data key."""
    return {"source": "sim", "dtype": "array", "shape": list(shape), "external": "STREAM:", **more}


def opened(
    assets: StreamAsset | list[StreamAsset], spec: dict[str, Any], rows: int | Array, **options: Any
) -> AssetArray:
    """The array of the rows (or the seq_nums 1 to rows)."""
    seq_num = np.arange(1, rows + 1) if isinstance(rows, int) else rows
    several = assets if isinstance(assets, list) else [assets]
    return stream_asset_array(several, "det", spec, seq_num, AssetOptions(**options))


def both(array: AssetArray) -> Array:
    """Compute both ways; they agree with each other and with what was declared."""
    described = array.dask()
    observed = array.read()
    computed = described.compute(scheduler="sync")
    assert (described.shape, described.dtype) == (array.shape, array.dtype)
    assert (computed.shape, computed.dtype) == (described.shape, described.dtype)
    assert (observed.shape, observed.dtype) == (array.shape, array.dtype)
    np.testing.assert_array_equal(observed, computed)
    return observed
