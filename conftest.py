"""No test touches the user's index cache; the examples of the README and of docs/ run as tests.

Each page of the documentation runs in an empty folder of its own.
"""

from __future__ import annotations

import doctest
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser

CACHE = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Doctests open stores before any fixture could."""
    config.stash[CACHE] = os.environ["INTAKE_BLUESKY_CACHE"] = tempfile.mkdtemp(prefix="intake-bluesky-cache-")
    os.environ["MPLBACKEND"] = "Agg"  # no windows


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    shutil.rmtree(config.stash[CACHE], ignore_errors=True)


@pytest.fixture(scope="module")
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run in an empty folder, with an index cache of its own."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("INTAKE_BLUESKY_CACHE", str(folder / ".cache"))
        yield folder


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS), SkipParser()],
    patterns=["README.md", "docs/**/*.md"],
    fixtures=["empty_folder"],
).pytest()
