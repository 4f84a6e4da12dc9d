"""No test touches the user's index cache; the examples of the README and of docs/ run as tests.

Each page of the documentation runs in an empty folder of its own: its Python, its commands `intake-bluesky`, and the
entries of its YAML, which are made and not connected to anything. Python after a block of YAML has its text as `shown`.
"""

from __future__ import annotations

import doctest
import os
import shlex
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import intake
import pytest
import yaml
from sybil import Example, Sybil
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser, SkipParser

from intake_bluesky.apps.cli import main

GROUPS = {"intake.catalogs", "intake.drivers", "intake_bluesky.assets", "intake_bluesky.codecs", "databroker.handlers"}
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


def make_entries(example: Example) -> None:
    """Make the catalog of each entry, so that its driver and its arguments exist."""
    example.namespace["shown"] = example.parsed
    content = yaml.safe_load(example.parsed)
    if "args" in content:
        content = {"sources": {"shown": {"driver": "bluesky-jsonl-catalog", **content}}}
    if "sources" in content:
        Path("shown.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
        cat = intake.open_catalog("shown.yml")
        assert all(cat[name].store for name in content["sources"])


def run_commands(example: Example) -> None:
    """Run `intake-bluesky`, up to the first `>` or `||`; `pip` and others are not this package's.

    Notebooks are run by Sphinx, in another folder.
    """
    for line in () if "file_format: mystnb" in example.document.text else example.parsed.splitlines():
        words = shlex.split(line.removeprefix("$ ")) if "intake-bluesky " in line else []
        if words[:1] == ["intake-bluesky"]:
            code = main(list(takewhile(lambda word: word not in {">", "||"}, words[1:])))
            assert code in {0, 1}, f"{line} exits with {code}"  # 1: `validate` or `catalogs` found something


def check_groups(example: Example) -> None:
    """Entry points are announced under a group that is looked at."""
    assert tomllib.loads(example.parsed)["project"]["entry-points"].keys() <= GROUPS


collect_ignore = ["docs/draw_notebook.py"]  # which needs a browser

pytest_collect_file = Sybil(
    parsers=[
        PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS),
        CodeBlockParser("yaml", make_entries),
        CodeBlockParser("sh", run_commands),
        CodeBlockParser("console", run_commands),
        CodeBlockParser("toml", check_groups),
        SkipParser(),
    ],
    patterns=["README.md", "docs/**/*.md"],
    fixtures=["empty_folder"],
).pytest()
