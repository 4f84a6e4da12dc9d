"""Items to columns and back, against the parser alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import numpy as np
import orjson
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from intake_bluesky.documents.model import Document, EventPage
from intake_bluesky.documents.pages import events_of
from intake_bluesky.files.codec import Codec
from intake_bluesky.testing.runs import Run
from intake_bluesky_jsonl import JSONLCodec
from intake_bluesky_jsonl import pages as typed
from intake_bluesky_msgpack import MsgpackCodec

EVENTS = 100_000
BLOCK = 1 << 20
KEYS = [f"x{i}" for i in range(6)]
DESCRIPTOR = "d1f7c2a4-5b0e-4c58-9a53-0d9f3a1b7c11"
CODECS: dict[str, Codec] = {"jsonl": JSONLCodec(), "msgpack": MsgpackCodec()}
PARSERS: dict[str, Callable[[bytes], Any]] = {"jsonl": orjson.loads, "msgpack": msgpack.unpackb}
DUMPERS: dict[str, Callable[[Any], bytes]] = {"jsonl": orjson.dumps, "msgpack": msgpack.packb}
ROUNDS = 7


def pages(size: int) -> Iterator[Document]:
    """Event pages of `size` events of six numbers."""
    for start in range(0, EVENTS, size):
        rng, seq_num = np.random.default_rng(start), list(range(start + 1, start + size + 1))
        times = [1.7e9 + n + 0.123456 for n in seq_num]
        data = {key: rng.normal(size=size).tolist() for key in KEYS}
        own = {"descriptor": DESCRIPTOR, "uid": [f"{DESCRIPTOR[:-6]}{n:06d}" for n in seq_num], "filled": {}}
        yield {**own, "seq_num": seq_num, "time": times, "data": data, "timestamps": dict.fromkeys(KEYS, times)}


def documents(shape: str) -> Run:
    """A hundred thousand events, in pages of the size in the name or single."""
    if shape == "single events":
        return [("event", event) for page in pages(10_000) for event in events_of(page)]
    return [("event_page", page) for page in pages(int(shape.rsplit(maxsplit=1)[-1]))]


SHAPES = ["pages of 1000", "pages of 10000", "single events"]


@pytest.fixture(scope="module", params=[(form, shape) for form in CODECS for shape in SHAPES], ids=" ".join)
def stored(request: pytest.FixtureRequest) -> tuple[str, str, list[bytes]]:
    form, shape = request.param
    return form, shape, [CODECS[form].encode(*pair) for pair in documents(shape)]


def blocks(items: list[bytes]) -> list[bytes]:
    """Items joined as a file store reads them: up to a MiB."""
    joined: list[list[bytes]] = [[]]
    for item in items:
        joined[-1].append(item)
        if sum(map(len, joined[-1][-1:])) >= BLOCK or len(joined[-1]) * len(item) >= BLOCK:
            joined.append([])
    return [b"".join(some) for some in joined if some]


def by_hand(items: list[bytes], parse: Callable[[bytes], Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The least that gives columns: the parser on each item, numpy on each column."""
    found: dict[str, list[Any]] = {key: [] for key in KEYS}
    for item in items:
        name, doc = parse(item)
        for key, values in doc["data"].items():
            found[key].append(np.asarray(values) if name == "event_page" else values)
    return {key: np.hstack(parts) if len(parts) < EVENTS else np.asarray(parts) for key, parts in found.items()}


def by_codec(codec: Codec, items: list[bytes]) -> list[EventPage]:
    return [page for block in items for page in codec.event_pages(block, DESCRIPTOR)]


def test_floor_parser_and_asarray(benchmark: BenchmarkFixture, stored: tuple[str, str, list[bytes]]) -> None:
    form, shape, items = stored
    benchmark.group = f"{form}: {EVENTS:,} events x {len(KEYS)} to columns, {shape}"
    columns = benchmark.pedantic(by_hand, (items, PARSERS[form]), rounds=ROUNDS)
    assert {len(column) for column in columns.values()} == {EVENTS}


def test_event_pages(benchmark: BenchmarkFixture, stored: tuple[str, str, list[bytes]]) -> None:
    form, shape, items = stored
    benchmark.group = f"{form}: {EVENTS:,} events x {len(KEYS)} to columns, {shape}"
    found = benchmark.pedantic(by_codec, (CODECS[form], blocks(items)), rounds=ROUNDS)
    assert sum(map(len, found)) == EVENTS
    assert all(list(page.data) == KEYS for page in found)


def test_event_pages_without_simdjson(
    benchmark: BenchmarkFixture, stored: tuple[str, str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    form, shape, items = stored
    if form != "jsonl" or shape == "single events":
        pytest.skip("the same as with simdjson, which is for pages of JSON")
    monkeypatch.setattr(typed, "simdjson", None)
    benchmark.group = f"{form}: {EVENTS:,} events x {len(KEYS)} to columns, {shape}"
    found = benchmark.pedantic(by_codec, (CODECS[form], blocks(items)), rounds=ROUNDS)
    assert sum(map(len, found)) == EVENTS


def split(codec: Codec, data: list[bytes]) -> int:
    return sum(1 for block in data for _ in codec.split(block))


def test_split(benchmark: BenchmarkFixture, stored: tuple[str, str, list[bytes]]) -> None:
    form, shape, items = stored
    benchmark.group = f"{form}: {EVENTS:,} events x {len(KEYS)} to columns, {shape}"
    assert benchmark.pedantic(split, (CODECS[form], blocks(items)), rounds=ROUNDS) == len(items)


@pytest.mark.parametrize("form", sorted(CODECS))
def test_floor_dumps(benchmark: BenchmarkFixture, form: str) -> None:
    run, dumps = documents("single events"), DUMPERS[form]
    benchmark.group = f"{form}: {EVENTS:,} single events to bytes"
    items = benchmark.pedantic(lambda: [dumps(pair) for pair in run], rounds=ROUNDS)
    assert len(items) == EVENTS


@pytest.mark.parametrize("form", sorted(CODECS))
def test_encode(benchmark: BenchmarkFixture, form: str) -> None:
    run, codec = documents("single events"), CODECS[form]
    benchmark.group = f"{form}: {EVENTS:,} single events to bytes"
    items = benchmark.pedantic(lambda: [codec.encode(name, doc) for name, doc in run], rounds=ROUNDS)
    assert len(items) == EVENTS
