"""Files that cannot grow: in processes of their own, since HDF5 by itself crashes those in which that happens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from intake_bluesky_jsonl import BlueskyJSONLCatalog

PROGRAM = """
import resource, sys
import numpy as np, xarray as xr
from intake_bluesky import ingest
from intake_bluesky.errors import StoreUnavailable
from intake_bluesky_jsonl import BlueskyJSONLCatalog

kind, folder = sys.argv[1:]
into = BlueskyJSONLCatalog(folder)
ingest.write_run(xr.Dataset({"a": 1}), into=into, uid="kept")
resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, resource.RLIM_INFINITY))
large = xr.Dataset({"a": (("t", "x"), np.random.default_rng(0).random((1024, 1024)))})
for dataset in (large, large.chunk(t=10), large.chunk(t=512)):
    try:
        ingest.write_run(dataset, into=into, arrays=kind, uid="large")
    except StoreUnavailable as error:
        assert "large" in str(error) and "File too large" in str(error), error
    else:
        raise AssertionError("it was written")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
run = ingest.write_run(large, into=into, arrays=kind, uid="large")
assert run.primary.read().identical(large)
print("all is well")
"""


@pytest.mark.parametrize("kind", ["inline", "hdf5", "zarr"])
def test_nothing_stays_of_a_run_for_which_there_is_no_room(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, kind, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert (done.returncode, done.stdout) == (0, "all is well\n"), done.stderr
    assert sorted(BlueskyJSONLCatalog(str(tmp_path))) == ["kept", "large"]
    assert len([path for path in tmp_path.rglob("*large*") if path.is_file()]) == (1 if kind == "inline" else 2)
