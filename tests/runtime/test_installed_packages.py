"""Packages that are in the way: an Intake too old, and the prototype that is imported by the same name."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from intake_bluesky.errors import MissingDependency
from intake_bluesky.runtime.installed_packages import check_installed_packages


def put(folder: Path, name: str, version: str) -> None:
    """Make what pip leaves of a package that it installed into a folder."""
    home = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    home.mkdir()
    (home / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_told_of_the_prototype(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings(action="error"):
        check_installed_packages()
    put(tmp_path, "intake-bluesky", "0.1.0a10")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(UserWarning, match="0.1.0a10 is installed here, too.*pip uninstall intake-bluesky"):
        check_installed_packages()


@pytest.mark.parametrize(
    ("version", "enough"), [("0.6.4", False), ("2.0.7", False), ("2.0.8", True), ("2.1.0.dev1", True)]
)
def test_an_intake_too_old(version: str, enough: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "intake", version)
    monkeypatch.syspath_prepend(tmp_path)
    if enough:
        check_installed_packages()
        return
    with pytest.raises(MissingDependency, match=rf'Intake {version} is installed.*pip install "intake>=2.0.8"'):
        check_installed_packages()


@pytest.mark.parametrize(
    "use",
    [
        "from intake_bluesky import open_catalog",
        "from intake_bluesky import catalog",
        "from intake_bluesky_jsonl import BlueskyJSONLCatalog",
    ],
)
def test_the_first_import_says_so(use: str, tmp_path: Path) -> None:
    put(tmp_path, "intake", "0.6.4")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {use}"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert told.stderr.splitlines()[-1].startswith("intake_bluesky.errors.MissingDependency: Intake 0.6.4 is installed")
