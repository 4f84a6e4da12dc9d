"""Runs removed from MongoDB: what goes, what stays because others need it, and what an interruption leaves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.database import Database

from intake_bluesky.documents.model import identical
from intake_bluesky.errors import DuplicateRun, RunNotFound, StoreUnavailable, UnsupportedOperation
from intake_bluesky.search.statistics_cache import with_statistics
from intake_bluesky.testing.compose import EPOCH, RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky_mongo import Buffering, EmbeddedStore, NormalizedStore, large_values
from intake_bluesky_mongo.removal import removable_runs as removal
from intake_bluesky_mongo.removal.removable_runs import RemovableRuns, on_primary
from intake_bluesky_mongo.store import MongoStore
from tests.drivers.mongo_by_hand import put_embedded, put_normalized

FILE = data_key("array", [2], external="FILESTORE:")
EAGER = Buffering(flush_seconds=60.0, patience=0.0)


class Killed(BaseException):
    """A process that ends in the midst of it."""


@pytest.fixture(params=["normalized", "paged", "embedded"])
def store(
    request: pytest.FixtureRequest,
    database: Database[dict[str, Any]],
    database_uri: str,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[MongoStore]:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    store: MongoStore
    if request.param == "embedded":
        store = EmbeddedStore(database_uri, writable=True, buffering=EAGER)
    else:
        store = NormalizedStore(database_uri, writable=True, event_pages=request.param == "paged", buffering=EAGER)
    yield store
    store.close()


@pytest.fixture
def normalized(database_uri: str) -> Iterator[NormalizedStore]:
    store = NormalizedStore(database_uri, writable=True, buffering=EAGER)
    yield store
    store.close()


def with_everything(label: str = "everything") -> RunComposer:
    """A run that has a document in each collection."""
    run = RunComposer(label, plan_name="scan", scan_id=9)
    primary = run.descriptor({"x": data_key("number"), "image": FILE, "fly": data_key("array", external="STREAM:")})
    resource = run.resource("ANY", root="/", path="nowhere")
    streamed = run.stream_resource("fly", mimetype="application/x-hdf5", uri="file:///nowhere.h5", dataset="x")
    for number in range(4):
        run.event(primary, {"x": float(number), "image": run.datum(resource, number, frame=number)})
    run.stream_datum(streamed, primary, (1, 5))
    run.stop()
    return run


def put(store: MongoStore, *runs: Run) -> None:
    for run in runs:
        with store.insert(run[0][1]) as insert:
            for pair in run[1:]:
                insert.write(*pair)


def put_by_hand(store: MongoStore, database: Database[dict[str, Any]], run: Run) -> None:
    if isinstance(store, EmbeddedStore):
        put_embedded(database, run[0][1]["uid"], run)
    else:
        put_normalized(database, run)


def sizes(database: Database[dict[str, Any]]) -> dict[str, int]:
    found = {name: database[name].count_documents({}) for name in database.list_collection_names()}
    return {name: size for name, size in found.items() if size}


def documents(store: MongoStore, run: Run) -> list[Any]:
    return list(store.documents(run[0][1]["uid"]))


def put_a_value_apart(store: MongoStore, database: Database[dict[str, Any]], run: RunComposer) -> None:
    """As the writer does with a value that is larger than MongoDB takes."""
    name = {large_values.MARK: "event/x", large_values.PIECES: 2}
    collection = "event" if isinstance(store, EmbeddedStore) or not store.paged else "event_page"  # type: ignore[attr-defined]
    event = database[collection].find_one({"descriptor": run.documents[1][1]["uid"]})
    assert event is not None
    place = "data.x" if isinstance(event["seq_num"], int) else "data.x.1"
    database[collection].update_one({"_id": event["_id"]}, {"$set": {place: name}})
    pieces = [{"_id": f"event/x/{number}", "value": b""} for number in range(2)]
    database[large_values.COLLECTION].insert_many([*pieces, {"_id": "of another event/x/0", "value": b""}])


def test_nothing_is_left_in_any_collection(store: MongoStore, database: Database[dict[str, Any]]) -> None:
    put(store, count(), with_everything("another").documents)
    seen = with_statistics(store)
    assert seen.statistics is not None
    seen.statistics.measure([count()[0][1]["uid"]])
    before = sizes(database)
    run = with_everything()
    put(store, run.documents)
    seen.statistics.measure([run.run_uid])
    put_a_value_apart(store, database, run)
    during = sizes(database)
    assert all(during[name] > before.get(name, 0) for name in during), "the run has to be in every collection"
    store.remove(run.run_uid)
    assert sizes(database) == before | {large_values.COLLECTION: 1}
    assert documents(store, with_everything("another").documents)
    seen.close()


def test_a_foreign_run_goes_whole(store: MongoStore, database: Database[dict[str, Any]]) -> None:
    put_by_hand(store, database, with_everything("another").documents)
    before, left = sizes(database), documents(store, with_everything("another").documents)
    put_by_hand(store, database, with_everything().documents)
    store.remove(with_everything().run_uid)
    assert sizes(database) == before
    assert identical(documents(store, with_everything("another").documents), left)


def test_resources_without_a_run_go_if_no_other_run_names_them(
    normalized: NormalizedStore, database: Database[dict[str, Any]]
) -> None:
    """Those of old writers do not say of which run they are."""
    for label in ("another", "everything"):
        run = with_everything(label).documents
        put_normalized(database, [(name, _without_run(doc) if name == "resource" else doc) for name, doc in run])
    normalized.remove(with_everything().run_uid)
    [resource] = database["resource"].find()
    assert resource["uid"] == _resource(with_everything("another"))
    assert database["datum"].count_documents({}) == 4
    assert len(normalized.header(with_everything("another").run_uid).resources) == 1


def _without_run(doc: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in doc.items() if key != "run_start"}


def _resource(run: RunComposer) -> str:
    return next(str(doc["uid"]) for name, doc in run.documents if name == "resource")


def _borrower(label: str, time: float) -> Run:
    """A run whose events refer to datums of the other's resource, at another key."""
    owner = with_everything()
    run = RunComposer(label, time=time, plan_name="dark")
    primary = run.descriptor({"dark frame": FILE, "y": data_key("number")})
    run.event(primary, {"dark frame": f"{_resource(owner)}/2", "y": 1.0})
    run.stop()
    return run.documents


@pytest.mark.parametrize("paged", [False, True])
@pytest.mark.parametrize("dated", [False, True])
def test_a_resource_that_a_later_run_names_stays(
    database_uri: str, database: Database[dict[str, Any]], *, paged: bool, dated: bool
) -> None:
    store = NormalizedStore(database_uri, writable=True, event_pages=paged, buffering=EAGER)
    run = with_everything().documents
    if not dated:
        run = [(name, _without_run(doc) if name == "resource" else doc) for name, doc in run]
    put_normalized(database, run)
    put(store, _borrower("dark", EPOCH + 100))
    later = _borrower("dark", EPOCH + 100)[0][1]["uid"]
    before = store.header(later).resources, list(store.datum_pages(later, _resource(with_everything())))
    store.remove(with_everything().run_uid)
    assert (store.header(later).resources, list(store.datum_pages(later, _resource(with_everything())))) == before
    store.remove(later)
    # What tells no run is found by single events, as databroker finds it, and goes with the last who names it.
    assert sizes(database) == ({"resource": 1, "datum": 4} if dated or paged else {})
    store.close()


def test_a_resource_of_which_another_run_has_a_document_stays(
    store: MongoStore, database: Database[dict[str, Any]]
) -> None:
    run, other = with_everything().documents, with_everything("another")
    put_by_hand(store, database, run)
    shared = [(name, {**doc, "run_start": other.run_uid}) for name, doc in run if "resource" in name]
    put_by_hand(store, database, [other.documents[0], *shared])
    before = documents(store, other.documents)
    assert len([name for name, _ in before if name in ("datum", "stream_datum")]) == 5
    store.remove(run[0][1]["uid"])
    assert identical(documents(store, other.documents), before)


def test_reading_only_refuses(database_uri: str, database: Database[dict[str, Any]]) -> None:
    put_normalized(database, scan())
    put_embedded(database, scan()[0][1]["uid"], scan()[:1])
    before = sizes(database)
    for store in (NormalizedStore(database_uri), EmbeddedStore(database_uri)):
        with pytest.raises(UnsupportedOperation, match="writable=True"):
            store.remove(scan()[0][1]["uid"])
        store.close()
    assert sizes(database) == before


def test_what_is_not_there_changes_nothing(store: MongoStore, database: Database[dict[str, Any]]) -> None:
    with pytest.raises(RunNotFound, match="has no run 'nobody'"):
        store.remove("nobody")
    assert database.list_collection_names() == []


def _interrupt(monkeypatch: pytest.MonkeyPatch, place: int, error: type[BaseException]) -> None:
    """Fail in the deletion of this number, after its first document is gone; who is killed does not let go."""
    numbers = itertools.count()
    delete = RemovableRuns._delete

    def failing(store: RemovableRuns, deletion: Any, note: Any) -> None:
        if next(numbers) < place:
            delete(store, deletion, note)
            return
        one = on_primary(deletion.connection)[deletion.collection].find_one(deletion.condition)
        if one is not None:
            delete(store, deletion._replace(condition={"_id": one["_id"]}), note)
        raise error("it was interrupted")

    monkeypatch.setattr(RemovableRuns, "_delete", failing)
    if error is Killed:
        monkeypatch.setattr(removal._Note, "let_go", lambda _: None)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["error", "kill"])
def test_interrupted_anywhere_no_half_run_is_seen(
    store: MongoStore, database: Database[dict[str, Any]], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same run is written again and reads right; or removed again, which leaves nothing."""
    run, other = with_everything(), with_everything("another").documents
    put(store, run.documents, other)
    whole, left = documents(store, run.documents), documents(store, other)
    store.remove(run.run_uid)
    before = sizes(database)
    error: type[BaseException] = Killed if how == "kill" else StoreUnavailable
    steps = len(list(store.deletions(run.run_uid, {})))
    for place in range(steps):
        for finish in ("write", "remove"):
            put(store, run.documents)
            with monkeypatch.context() as patch:
                _interrupt(patch, place, error)
                with pytest.raises(error, match="interrupted"):
                    store.remove(run.run_uid)
            assert [found.uid for found in store.find()] == [other[0][1]["uid"]], place
            with pytest.raises(RunNotFound):
                store.header(run.run_uid)
            assert identical(documents(store, other), left)
            if how == "kill":
                with pytest.raises(StoreUnavailable, match=r"is being removed .* by another process"):
                    store.insert(run.documents[0][1])
            with monkeypatch.context() as patch:
                patch.setattr(removal, "ALONE", -60.0 if how == "kill" else 60.0)
                if finish == "write":
                    put(store, run.documents)
                    assert identical(documents(store, run.documents), whole), place
                store.remove(run.run_uid)
            assert sizes(database) == before, (place, finish)
            with pytest.raises(RunNotFound):
                store.remove(run.run_uid)


def test_interrupted_before_the_run_is_gone_it_is_there(
    store: MongoStore, database: Database[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, scan())
    whole = documents(store, scan())

    def failing(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RemovableRuns, "_delete", failing)
        with pytest.raises(Killed):
            store.remove(scan()[0][1]["uid"])
    assert identical(documents(store, scan()), whole)
    with pytest.raises(DuplicateRun):
        store.insert(scan()[0][1])
    store.remove(scan()[0][1]["uid"])
    assert sizes(database) == {}


def test_one_that_was_overtaken_deletes_nothing_more(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process was asleep for long; another went on with the removal, and the run was written again."""
    run = with_everything()
    put(store, run.documents)
    whole = documents(store, run.documents)
    delete = RemovableRuns._delete

    def asleep(slow: RemovableRuns, deletion: Any, note: Any) -> None:
        delete(slow, deletion, note)
        if deletion.collection not in ("run_start", "header"):
            return
        monkeypatch.setattr(RemovableRuns, "_delete", delete)
        monkeypatch.setattr(removal, "ALONE", -60.0)
        put(store, run.documents)

    monkeypatch.setattr(RemovableRuns, "_delete", asleep)
    with pytest.raises(StoreUnavailable, match="another process went on"):
        store.remove(run.run_uid)
    assert identical(documents(store, run.documents), whole)


def test_resources_in_a_database_of_their_own(
    database: Database[dict[str, Any]], database_uri: str, mongodb: str
) -> None:
    server, _, options = mongodb.partition("?")
    assets = f"{server.rstrip('/')}/{database.name}_assets{'?' if options else ''}{options}"
    store = NormalizedStore(database_uri, assets, writable=True, buffering=EAGER)
    try:
        put(store, with_everything("another").documents, with_everything().documents)
        before = sizes(database.client[f"{database.name}_assets"])
        assert before == {"resource": 2, "datum": 8, "stream_resource": 2, "stream_datum": 2}
        store.remove(with_everything().run_uid)
        after = sizes(database.client[f"{database.name}_assets"])
        assert after == {name: size // 2 for name, size in before.items()}
    finally:
        database.client.drop_database(f"{database.name}_assets")
        store.close()


def test_many_documents_go_in_portions(store: MongoStore, database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "TOGETHER", 3)
    put(store, count(), with_everything().documents)
    store.remove(with_everything().run_uid)
    store.remove(count()[0][1]["uid"])
    assert sizes(database) == {}
