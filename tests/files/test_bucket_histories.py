"""Histories of a bucket that went wrong once: runs removed and written again, killed writers, forks, odd names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import pytest

from intake_bluesky.documents.model import identical
from intake_bluesky.errors import DuplicateRun, RunNotFound, UnsupportedOperation
from intake_bluesky.files.bucket import live_pieces
from intake_bluesky.files.bucket.segments import last
from intake_bluesky.files.bucket.store import BucketStore
from intake_bluesky.files.bucket.tail import IndexTail
from intake_bluesky.files.codec import CODECS
from intake_bluesky.files.index_segments import SegmentRow, written
from intake_bluesky.storage.writer import DocumentWriter
from intake_bluesky.testing.examples import Run
from tests.files.test_bucket_processes import run_of
from tests.servers.s3 import KEY, SECRET, Buckets

Stores: TypeAlias = Callable[..., BucketStore]
RUN = run_of(1, 1)
UID = str(RUN[0][1]["uid"])


@pytest.fixture(params=["s3", "local", "memory"])
def stores(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """Makes stores of one folder, each as another user has it, with an index of its own."""
    options: dict[str, Any] = {}
    place = {"local": str(tmp_path / "runs"), "memory": f"memory://{uuid4().hex}/runs"}.get(request.param)
    if place is None:
        buckets: Buckets = request.getfixturevalue("buckets")
        place = f"s3://private/{uuid4().hex}"
        options = {"key": KEY, "secret": SECRET, "client_kwargs": {"endpoint_url": buckets.endpoint}}
    monkeypatch.setattr(IndexTail, "_put_on_time", lambda _: None)  # what is told is told by `put`

    def made(writer: str = "", format_: str = "jsonl", **kwargs: Any) -> BucketStore:
        monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / uuid4().hex))
        store = BucketStore(place, CODECS[format_], storage_options=options, **kwargs)
        assert store.files.index is not None  # opened now, in this folder
        if writer:
            store.files.tail._writer = writer
        request.addfinalizer(store.close)
        return store

    return made


def write(store: BucketStore, run: Run) -> None:
    with DocumentWriter(store) as writer:
        for pair in run:
            writer(*pair)
    store.files.tail.put()


def uids(store: BucketStore) -> list[str]:
    return [run.uid for run in store.find()]


@pytest.mark.parametrize(("format_", "compression"), [("jsonl", None), ("jsonl", "gz"), ("msgpack", "zst")])
def test_a_run_that_was_removed_is_written_again(stores: Stores, format_: str, compression: str | None) -> None:
    """Just the same: where tags are digests of the content, it has the tag of the one that was removed."""
    store = stores(format_=format_, compression=compression)
    for number in range(4):
        if number % 2:
            write(store, RUN)
        else:
            assert list(store.insert_runs([iter(RUN)])) == [None]
        reader = stores(format_=format_)
        assert uids(reader) == [UID]
        assert identical(list(reader.documents(UID)), RUN)
        reader.refresh(deep=True)
        assert uids(reader) == [UID]
        assert sum(len(page) for page in reader.event_pages(UID, "primary")) == 3
        assert list(reader.problems()) == []
        store.remove(UID)
    location = store.files.location
    assert len(list(location.objects.list(location.below(".removed")))) == 4
    store.publish()
    assert uids(store) == uids(stores(format_=format_)) == []


def test_where_it_would_stay_hidden_it_is_refused(stores: Stores) -> None:
    """MessagePack alone has nothing that could be added to a run; stores whose tags are no digests need nothing."""
    store = stores(format_="msgpack", compression=None)
    write(store, RUN)
    tag = store.files.location.objects.head(store.files.location.objects.name_of(str(store.files.path_of(UID)))).tag
    store.remove(UID)
    [outcome] = store.insert_runs([iter(RUN)])
    objects, name = store.files.location.objects, store.files.location.below(f"{UID}.msgpack")
    hidden = objects.head(name).tag == tag
    assert isinstance(outcome, UnsupportedOperation) is hidden
    assert uids(stores(format_="msgpack")) == ([] if hidden else [UID])


def test_a_run_is_written_again_by_another_whose_tail_is_listed_first(stores: Stores) -> None:
    first, remover, second, reader = stores("a"), stores("c"), stores("b"), stores()
    write(first, RUN)
    assert uids(reader) == [UID]
    remover.remove(UID)
    again = [*RUN[:-1], ("stop", {**RUN[-1][1], "reason": "again"})]
    write(second, again)
    reader.files._read_segments()
    assert uids(reader) == [UID]
    assert identical(list(reader.documents(UID)), again)


def test_a_run_ends_just_before_it_is_removed(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, remover = stores(), stores()
    insert = writer.insert(RUN[0][1])
    writer.files.tail.put()
    assert uids(remover) == [UID]
    for pair in RUN[1:]:
        insert.write(*pair)
    monkeypatch.setattr(remover.files, "list_again", lambda _: None)  # it was listed just now
    remover.remove(UID, permanent=True)
    writer.files.tail.put()
    assert uids(stores()) == []


@pytest.mark.parametrize("piece", [1 << 20, 1], ids=["beginning", "parts"])
@pytest.mark.parametrize("anew", [False, True], ids=["removed", "begun anew by another"])
def test_a_run_that_is_removed_while_it_is_written_stays_removed(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, piece: int, *, anew: bool
) -> None:
    monkeypatch.setattr(live_pieces, "PIECE", piece)
    writing, other = stores(flush_seconds=0), stores()
    insert = writing.insert(RUN[0][1])
    insert.write(*RUN[1])
    insert.write(*RUN[2])
    writing.files.tail.put()
    other.remove(UID)
    run = [("start", {**RUN[0][1], "sample": "another"}), *RUN[1:]]
    if anew:
        write(other, run)
    with pytest.raises(RunNotFound, match="while it was written"):
        insert.write(*(RUN[-1] if piece == 1 else RUN[3]))
    with pytest.raises(UnsupportedOperation):
        insert.write(*RUN[-1])
    insert.close()
    writing.files.tail.put()
    for store in (writing, other, stores()):
        store.scan()
        assert uids(store) == [UID] * anew
        assert not anew or identical(list(store.documents(UID)), run)


def test_whoever_meets_a_run_that_the_index_lacks_tells_of_it(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a writer that was killed: else the same copy would meet it for ever, and nobody find it."""
    killed, again = stores(), stores()
    write(killed, run_of(1, 0))
    with monkeypatch.context() as patched:
        patched.setattr(IndexTail, "add", lambda *_: None)
        assert list(killed.insert_runs([iter(RUN)])) == [None]
        write(killed, run_of(1, 2))
    assert [type(error) for error in again.insert_runs([iter(RUN)])] == [DuplicateRun]
    with pytest.raises(DuplicateRun):
        again.insert(run_of(1, 2)[0][1])
    again.files.tail.put()
    reader = stores()
    assert set(uids(reader)) == {str(run_of(1, number)[0][1]["uid"]) for number in range(3)}
    assert all(run.stop is not None for run in reader.find())


def test_a_forked_child_has_a_tail_of_its_own(stores: Stores, request: pytest.FixtureRequest) -> None:
    if "memory" in request.node.name:
        return  # of which a child has a copy
    store = stores()
    write(store, RUN)
    child = os.fork()
    if child == 0:
        try:
            write(store, run_of(1, 2))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    write(store, run_of(1, 3))
    assert len(uids(stores())) == 3


def test_what_others_put_there_by_odd_names(stores: Stores) -> None:
    store = stores()
    insert = store.insert(RUN[0][1])
    location = store.files.location
    for name in ("Thumbs.db", "-1", "x"):
        location.objects.put(location.below("_parts", f"{UID}.jsonl.zst", name), b"junk")
    assert len(list(store.documents(UID))) == 1
    for pair in RUN[1:]:
        insert.write(*pair)
    encode = store.codec.encode
    rows = [
        SegmentRow(name, stamp, encode("start", {**RUN[0][1], "uid": "odd"}), None, "", b"junk", b"junk")
        for name in ("a\0b.jsonl.zst", "a" * 3000 + ".jsonl.zst", "c:d.jsonl.zst")
        for stamp in ("zz-1", "", "-1-3", "f" * 40 + "-1")
    ]
    location.objects.put(location.below("_index", "s-odd-0"), written(rows, {"suffix": ".jsonl"}))
    store.files.tail.put()
    reader = stores()
    assert uids(reader) == [UID]
    assert identical(list(reader.documents(UID)), RUN)
    reader.publish()
    assert uids(reader) == [UID]


def tails(store: BucketStore, *names: str) -> None:
    """Put full tails of one run each."""
    for number, name in enumerate(names, start=1):
        start = run_of(9, number)[0][1]
        raw = store.codec.encode("start", start)
        row = SegmentRow(f"{start['uid']}.jsonl.zst", f"fff-{number}", raw, None, "", b"layout")
        store.files.segments.put(f"s-{name}-000001", [row])


def segments(store: BucketStore) -> list[str]:
    return [last(info) for info in store.files.segments.listed()]


def test_details_whose_base_was_never_put_are_deleted_when_they_are_old(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stores()
    tails(store, "a", "b", "c", "d")
    objects, folder = store.files.location.objects, store.files.segments

    def killed(*_: Any) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(objects), "create", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.merge()
    [own] = [name for name in segments(store) if name.startswith("d-")]
    objects.put(folder.name("d-orphan"), b"details")
    monkeypatch.setattr("intake_bluesky.files.bucket.segments.IDLE", -1.0)  # all are old
    assert folder.merge()
    # Of what the killed one began the same is made again, and stays.
    assert segments(store) == [f"b-{own[2:]}", own]


@pytest.mark.parametrize("hours", [2, -2])
def test_a_server_whose_clock_is_set_takes_no_run_of_a_live_writer(tmp_path: Path, hours: int, stores: Stores) -> None:
    """What was put before looks old, or all that is put later: the tail of a live writer is merged under its hands."""
    if (place := stores().urlpath) != str(tmp_path / "runs"):
        return  # only of files on this machine can the times be set
    live, other = stores(writer="live"), stores(writer="other")
    unfinished = live.insert(RUN[0][1])
    live.files.tail.put()
    for number in range(2, 5):
        write(other, run_of(2, number))
        [tail] = Path(place, "_index").glob("t-live-*")
        os.utime(tail, (tail.stat().st_mtime - hours * 3600,) * 2)
        write(other, run_of(4, number))
        other.publish()
        assert tail.exists() is (hours < 0)
        write(live, run_of(3, number))
    unfinished.close()
    live.files.tail.put()
    expected = {str(run_of(writer, number)[0][1]["uid"]) for writer in (2, 3, 4) for number in (2, 3, 4)}
    assert set(uids(stores())) == {*expected, UID}


def test_of_two_objects_with_one_run_the_finished_one_is_used_and_both_are_told(stores: Stores) -> None:
    """As of two files; a scan finds what somebody else put there."""
    store = stores()
    write(store, RUN)
    location = store.files.location
    whole, _ = location.objects.get(location.below(f"{UID}.jsonl.zst"))
    beginning = b"".join(store.codec.encode(name, doc) for name, doc in RUN[:-1])
    for name, content in (("0.jsonl", beginning), ("z.jsonl", beginning), ("zz.jsonl.zst", whole)):
        location.objects.put(location.below(name), content)
    store.scan()
    store.publish()
    for each in (store, stores()):
        assert uids(each) == [UID]
        assert identical(list(each.documents(UID)), RUN)
        told = {problem.where.rpartition("/")[2]: problem.message for problem in each.problems()}
        assert told.keys() == {"0.jsonl", "z.jsonl", "zz.jsonl.zst", f"{UID}.jsonl.zst"}
        assert all(f"holds run {UID}" in message and "remove one" in message for message in told.values())
