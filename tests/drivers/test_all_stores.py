"""The same runs in every store: one Dataset, one answer, and the values of the documents."""

from __future__ import annotations

import json
import math
import resource
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar
from uuid import NAMESPACE_URL, uuid4, uuid5

import pytest
import xarray as xr
from event_model import DocumentNames, schema_validators
from hypothesis import settings
from pymongo import MongoClient

from intake_bluesky import BlueskyCatalog, Data, Start, Stop
from intake_bluesky.catalogs.federated import BlueskyFederatedCatalog
from intake_bluesky.datasets.options import DatasetOptions
from intake_bluesky.datasets.stream_reader import StreamReader
from intake_bluesky.documents.model import ALL_KEYS, stream_name, to_plain
from intake_bluesky.errors import UnknownKeyWarning, UnsupportedOperation
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.expected import same_value, stored_events
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.queries import queries
from intake_bluesky.testing.queries import runs as searched_runs
from intake_bluesky.testing.runs import EXAMPLES, odd_runs
from intake_bluesky.testing.strategies import odd_runs as drawn_runs
from intake_bluesky_bucket import BlueskyBucketCatalog
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_mongo import EmbeddedStore, NormalizedStore
from intake_bluesky_msgpack import BlueskyMsgpackCatalog
from intake_bluesky_simulation import BlueskySimulationCatalog
from intake_bluesky_sql import SQLStore
from intake_bluesky_zarr import BlueskyZarrCatalog
from tests.drawn import drawn
from tests.drivers.mongo_stores import EAGER
from tests.drivers.simulated import LATTICE, pattern
from tests.drivers.simulated import write as write_output
from tests.servers.mongo import new_database, uri_of
from tests.servers.postgres import Postgres
from tests.servers.s3 import Buckets

pytestmark = [pytest.mark.slow, pytest.mark.hypothesis, pytest.mark.timeout(3600)]
T = TypeVar("T")
Stores: TypeAlias = dict[str, RunStore]
MOST_BYTES: Final = 2**30
MOST_SECONDS: Final = 10.0


def number(few: int, many: int) -> int:
    """How many examples: few in every test run, four times as many at length, and many in `make fuzz`."""
    return {"fuzz": many, "long": 4 * few}.get(str(settings.get_current_profile_name()), few)


@pytest.fixture
def stores(
    tmp_path: Path,
    postgres: Postgres,
    mongodb: str,
    mongo_client: MongoClient[dict[str, Any]],
) -> Iterator[Stores]:
    """One store of each kind."""
    with ExitStack() as stack:
        normalized, paged, embedded = (
            uri_of(mongodb, stack.enter_context(new_database(mongo_client)).name) for _ in range(3)
        )
        made: Stores = {
            "JSONL": BlueskyJSONLCatalog(str(tmp_path / "jsonl")).store,
            "MessagePack": BlueskyMsgpackCatalog(str(tmp_path / "msgpack")).store,
            "SQLite": SQLStore(tmp_path / "runs.db"),
            "PostgreSQL": SQLStore(postgres.uri()),
            "MongoDB": NormalizedStore(normalized, writable=True, buffering=EAGER),
            "MongoDB, pages": NormalizedStore(paged, writable=True, event_pages=True, buffering=EAGER),
            "MongoDB, embedded": EmbeddedStore(embedded, writable=True, buffering=EAGER),
        }
        yield made
        for store in made.values():
            store.close()


def write(store: RunStore, run: Run) -> None:
    with store.insert(run[0][1]) as insert:
        for name, doc in run[1:]:
            insert.write(name, doc)
    store.refresh()


def renamed(run: Run, label: str) -> Run:
    """The run with other uids: examples that are drawn may be the same twice."""
    known = {doc["uid"] for _, doc in run if isinstance(doc.get("uid"), str)}
    known |= {uid for _, doc in run if isinstance(doc.get("uid"), list) for uid in doc["uid"]}
    new = {uid: str(uuid5(NAMESPACE_URL, f"{label} {uid}")) for uid in known}

    def renew(value: Any) -> Any:
        if isinstance(value, list):
            return [new.get(v, v) for v in value]
        return new.get(value, value) if isinstance(value, str) else value

    links = ("uid", "run_start", "descriptor")
    return [(name, {key: renew(v) if key in links else v for key, v in doc.items()}) for name, doc in run]


def has_nul(value: Any) -> bool:
    """Whether a key somewhere within has a NUL."""
    if isinstance(value, dict):
        return any("\0" in key or has_nul(inner) for key, inner in value.items())
    return isinstance(value, (list, tuple)) and any(map(has_nul, value))


def read_both_ways(store: RunStore, uid: str) -> dict[str, tuple[xr.Dataset, xr.Dataset]]:
    header = store.header(uid)
    found = {}
    for name in header.streams:
        reader = StreamReader(store, header, name, DatasetOptions())
        lazy = reader.to_dask()
        computed = lazy.compute(scheduler="sync")
        # What dask was told is what it computes.
        assert {n: (v.dtype, v.shape) for n, v in lazy.items()} == {n: (v.dtype, v.shape) for n, v in computed.items()}
        found[name] = reader.read(), computed
    return found


def told(dataset: xr.Dataset) -> Any:
    """All of a Dataset as plain values that can be compared; NaN equals NaN."""
    variables = {
        str(name): (v.dims, str(v.dtype), v.shape, v.attrs, _comparable(to_plain(v.values)))
        for name, v in dataset.variables.items()
    }
    return variables, dataset.attrs


def _comparable(value: Any) -> Any:
    if isinstance(value, list):
        return [_comparable(v) for v in value]
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def check_values(run: Run, stream: str, dataset: xr.Dataset) -> None:
    """Hold a Dataset to the documents."""
    seq_nums, columns = cells_of(run, stream)
    assert dataset["seq_num"].values.tolist() == seq_nums
    keys = {variable.attrs.get("key", name): variable for name, variable in dataset.items()}
    # A name that no file can have is in the attribute as JSON.
    keys = {json.loads(key) if key[:1] == '"' and key not in columns else key: found for key, found in keys.items()}
    assert columns.keys() <= keys.keys(), "a key that events have is lost"
    for key, variable in keys.items():
        for observed, expected in zip(variable.values, columns.get(key, [None] * len(seq_nums)), strict=True):
            assert fits(to_plain(observed), expected), (key, variable.dtype, observed, expected)


def cells_of(run: Run, stream: str) -> tuple[list[int], dict[str, list[Any]]]:
    """The value of each key at each seq_num, None where there is none, worked out without the code under test."""
    events = stored_events(run)[stream]
    declared = {d["uid"]: set(d["data_keys"]) for n, d in run if n == "descriptor" and stream_name(d) == stream}
    groups = [{uid} for uid in declared]
    for one, other in product(declared, declared):
        if declared[one] & declared[other]:
            mine, theirs = (next(g for g in groups if uid in g) for uid in (one, other))
            if mine is not theirs:
                groups.remove(theirs)
                mine |= theirs
    columns: dict[str, list[Any]] = {}
    seq_nums = sorted({event["seq_num"] for event in events})
    for key in dict.fromkeys(
        [*(k for keys in declared.values() for k in keys), *(k for e in events for k in e["data"])]
    ):
        known = any(key in keys for keys in declared.values())
        having = {uid for uid, keys in declared.items() if key in keys} if known else {
            e["descriptor"] for e in events if key in e["data"]
        }  # fmt: skip
        own = set().union(*(group for group in groups if group & having))
        # Events of other descriptors count where there is no own one, should they have the key all the same.
        last = {e["seq_num"]: e for e in sorted(events, key=lambda e: e["descriptor"] in own)}
        columns[key] = [last[seq_num]["data"].get(key) for seq_num in seq_nums]
    return seq_nums, columns


def fits(observed: Any, expected: Any) -> bool:
    """Whether a value is that of the document, perhaps among what is missing where others of its key are larger."""
    if observed is None and isinstance(expected, list):
        return all(fits(None, value) for value in expected)  # an array of what is missing, among objects
    if isinstance(observed, list) and isinstance(expected, list):
        padded = [*expected, *[None] * (len(observed) - len(expected))]
        return len(observed) >= len(expected) and all(map(fits, observed, padded))
    return same_value(observed, expected)


def test_odd_runs_are_schema_valid() -> None:
    for run in drawn(drawn_runs(), 50):
        for name, doc in run:
            assert not list(schema_validators[DocumentNames[name]].iter_errors(doc))


def test_odd_runs_give_the_values_of_their_documents_in_every_store(stores: Stores) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = renamed(EXAMPLES["scan"](Path("unused")), "kept")
    expected = {}
    for kind, store in stores.items():
        write(store, kept)
        expected[kind] = told(read_both_ways(store, kept[0][1]["uid"])["primary"][0])
    for place, run in enumerate(drawn(drawn_runs(), number(15, 2000))):
        run = renamed(run, str(place))
        uid, streams = run[0][1]["uid"], {stream_name(d) for n, d in run if n == "descriptor"}
        found: dict[tuple[str, str, str], Any] = {}
        for kind, store in stores.items():
            begun = time.process_time()
            try:
                write(store, run)
            except UnsupportedOperation:
                assert kind.startswith("MongoDB")
                assert has_nul(run), "BSON has no keys with NUL, and holds all else"
                continue
            datasets = read_both_ways(store, uid)
            assert datasets.keys() == streams, place
            for stream, both in datasets.items():
                for way, dataset in zip(("read", "to_dask"), both, strict=True):
                    check_values(run, stream, dataset)
                    found[kind, way, stream] = told(dataset)
                    assert found[kind, way, stream] == found["JSONL", "read", stream], (kind, way, stream)
            assert number(0, 1) == 0 or time.process_time() - begun < MOST_SECONDS, kind  # in `make fuzz`
            store.remove(uid, permanent=True)  # the server that stands in for MongoDB is slow where it holds many
    for kind, store in stores.items():
        assert told(read_both_ways(store, kept[0][1]["uid"])["primary"][0]) == expected[kind], "another run changed"
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_BYTES


def test_examples_are_one_dataset_in_every_store(stores: Stores) -> None:
    names = [name for name, make in vars(odd_runs).items() if name in EXAMPLES and callable(make)]
    assert len(names) > 15
    for name in names:
        run = EXAMPLES[name](Path("unused"))
        for store in stores.values():
            write(store, run)
        found = {kind: read_both_ways(store, run[0][1]["uid"]) for kind, store in stores.items()}
        for kind, datasets in found.items():
            assert datasets.keys() == found["JSONL"].keys()
            for stream, both in datasets.items():
                for dataset in both:
                    assert told(dataset) == told(found["JSONL"][stream][0]), (name, kind, stream)


@pytest.mark.filterwarnings("ignore::intake_bluesky.errors.UnknownKeyWarning")
def test_queries_have_one_answer_in_every_store(stores: Stores) -> None:
    refused = set()
    for place, run in enumerate(drawn(searched_runs(whole=True), number(25, 80))):
        documents = renamed(run.documents(), f"searched {place}")
        for kind, store in stores.items():
            try:
                write(store, documents)
            except UnsupportedOperation:  # of metadata that BSON has no form for, perhaps those of the stop
                assert kind.startswith("MongoDB")
                refused.add(documents[0][1]["uid"])
    catalogs = {kind: BlueskyCatalog(store) for kind, store in stores.items()}
    common = {run.uid for run in stores["JSONL"].find()} - refused
    assert len(common) > 5
    for query in drawn(queries(whole=True, max_leaves=4), number(20, 500)):
        found = {kind: [uid for uid in catalog.search(query) if uid in common] for kind, catalog in catalogs.items()}
        for kind, answer in found.items():
            assert answer == found["JSONL"], (kind, query)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of runs that cannot be read where they would decide
def test_a_federation_of_all_stores_finds_what_each_does(stores: Stores, buckets: Buckets, tmp_path: Path) -> None:
    """Every kind of query, order and facet, over servers, files and buckets at once; some runs are in two of them."""
    options = {"key": buckets.key, "secret": buckets.secret, "endpoint_url": buckets.endpoint}
    for name, driver in (("bucket", BlueskyBucketCatalog), ("Zarr", BlueskyZarrCatalog)):
        stores[name] = driver(f"s3://private/{uuid4().hex}", storage_options=options).store
    kinds, whole = list(stores), MemoryStore()
    for place, run in enumerate(drawn(searched_runs(whole=True), number(30, 80))):
        documents = renamed(run.documents(), f"federated {place}")
        chosen = {kinds[place % len(kinds)], kinds[(place if place % 3 else place + 4) % len(kinds)]}
        # BSON has no form for some metadata: such a run is in none of MongoDB's.
        errors = [error for kind in chosen for error in stores[kind].insert_runs([documents])]
        assert all(error is None or isinstance(error, UnsupportedOperation) for error in errors)
        if None in errors:
            whole.put(documents)
    for a in LATTICE:
        write_output(pattern(a), tmp_path / f"a_{a}.nc")
    stores["simulations"] = BlueskySimulationCatalog(f"{tmp_path}/a_{{a:f}}.nc").store
    for simulation in stores["simulations"].find():
        whole.put(list(stores["simulations"].documents(simulation.uid)))
    for store in stores.values():
        store.refresh()
    assert whole.count() > 20
    federated = BlueskyFederatedCatalog({kind: BlueskyCatalog(store) for kind, store in stores.items()})
    expected = BlueskyCatalog(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownKeyWarning)
        for query in drawn(queries(whole=True, max_leaves=4), number(20, 300)):
            found, right = federated.search(query), expected.search(query)
            assert list(found) == list(right), query
            assert len(found) == len(right), query
            keys = ("plan_name", "-stop.exit_status", "scan_id")
            assert list(found.sort(*keys)) == list(right.sort(*keys)), query
            assert found.distinct(*keys[::2], missing=True) == right.distinct(*keys[::2], missing=True), query
    assert {run.origin.source for run in federated.values()} > {
        "JSONL", "SQLite", "PostgreSQL", "bucket", "Zarr", "simulations"
    }  # fmt: skip
    for kind in ("bucket", "Zarr", "simulations"):
        stores[kind].close()


UNKNOWN: Final[Mapping[str, Callable[[BlueskyCatalog], Any]]] = {
    "no run has the key 'exit_status' in its run start: did you mean stop.exit_status?": (
        lambda cat: len(cat.search({"exit_status": "success"}))
    ),
    "no run has the key 'plan_nam' in its run start: did you mean plan_name?": (
        lambda cat: list(cat.search((Start("plan_nam") == "scan") | (Start("plan_name") == "count")))
    ),
    "no run has the key 'scan_idd' in its run start: did you mean scan_id?": lambda cat: list(cat.sort("-scan_idd")),
    "no run has the key 'sample.nam' in its run start: did you mean sample.name or sample?": (
        lambda cat: cat.to_dataframe(["sample.nam", "sample.name"])
    ),
    "no run has the key 'stop.reasn' in its run stop: did you mean stop.reason?": lambda cat: cat.distinct(
        "stop.reasn"
    ),
    "no run recorded 'thta': did you mean Data('theta')?": lambda cat: list(cat.search(Data("thta").max() > 5)),
}


def test_keys_that_no_run_has_are_told_in_every_store(stores: Stores) -> None:
    for kind, store in stores.items():
        for name in ("count", "scan", "failed"):
            write(store, EXAMPLES[name](Path("unused")))
        cat = BlueskyCatalog(store)
        for message, ask in UNKNOWN.items():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                ask(cat)
                ask(cat)
            assert [str(one.message) for one in caught] == [message], kind
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            known = cat.search((Start("plan_name") == "scan") | (Stop("exit_status") == "fail")).sort("sample.name")
            assert len(known.to_dataframe(["stop.reason"])) == 2


@pytest.mark.parametrize(
    "odd",
    [
        ("datum", {"datum_id": "r/1", "resource": "r"}),
        ("datum", {"datum_id": "r/1", "resource": "r", "datum_kwargs": 5}),
        ("datum", {"resource": "r", "datum_kwargs": {}}),
        ("datum_page", {"datum_id": ["r/1", "r/3"], "resource": "r", "datum_kwargs": {"frame": [1]}}),
        ("datum_page", {"datum_id": ["r/1"], "resource": "r", "datum_kwargs": {"frame": {"0": 1}}}),
        ("datum_page", {"datum_id": ["r/1"], "resource": "r", "datum_kwargs": {"frame": "1"}}),
        ("datum_page", {"datum_id": {"r/1": 0}, "resource": "r", "datum_kwargs": {"frame": [1]}}),
        ("datum_page", {"datum_id": {"r/1": 0}, "resource": "r", "datum_kwargs": {"datum_id": [1]}}),
        ("bulk_datum", {"datum_ids": ["r/1"], "resource": "r", "datum_kwarg_list": 5}),
    ],
    ids=repr,
)
def test_a_datum_that_cannot_be_read_costs_itself(stores: Stores, odd: tuple[str, dict[str, Any]]) -> None:
    first, *others = EXAMPLES["count"](Path("unused"))
    uid = first[1]["uid"]
    resource = {"uid": "r", "run_start": uid, "spec": "S", "root": "/", "resource_path": "x", "resource_kwargs": {}}
    one, other = (("datum", {"datum_id": f"r/{n}", "resource": "r", "datum_kwargs": {"frame": n}}) for n in (0, 2))
    for kind, store in stores.items():
        try:
            write(store, [first, ("resource", resource), one, odd, other, *others])
        except UnsupportedOperation:
            assert kind.startswith("MongoDB")
            continue
        found = [datum_id for page in store.datum_pages(uid, "r") for datum_id in page.datum_id]
        assert found == ["r/0", "r/2"], kind


def test_a_page_whose_columns_are_no_lists_costs_itself(stores: Stores) -> None:
    for part, values in product(("data", "filled"), ("ab", {"0": 1, "1": 2}, [1, 2, 3], 5)):
        run = RunComposer(f"{part} {values}")
        descriptor = run.descriptor({"x": data_key("number")})
        run.stop()
        start, described, stop = run.documents

        def page(first: int, descriptor: str = descriptor, **odd: Any) -> tuple[str, dict[str, Any]]:
            columns = {"data": {"x": [1.5, 2.5]}, "timestamps": {"x": [1.0, 2.0]}, "filled": {"x": [True, True]}} | odd
            events = {"uid": [f"{descriptor} {first}", f"{descriptor} {first + 1}"], "seq_num": [first, first + 1]}
            return "event_page", {"descriptor": descriptor, "time": [1.0, 2.0], **events, **columns}

        wrong: dict[str, Any] = {part: {"x": values}}
        odd = page(3, **wrong)
        for kind, store in stores.items():
            try:
                write(store, [start, described, page(1), odd, page(5), stop])
            except UnsupportedOperation:
                assert "JSONL" not in kind
                continue
            found = store.event_pages(run.run_uid, "primary", timestamps=ALL_KEYS)
            assert [n for one in found for n in one.seq_num] == [1, 2, 5, 6], (kind, part, values)
