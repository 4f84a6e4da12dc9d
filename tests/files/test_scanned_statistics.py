"""Statistics told by one pass over a file are those that reading the run again gives."""

from __future__ import annotations

import gzip
import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings

from intake_bluesky.documents.columns import Ragged
from intake_bluesky.documents.model import is_external, to_plain
from intake_bluesky.documents.statistics import Statistics
from intake_bluesky.files import FileStore
from intake_bluesky.files.codec import Codec
from intake_bluesky.files.content.source import LocalSource
from intake_bluesky.files.scan.index_entries import scan
from intake_bluesky.index.index import IndexEntry
from intake_bluesky.index.packed_statistics import rows_of, statistics_of
from intake_bluesky.index.search_form import code_text
from intake_bluesky.search.run_statistics import Unmeasured
from intake_bluesky.search.run_view import StoredRun
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky.testing.strategies import runs
from intake_bluesky_jsonl import JSONLCodec, JSONLStore
from intake_bluesky_msgpack import MsgpackCodec, MsgpackStore

Told = Mapping[tuple[str, str], Statistics | None]
FORMATS: Final[dict[str, tuple[Codec, type[FileStore]]]] = {
    ".jsonl": (JSONLCodec(), JSONLStore),
    ".jsonl.gz": (JSONLCodec(), JSONLStore),
    ".msgpack": (MsgpackCodec(), MsgpackStore),
    ".msgpack.zst": (MsgpackCodec(), MsgpackStore),
}
# Seq_nums that do not rise, or two descriptors of one stream that take turns.
UNTOLD: Final = {"rewound", "rewound_and_aborted", "two_descriptors", "bulk_events"}


def packed(run: Run, ending: str) -> bytes:
    codec, _ = FORMATS[ending]
    raw = b"".join(codec.encode(name, to_plain(doc)) for name, doc in run)
    if ending.endswith(".gz"):
        return gzip.compress(raw)
    return zstandard.compress(raw) if ending.endswith(".zst") else raw


def put(folder: Path, run: Run, ending: str) -> Path:
    path = folder / f"run{ending}"
    path.write_bytes(packed(run, ending))
    return path


def scanned(path: Path, ending: str) -> Told | None:
    with closing(LocalSource(str(path))) as source:
        return told_by(scan(FORMATS[ending][0], str(path), source)[0])


def told_by(entry: IndexEntry) -> Told | None:
    """What an entry says of data."""
    packed = entry.statistics
    return None if packed is None else {(stream, key): statistics_of(row) for stream, key, row in rows_of(packed)}


def furthest(numbers: list[Any]) -> Any:
    """How far apart neighbours by size are at most."""
    ordered = sorted(numbers)
    return max((high - low if high > low else 0 for low, high in pairwise(ordered)), default=0)


def leaves(value: Any) -> list[Any]:
    return [leaf for inner in value for leaf in leaves(inner)] if isinstance(value, list) else [value]


def numbers_of(store: FileStore, uid: str, stream: str, key: str) -> list[Any]:
    columns = [page.data[key] for page in store.event_pages(uid, stream) if key in page.data]
    found = [leaves(np.asarray(col.values if isinstance(col, Ragged) else col).tolist()) for col in columns]
    return [v for part in found for v in part if isinstance(v, int | float) and not math.isnan(v)]


def assert_same(observed: Statistics, expected: Statistics) -> None:
    assert type(observed.sum) is type(expected.sum)
    if isinstance(expected.sum, float):
        # In another order, what large numbers of both signs leave over is another.
        largest = max(abs(expected.min or 0), abs(expected.max or 0), 1)
        assert observed.sum == pytest.approx(expected.sum, rel=1e-9, abs=1e-9 * largest, nan_ok=True)
    else:
        assert observed.sum == expected.sum
    assert replace(observed, sum=None, gap=None) == replace(expected, sum=None, gap=None)


def hold(store: FileStore, found: Told | None) -> dict[tuple[str, str], Statistics]:
    """Hold what was found of the one run of a store to what the run says when read; what was told."""
    [run] = store.find()
    if run.stop is None:
        assert found is None
        return {}
    assert found is not None
    header = store.header(run.uid)
    view = StoredRun(Unmeasured(store, header), run)
    declared = {
        (code_text(name), code_text(key)) for name, layout in header.streams.items() for key in layout.data_keys
    }
    assert found.keys() == declared
    names = {code_text(name): name for layout in header.streams.values() for name in (layout.name, *layout.data_keys)}
    for (coded_stream, coded_key), observed in found.items():
        stream, key = names[coded_stream], names[coded_key]
        if is_external(header.streams[stream].data_keys[key]):
            assert observed is None
        elif observed is not None:
            expected = view.statistics(stream, key)
            assert expected is not None
            assert_same(observed, expected)
            numbers = numbers_of(store, run.uid, stream, key)
            assert (observed.gap is None) is (not numbers)
            assert observed.gap is None or observed.gap >= furthest(numbers)
    return {place: observed for place, observed in found.items() if observed is not None}


def inline(store: FileStore) -> set[tuple[str, str]]:
    [run] = store.find()
    return {
        (name, key)
        for name, layout in store.header(run.uid).streams.items()
        for key, spec in layout.data_keys.items()
        if not is_external(spec)
    }


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("example", EXAMPLES)
def test_a_scan_tells_what_reading_tells(folder: Path, tmp_path: Path, example: str, ending: str) -> None:
    path = put(folder, EXAMPLES[example](tmp_path), ending)
    store = FORMATS[ending][1](folder)
    told = hold(store, scanned(path, ending))
    if example == "unfinished":
        assert not told
    elif example not in UNTOLD:
        assert told.keys() == inline(store)
    store.close()


@pytest.mark.parametrize("ending", [".jsonl", ".msgpack"])
@given(run=runs(max_steps=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_scan_tells_what_reading_tells_of_any_run(
    tmp_path_factory: pytest.TempPathFactory, ending: str, run: Run
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    path = put(folder, run, ending)
    store = FORMATS[ending][1](folder)
    try:
        hold(store, scanned(path, ending))
    finally:
        store.close()


def one_stream(*events: int) -> Run:
    """A run of single events with these seq_nums."""
    run = RunComposer("one stream")
    primary = run.descriptor({"x": data_key("number")})
    for seq_num in events:
        run.event(primary, {"x": seq_num / 2}, seq_num=seq_num)
    run.stop()
    return run.documents


def test_many_events_are_looked_at_in_groups(folder: Path) -> None:
    path = put(folder, one_stream(*range(1, 9001)), ".jsonl")
    [observed] = (scanned(path, ".jsonl") or {}).values()
    assert observed is not None
    assert replace(observed, gap=None) == Statistics(9000, 0, 0.5, 4500.0, 20252250.0, 0.5, 4500.0)
    assert observed.gap == pytest.approx(0.5)


@pytest.mark.parametrize("ending", [".jsonl", ".msgpack"])
def test_whatever_many_events_hold_is_told_as_reading_tells_it(folder: Path, ending: str) -> None:
    odd = [7, -2.5, True, None, 2**70, "text", math.inf, [1, 2], math.nan]
    run = RunComposer("many kinds")
    image = run.resource("SPEC", root="/", path="x")
    keys = {"x": data_key("number"), "y": data_key("number"), "z": data_key("string")}
    primary, monitor = run.descriptor(keys), run.descriptor({"m": data_key("integer")}, stream="monitor")
    for n in range(4500):
        data = {"x": n / 8, "y": odd[n // 400 % 9] if n % 400 > 350 else n, "z": str(n)}
        if n % 1500 == 900:
            del data["y"]
        run.event(primary, data)
        if n % 3 == 0:
            run.event(monitor, {"m": -n})
            run.datum(image, n)
    run.stop()
    path = put(folder, run.documents, ending)
    store = FORMATS[ending][1](folder)
    told = hold(store, scanned(path, ending))
    assert told[("primary", "x")].sum == sum(n / 8 for n in range(4500))
    assert told[("monitor", "m")] == Statistics(1500, 0, -4497, 0, -sum(range(0, 4500, 3)), 0, -4497, 3.0)
    streams = store.header(run.run_uid).streams
    assert {name: layout.events for name, layout in streams.items()} == {"primary": 4500, "monitor": 1500}
    store.close()


@pytest.mark.parametrize("seq_nums", [(1, 2, 3, 2), (1, 1), (*range(1, 300), 5), (3, 2, 1)])
def test_events_out_of_order_tell_nothing(folder: Path, seq_nums: tuple[int, ...]) -> None:
    path = put(folder, one_stream(*seq_nums), ".jsonl")
    assert scanned(path, ".jsonl") == {("primary", "x"): None}


def test_nor_do_damaged_files(folder: Path) -> None:
    path = put(folder, one_stream(1, 2, 3), ".jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    for damaged in (
        [*lines[:3], b"what is this\n", *lines[3:]],
        [*lines, b'["ev'],
        [*lines[:3], lines[3].replace(b'"x":', b'"x" '), *lines[4:]],
        [*lines[:3], lines[3].replace(b'"seq_num":2', b'"seq_num":"2"'), *lines[4:]],
    ):
        path.write_bytes(b"".join(damaged))
        assert scanned(path, ".jsonl") == {("primary", "x"): None}


def test_runs_without_stop_tell_nothing_and_those_followed_as_they_grew_neither(folder: Path) -> None:
    run = one_stream(1, 2, 3)
    path = put(folder, run[:-1], ".jsonl")
    codec = FORMATS[".jsonl"][0]
    with closing(LocalSource(str(path))) as source:
        earlier, _ = scan(codec, str(path), source)
    assert earlier.statistics is None
    put(folder, run, ".jsonl")
    with closing(LocalSource(str(path))) as source:
        resumed, _ = scan(codec, str(path), source, earlier)
    assert resumed.stop is not None
    assert resumed.statistics is None
    assert scanned(path, ".jsonl") is not None
