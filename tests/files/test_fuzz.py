"""Whatever chance makes of a file, it costs that file's run: no error but ours, the others whole, in little time."""

from __future__ import annotations

import os
import resource
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import cache, partial
from io import StringIO
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky import BlueskyCatalog, BlueskyRun, BlueskyStream, Data
from intake_bluesky.apps.cli.commands import main
from intake_bluesky.apps.validate import validate
from intake_bluesky.catalogs.file_catalog import FileCatalog
from intake_bluesky.documents.model import identical
from intake_bluesky.errors import IntakeBlueskyError
from intake_bluesky.query import Config, DataKey, Device, FullText, Start, Stop
from intake_bluesky.testing import EXAMPLES, Run
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_msgpack import BlueskyMsgpackCatalog
from tests.files.damage_by_chance import WRAP, damaged, plain

# Of each example of hypothesis: 500 of them are 20,000 files for `make fuzz`.
AT_LENGTH: Final = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
CATALOGS: Final = 8 if AT_LENGTH else 1
FILES: Final = 5 if AT_LENGTH else 2  # in one catalog
SECONDS: Final = 10.0  # of a processor, a file
MEMORY: Final = 1 << 30  # bytes more than before
FORMATS: Final[list[type[FileCatalog]]] = [BlueskyJSONLCatalog, BlueskyMsgpackCatalog]
GOOD: Final = "scan"


@cache
def runs(folder: str) -> dict[str, Run]:
    """The example runs, and what detectors wrote for them."""
    return {name: plain(make(Path(folder))) for name, make in EXAMPLES.items() if name != GOOD}


@pytest.fixture(scope="module")
def detectors() -> Iterator[str]:
    with TemporaryDirectory() as folder:
        yield folder


@pytest.mark.slow
@pytest.mark.hypothesis
@given(seed=st.integers(0, 2**32 - 1))
def test_damaged_files(seed: int, detectors: str) -> None:
    for number in range(CATALOGS):
        check(Random(f"{seed} {number}"), detectors)


def check(chance: Random, detectors: str) -> None:
    catalog_class = chance.choice(FORMATS)
    codec = catalog_class.store_class().codec
    good = plain(EXAMPLES[GOOD](Path(detectors)))
    with TemporaryDirectory() as folder:
        Path(folder, f"good{codec.suffix}").write_bytes(b"".join(codec.encode(name, doc) for name, doc in good))
        for name, run in chance.sample(sorted(runs(detectors).items()), FILES):
            compression = chance.choice(list(WRAP))
            Path(folder, f"{name}{codec.suffix}{compression}").write_bytes(damaged(run, codec, compression, chance))
        began, held = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        quiet = redirect_stdout(StringIO()), redirect_stderr(StringIO())
        with warnings.catch_warnings(action="ignore"), quiet[0], quiet[1]:
            ask_everything(catalog_class(folder), folder, good)
        # Measured where that is what is asked: how long a test takes is the machine's business.
        assert not AT_LENGTH or time.process_time() - began < SECONDS * FILES
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) * 1024 < MEMORY


def ask_everything(cat: BlueskyCatalog, folder: str, good: Run) -> None:
    uid = good[0][1]["uid"]
    assert uid in list(cat)
    cat.refresh(deep=True)
    assert uid in list(cat)
    repr(cat), [repr(problem) for problem in cat.problems]
    for query in (
        Data("theta").max() > 0,
        Start("plan_name") == "scan",
        FullText("scan"),
        Stop("exit_status").exists(),
    ):
        assert uid in list(cat.search(query)), query
    for query in (
        DataKey("x").exists(),
        Device("det").exists(),
        Config("det", "exposure_time") > 0,
        ~(Data("x").min() > 0),
    ):
        len(cat.search(query))
    for found in list(cat):
        with suppress(IntakeBlueskyError):
            read(cat[found])
    for key in ("plan_name", "scan_id", "stop.num_events", "time"):
        cat.distinct(key)
        list(cat.sort(key))
    for word in ("ls", "validate"):
        assert main([word, "--json", folder]) in (0, 1)
        assert main([word, folder]) in (0, 1)
    assert list(validate(cat[uid])) == []
    observed = list(cat[uid].documents())
    assert len(observed) == len(good)
    for (name, doc), (other, same) in zip(observed, good, strict=True):
        assert name == other
        assert identical(doc, same)


def read(run: BlueskyRun) -> None:
    """Look at all of a run, at each part of it whatever becomes of the others."""
    repr(run), run._repr_html_(), run.start, run.stop, run.dimensions
    ours_alone(lambda: list(run.documents()), lambda: list(run.documents(fill="yes")), run.files, run.to_datatree)
    for name in run:
        stream = run[name]
        repr(stream)
        ours_alone(stream.read, partial(_computed, stream), stream.timestamps.read)
        ours_alone(stream.to_dataframe, stream.to_grid, *(source.read for source in stream.config.values()))


def _computed(stream: BlueskyStream) -> object:
    return stream.to_dask().compute()


def ours_alone(*acts: Callable[[], object]) -> None:
    """Do each, whatever becomes of the others; any error but ours is raised."""
    for act in acts:
        with suppress(IntakeBlueskyError):
            act()
