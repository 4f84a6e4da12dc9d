"""A third party's driver is found by its entry point, in a process that knows nothing of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from one_file_plugin.store import OneFileStore

from intake_bluesky.testing.plain_runs import count, scan

HERE = Path(__file__).parent

BY_NAME = """
import sys
import intake

assert "one_file_plugin" not in sys.modules
cat = intake.open_catalog(sys.argv[1], driver="bluesky-one-file-catalog")
"""

BY_FUNCTION = """
import sys
import intake

cat = intake.open_bluesky_one_file_catalog(sys.argv[1])
"""

BY_YAML = """
import sys
from pathlib import Path
import intake

yaml = Path(sys.argv[1]).with_name("catalog.yml")
yaml.write_text('''
sources:
  runs:
    driver: bluesky-one-file-catalog
    container: catalog
    args:
      path: "{{ CATALOG_DIR }}/all.runs"
''')
cat = intake.open_catalog(str(yaml)).runs
"""

CHECK = """
import pickle

for runs in (cat, pickle.loads(pickle.dumps(cat))):
    assert len(runs) == 2, len(runs)
    assert type(runs).__module__ == "one_file_plugin.catalog", type(runs)
    run = runs[-1]
    assert run.metadata["start"]["plan_name"] == "scan", run
    assert list(run) == ["baseline", "ring_current_monitor", "primary"], list(run)
    data = run.primary.to_dask()
    assert data["theta"].chunks is not None
    assert data["theta"].compute().values.tolist() == [i / 2 - 2.5 for i in range(11)]
    assert [r.metadata["start"]["scan_id"] for r in runs.search({"plan_name": "count"}).values()] == [1]
"""


@pytest.mark.parametrize("opening", [BY_NAME, BY_FUNCTION, BY_YAML], ids=["name", "function", "yaml"])
def test_driver_is_found_and_read(opening: str, tmp_path: Path) -> None:
    path = tmp_path / "all.runs"
    store = OneFileStore(path)
    for (_, start), *documents in (count(), scan()):
        with store.insert(start) as run:
            for name, doc in documents:
                run.write(name, doc)
    # What installing does: the package and its .dist-info stand on the path.
    environment = os.environ | {"PYTHONPATH": str(HERE), "INTAKE_BLUESKY_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", opening + CHECK, str(path)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_driver_that_is_not_installed_is_not_found(tmp_path: Path) -> None:
    code = "import intake; assert 'bluesky-one-file-catalog' not in intake.registry"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
