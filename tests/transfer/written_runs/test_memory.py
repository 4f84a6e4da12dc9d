"""Large arrays of dask, written some chunks at a time: in processes of their own, whose memory is measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import pytest

from intake_bluesky_jsonl import BlueskyJSONLCatalog

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PROGRAM = """
import json, resource, sys
import dask.array as da, xarray as xr
from intake_bluesky import ingest
from intake_bluesky_jsonl import BlueskyJSONLCatalog

kind, folder, frames = sys.argv[1], sys.argv[2], int(sys.argv[3])
into = BlueskyJSONLCatalog(folder)
small = xr.Dataset({"a": (("t", "y", "x"), da.zeros((4, 512, 512), chunks=(2, -1, -1)))})
ingest.write_run(small, into=into, arrays=kind, check=True)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
values = da.arange(frames, chunks=8)[:, None, None] + da.zeros((frames, 512, 512), chunks=(8, -1, -1))
run = ingest.write_run(xr.Dataset({"a": (("t", "y", "x"), values)}), into=into, arrays=kind, check=True, uid="large")
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
print(json.dumps({"grown": grown, "sum": float(run.primary.to_dask()["a"].sum())}))
"""


def measured(kind: str, folder: Path, frames: int) -> Any:
    command = [sys.executable, "-c", PROGRAM, kind, str(folder), str(frames)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=500)
    return json.loads(done.stdout)


@pytest.mark.parametrize(("kind", "frames"), [("hdf5", 512), ("zarr", 512), ("inline", 64)])
def test_memory_does_not_grow_with_the_array(kind: str, frames: int, tmp_path: Path) -> None:
    """1 GiB into a file, of which no more than a fourth is in memory at once; 128 MiB into events, less than that."""
    found = measured(kind, tmp_path, frames)
    assert found["sum"] == sum(range(frames)) * 512 * 512
    assert found["grown"] < 2**28
    if kind == "hdf5":
        [file] = BlueskyJSONLCatalog(str(tmp_path))["large"].files()
        with h5py.File(file.path) as handle:
            assert handle["primary/a"].nbytes == 2**30
