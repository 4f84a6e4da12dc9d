"""The package of the page on publishing, made of the page's own text, built and installed as users do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from tests.servers.s3 import Buckets

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "publish-a-catalog.md"
SAVED_AND_PIPED = """
import intake, sys
from intake_bluesky import catalog
readers = intake.readers.entry.Catalog()
readers["scan"] = catalog.examples[-1].primary.reader()
readers.to_yaml_file("saved.yaml")
again = intake.open_catalog("saved.yaml")["scan"]
assert again.token == readers["scan"].token == intake.cat.examples[-1].primary.reader().token
assert again.kwargs["catalog"] == {"entry": "examples", "file": sys.argv[1]}, again
assert again.read().sizes["time"] == 11
"""


def block(language: str) -> str:
    """The first block of the page in a language."""
    found = re.search(rf"^```{language}\n(?!>>>)(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def process(where: Path, environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        command, cwd=where, env=environment, capture_output=True, text=True, check=False, timeout=300
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the package was installed; that with its sources is gone."""
    folder = tmp_path_factory.mktemp("published")
    package = folder / "beamline-catalogs" / "beamline_catalogs"
    for year, example in (("2025", "count"), ("2026", "scan")):
        with BlueskyJSONLCatalog(package / "runs" / year).writer() as write:
            for pair in EXAMPLES[example](folder):
                write(*pair)
    (package / "__init__.py").write_text(block("python"), encoding="utf-8")
    (package / "catalogs.yml").write_text(block("yaml"), encoding="utf-8")
    (package.parent / "pyproject.toml").write_text(block("toml"), encoding="utf-8")
    uv = str(Path(sys.executable).with_name("uv"))
    options = ["--no-deps", "--python", sys.executable]
    process(folder, dict(os.environ), uv, "pip", "install", *options, "--target", "site", str(package.parent))
    package.parent.rename(folder / "gone")
    return folder / "site"


@pytest.fixture
def environment(installed: Path, tmp_path: Path) -> dict[str, str]:
    """A process of a user who has installed it."""
    others = {name: value for name, value in os.environ.items() if name not in ("INTAKE_PATH", "VIRTUAL_ENV")}
    return {
        **others,
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "VIRTUAL_ENV": str(tmp_path / "venv"),  # Intake asks conda and distutils without one
        "PYTHONPATH": str(installed),
        "INTAKE_BLUESKY_CACHE": str(tmp_path / "cache"),
    }


def test_users_see_what_the_page_says(environment: dict[str, str], tmp_path: Path) -> None:
    said = PAGE.read_text(encoding="utf-8").partition("## What users see")[2].partition("<!--- skip: end")[0]
    (tmp_path / "said.md").write_text(said.replace("```", ""), encoding="utf-8")
    told = process(tmp_path, environment, sys.executable, "-m", "doctest", "-v", "said.md")
    assert f"{said.count('>>> ')} tests" in told


def test_the_command_shows_and_opens_it(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "intake_bluesky.apps.cli"]
    listed = process(tmp_path, environment, *command, "catalogs")
    assert re.search(r"examples .*beamline-catalogs \(beamline_catalogs:catalogs.examples\)", listed), listed
    assert "1 run" in process(tmp_path, environment, *command, "ls", "examples")


INTAKE_SEES = """
import intake
assert {"examples", "archive"} <= set(intake.cat) and {"examples", "archive"} <= set(intake.cat.walk())
run = intake.cat["examples", -1]
assert intake.cat[f"examples.{run.uid}.primary"] == intake.cat["examples", run.uid, "primary"] == run.primary
assert f"{run.uid}.primary" in intake.cat.examples.walk(depth=2)
for number, one in enumerate((intake.cat.examples, intake.cat.examples(year="2025"), run)):
    with open(f"{number}.yml", "w") as file:
        file.write(one.yaml())
    (again,) = intake.open_catalog(f"{number}.yml").values()
    assert list(again) == ([run.uid] if one is run else list(one)), again
"""


def test_intakes_own_objects_see_it(environment: dict[str, str], tmp_path: Path) -> None:
    process(tmp_path, environment, sys.executable, "-c", INTAKE_SEES)


def test_readers_name_the_file_in_the_package(environment: dict[str, str], installed: Path, tmp_path: Path) -> None:
    file = str(installed / "beamline_catalogs" / "catalogs.yml")
    process(tmp_path, environment, sys.executable, "-c", SAVED_AND_PIPED, file)


def test_the_archive_is_read_from_its_bucket(environment: dict[str, str], tmp_path: Path, buckets: Buckets) -> None:
    from intake_bluesky_bucket import BlueskyBucketCatalog

    options: dict[str, Any] = {"key": buckets.key, "secret": buckets.secret, "endpoint_url": buckets.endpoint}
    place = f"public/{uuid4().hex}"  # a folder of the bucket, which other tests use, too
    with BlueskyBucketCatalog(f"s3://{place}/runs", storage_options=options).writer() as write:
        for pair in EXAMPLES["scan"](tmp_path):
            write(*pair)
    code = "import sys; from intake_bluesky import catalog; print(len(catalog['archive'](bucket=sys.argv[1])))"
    told = process(tmp_path, {**environment, "AWS_ENDPOINT_URL": buckets.endpoint}, sys.executable, "-c", code, place)
    assert told.split() == ["1"]
