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


def run(code: str, *arguments: str, cwd: Path, plugins: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run code as where the plugin, and others, are installed: each with its .dist-info on the path."""
    path = os.pathsep.join(str(folder) for folder in (HERE, plugins) if folder)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": path, "INTAKE_BLUESKY_CACHE": str(cwd / "cache")},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    path = tmp_path / "all.runs"
    store = OneFileStore(path)
    for (_, start), *documents in (count(), scan()):
        with store.insert(start) as insert:
            for name, doc in documents:
                insert.write(name, doc)
    return path


def plugin(folder: Path, code: str) -> Path:
    """Install another driver, whose code this is."""
    (folder / "other-1.dist-info").mkdir(parents=True)
    (folder / "other-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    announced = "[intake.drivers]\nother-bluesky-catalog = other_plugin:OtherCatalog\n"
    (folder / "other-1.dist-info" / "entry_points.txt").write_text(announced)
    (folder / "other_plugin.py").write_text(code)
    return folder


@pytest.mark.parametrize("opening", [BY_NAME, BY_FUNCTION, BY_YAML], ids=["name", "function", "yaml"])
def test_driver_is_found_and_read(opening: str, runs: Path) -> None:
    done = run(opening + CHECK, str(runs), cwd=runs.parent)
    assert done.returncode == 0, done.stderr


COMMAND = "import sys; from intake_bluesky.apps.cli import main; sys.exit(main())"


def test_the_command_opens_files_by_the_suffix_of_the_driver(runs: Path) -> None:
    done = run(COMMAND, "ls", runs.name, cwd=runs.parent)
    assert done.returncode == 0, done.stderr
    assert "2 runs" in done.stdout
    (runs.parent / "folder").mkdir()
    done = run(COMMAND, "ls", "folder", cwd=runs.parent)
    assert "it has no files of *.json or *.jsonl or *.msgpack or *.ndjson or *.runs" in done.stderr


def test_a_suffix_of_two_drivers_is_an_error(runs: Path, tmp_path: Path) -> None:
    other = (
        "from intake_bluesky import BlueskyCatalog\nclass OtherCatalog(BlueskyCatalog):\n    suffixes = ('.runs',)\n"
    )
    done = run(COMMAND, "ls", str(runs), cwd=tmp_path, plugins=plugin(tmp_path / "other", other))
    assert done.returncode == 2
    for word in ("'.runs'", "one_file_plugin.catalog.OneFileCatalog", "other_plugin.OtherCatalog", "uninstall"):
        assert word in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_broken_driver_is_a_warning(runs: Path, tmp_path: Path) -> None:
    done = run(COMMAND, "ls", str(runs), cwd=tmp_path, plugins=plugin(tmp_path / "other", "raise OSError('broken')"))
    assert done.returncode == 0, done.stderr
    assert "2 runs" in done.stdout
    assert "other-bluesky-catalog" in done.stderr
    assert "broken" in done.stderr


def test_driver_that_is_not_installed_is_not_found(tmp_path: Path) -> None:
    code = "import intake; assert 'bluesky-one-file-catalog' not in intake.registry"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
