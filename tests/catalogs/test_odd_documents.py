"""Documents of odd forms cost their stream or their run, in every reader, and hide nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake_bluesky import BlueskyCatalog, Config, Data
from intake_bluesky.apps.cli.commands import main
from intake_bluesky.apps.validate import validate
from intake_bluesky.documents.model import Document
from intake_bluesky.errors import DamagedRun, IntakeBlueskyError, UnsupportedOperation
from intake_bluesky.query import DataKey, Device
from intake_bluesky.runtime.sizes import LIMIT
from intake_bluesky.testing import EXAMPLES, MemoryStore, Run, RunComposer, data_key
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_msgpack import BlueskyMsgpackCatalog
from intake_bluesky_sql import BlueskySQLCatalog

X = data_key("number")
CONFIGURATION = {"dev": {"data": {"gain": 2}, "timestamps": {"gain": 1.0}, "data_keys": {"gain": data_key("integer")}}}


def two_streams(uid: str) -> Run:
    run = RunComposer(uid, scan_id=2)
    for name in ("other", "primary"):
        descriptor = run.descriptor({"x": X}, stream=name, configuration=CONFIGURATION, object_keys={"dev": ["x"]})
        run.event(descriptor, {"x": 1.5})
    run.stop()
    return run.documents


def changed(run: Run, place: int, **fields: Any) -> Run:
    run[place][1].update(fields)
    return run


def in_files(folder: Path, *runs: Run) -> BlueskyCatalog:
    for number, run in enumerate(runs):
        (folder / f"{number}.jsonl").write_text("".join(json.dumps([name, doc]) + "\n" for name, doc in run))
    return BlueskyJSONLCatalog(str(folder))


STORES: dict[str, Callable[..., BlueskyCatalog]] = {
    "memory": lambda folder, *runs: BlueskyCatalog(MemoryStore(runs)),
    "files": in_files,
}
ODD_DATA_KEYS: list[Any] = [None, ["x"], "x", 5.0, {"x": None}, {"x": "number"}, {"x": 5.0}, {"x": ["number"]}]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("data_keys", ODD_DATA_KEYS, ids=repr)
def test_data_keys_that_are_none_cost_their_stream(tmp_path: Path, store: str, data_keys: Any) -> None:
    bad = changed(two_streams("bad"), 3, data_keys=data_keys)
    cat = STORES[store](tmp_path, EXAMPLES["scan"](tmp_path), bad)
    uid = bad[0][1]["uid"]
    with pytest.raises(DamagedRun, match=r"stream 'primary'.* data.key"):
        cat[uid].primary.read()
    assert cat[uid].other.read()["x"].values.tolist() == [1.5]
    assert "primary" in repr(cat[uid])
    assert {found.where for found in validate(cat) if found.code == "unreadable"} == {f"{uid}/primary"}
    assert len(cat.search(Data("theta").max() > 0)) == 1
    assert list(cat.search(Data("x").max() > 0)) == [uid]  # by the other stream
    for query in (DataKey("x").exists(), Device("dev").exists(), Config("dev", "gain") > 0):
        assert uid in list(cat.search(query))


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("configuration", None), ("configuration", {"dev": None}), ("configuration", {"dev": {"data": None}}),
        ("object_keys", None), ("object_keys", {"dev": None}), ("object_keys", ["x"]), ("hints", 5),
        ("time", "late"), ("time", 10**400),
    ],
)  # fmt: skip
def test_other_fields_cost_no_event(tmp_path: Path, store: str, field: str, value: Any) -> None:
    cat = STORES[store](tmp_path, changed(two_streams("bad"), 3, **{field: value}))
    run = cat[-1]
    assert run.primary.read()["x"].values.tolist() == [1.5]
    assert {"primary", "other"} <= set(run.to_datatree())
    assert len(cat.search(Data("x").max() > 0)) == 1
    list(validate(cat))


@pytest.mark.parametrize("value", [["dev"], "dev", {"dev": "fast"}, {"dev": {"data": [1]}}], ids=repr)
def test_configuration_that_is_none_costs_itself(tmp_path: Path, value: Any) -> None:
    run = in_files(tmp_path, changed(two_streams("bad"), 3, configuration=value))[-1]
    assert run.primary.read()["x"].values.tolist() == [1.5]
    with pytest.raises(DamagedRun, match="configuration"):
        run.primary.config["dev"].read()


@pytest.mark.parametrize("said", [[1], "1", 5, {"primary": "1"}, {"primary": [1]}], ids=repr)
def test_counts_that_are_none(tmp_path: Path, said: Any, capsys: pytest.CaptureFixture[str]) -> None:
    in_files(tmp_path, EXAMPLES["scan"](tmp_path), changed(two_streams("bad"), -1, num_events=said))
    assert main(["ls", str(tmp_path)]) == 0
    assert "2 runs" in capsys.readouterr().out
    assert main(["validate", str(tmp_path)]) == 1
    assert "num-events" in capsys.readouterr().out


def test_a_seq_num_of_text_costs_its_event(tmp_path: Path) -> None:
    cat = in_files(tmp_path, EXAMPLES["scan"](tmp_path), changed(two_streams("bad"), 4, seq_num="1"))
    bad = next(uid for uid in cat if cat[uid].scan_id == 2 and "other" in cat[uid])
    assert {found.where.partition("/")[0] for found in validate(cat) if "seq_num" in found.message} >= {bad}


@pytest.mark.parametrize("place", [0, 1, 3, -1])
def test_nesting_without_end(tmp_path: Path, place: int) -> None:
    deep: list[Any] = []
    for _ in range(450):
        deep = [deep]
    bad = changed(two_streams("bad"), place, note=deep)
    cat = in_files(tmp_path, EXAMPLES["scan"](tmp_path), bad)
    assert any("nested" in found.message for found in validate(cat))
    for uid in cat:
        assert repr(cat[uid])
        assert cat[uid].start["uid"] == uid
    for other in (BlueskyJSONLCatalog, BlueskyMsgpackCatalog):
        with other(str(tmp_path / "new")).writer() as write:
            for name, doc in bad[: place % len(bad)]:
                write(name, doc)
            with pytest.raises(UnsupportedOperation, match="nested"):
                write(*bad[place])


def frames(last: int) -> Run:
    run = RunComposer("frames", scan_id=3)
    image = data_key("array", [1, 4, 4], external="STREAM:", dtype_numpy="<u2")
    primary = run.descriptor({"x": X, "image": image})
    resource = run.stream_resource("image", mimetype="application/x-hdf5", uri="file:///nowhere.h5", dataset="/data")
    run.stream_datum(resource, primary, (1, 2))
    run.documents[-1][1].update(seq_nums={"start": 1, "stop": last}, indices={"start": 0, "stop": last - 1})
    run.event(primary, {"x": 1.5})
    run.stop()
    return run.documents


def test_rows_that_a_stream_datum_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    cat = BlueskyCatalog(MemoryStore([frames(10**9), EXAMPLES["scan"](Path())]))
    stream = cat[3].primary
    with pytest.raises(DamagedRun, match=rf"claim 999,999,999 rows.*{LIMIT}"):
        stream.to_dask()
    assert stream(exclude=["image"]).read()["x"].values.tolist() == [1.5]
    assert [found.where for found in validate(cat) if found.code == "unreadable"] == [f"{cat[3].uid}/primary"]
    with pytest.warns(RuntimeWarning, match="claim"):
        assert len(cat.search(Data("image").max() > 0)) == 0
    assert len(cat.search(Data("theta").max() > 0)) == 1
    small = BlueskyCatalog(MemoryStore([frames(1001)]))[3].primary
    assert small.to_dask().sizes["time"] == 1000
    monkeypatch.setenv(LIMIT, "10 kB")
    with pytest.raises(DamagedRun, match=r"10,000 bytes that are believed"):
        small(target_chunk=1).to_dask()
    monkeypatch.setenv(LIMIT, "much")
    with pytest.raises(UnsupportedOperation, match=LIMIT):
        small(target_chunk=2).to_dask()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target_chunk": "large"}, "10 MiB"), ({"target_chunk": 0}, "bytes"), ({"target_chunk": True}, "bytes"),
        ({"target_chunk": 1.5}, "bytes"), ({"target_chunk": ""}, "bytes"),
        ({"trim": "yes"}, "True"), ({"on_missing": "skip"}, "'fill'"),
        ({"on_mismatch": None}, "'object'"), ({"decode_times": "UTC"}, "True"), ({"sub_dict": "filled"}, "timestamps"),
        ({"join_method": "glue"}, "'concat'"), ({"squeeze": 2}, "True"), ({"include": 5}, "list of keys"),
        ({"exclude": [None]}, "list of keys"),
    ],
    ids=repr,
)  # fmt: skip
def test_options_are_checked_when_given(options: dict[str, Any], said: str) -> None:
    stream = BlueskyCatalog(MemoryStore([EXAMPLES["scan"](Path())]))[-1].primary
    with pytest.raises((TypeError, ValueError), match=said):
        stream(**options)


def test_a_size_may_be_text() -> None:
    stream = BlueskyCatalog(MemoryStore([EXAMPLES["scan"](Path())]))[-1].primary
    assert stream(target_chunk="1 MiB")._options.target_chunk == 2**20


NEW: dict[str, Callable[[Path], BlueskyCatalog]] = {
    "jsonl": lambda folder: BlueskyJSONLCatalog(str(folder)),
    "msgpack": lambda folder: BlueskyMsgpackCatalog(str(folder)),
    "sqlite": lambda folder: BlueskySQLCatalog(f"sqlite:///{folder}/runs.db"),
}


def written(cat: BlueskyCatalog, value: Any) -> Document:
    run = RunComposer("written")
    run.event(run.descriptor({"x": X}), {"x": value})
    run.stop()
    with cat.writer() as write:
        for name, doc in run.documents:
            write(name, doc)
    cat.refresh()
    return next(doc for name, doc in cat[-1].documents() if name == "event")


@pytest.mark.parametrize("store", NEW)
@pytest.mark.parametrize(
    "value",
    [
        np.datetime64("2026-01-01T00:00:00", "ns"), np.datetime64("NaT", "s"), np.timedelta64(5, "ns"),
        np.timedelta64(5, "s"), np.array(["2026-01-01"], "M8[ns]"), np.zeros(2, [("when", "M8[ns]")]),
    ],
    ids=repr,
)  # fmt: skip
def test_dates_are_kept_or_refused(store: str, value: Any, tmp_path: Path) -> None:
    cat = NEW[store](tmp_path)
    if store != "msgpack":
        with pytest.raises(UnsupportedOperation, match="seconds since 1970"):
            written(cat, value)
        return
    assert repr(written(cat, value)["data"]["x"]) == repr(value)
    found = cat[-1].primary.read()["x"].values[0]
    assert np.asarray(found).dtype.kind in "mMV"
    assert np.array_equal(found, value, equal_nan=value.dtype.kind == "M")


@pytest.mark.parametrize("store", NEW)
@pytest.mark.parametrize(
    ("value", "kept"),
    [(np.ma.masked, None), (np.ma.array([1, 2, 3], mask=[False, True, False]), [1, None, 3])],
    ids=repr,
)
def test_masked_values_are_null(store: str, value: Any, kept: Any, tmp_path: Path) -> None:
    assert written(NEW[store](tmp_path), value)["data"]["x"] == kept


@pytest.mark.parametrize("store", NEW)
def test_integers_of_more_digits_than_python_shows(store: str, tmp_path: Path) -> None:
    with pytest.raises(IntakeBlueskyError, match="integer"):
        written(NEW[store](tmp_path), 1 << 20_000)
    cat = NEW[store](tmp_path / "other") if store != "sqlite" else BlueskySQLCatalog(f"sqlite:///{tmp_path}/o.db")
    assert written(cat, 1 << 14_000)["data"]["x"] == 1 << 14_000


def test_a_run_that_has_fewer_events_than_when_it_was_opened(tmp_path: Path) -> None:
    def written(events: int) -> BlueskyCatalog:
        run = RunComposer("shrinks")
        primary = run.descriptor({"x": X})
        for number in range(events):
            run.event(primary, {"x": float(number)})
        return in_files(tmp_path, run.documents)

    stream = written(50)[-1].primary
    before = stream.to_dask()
    written(3)
    for ask in (stream.read, lambda: stream.to_dask().compute(), before.compute):
        with pytest.raises(DamagedRun, match="was replaced since it was opened"):
            ask()


@pytest.mark.parametrize("store", NEW)
def test_shapes_that_are_declared_of_what_no_event_has(store: str, tmp_path: Path) -> None:
    cat, uid_of = NEW[store](tmp_path), dict[str, str]()
    for uid, shape in (("large", [4096, 4096]), ("absurd", [2**40, 2**40])):
        run = RunComposer(uid)
        uid_of[uid] = run.run_uid
        primary = run.descriptor({"image": data_key("array", shape), "x": X})
        for number in range(1000):
            run.event(primary, {"x": float(number)})
        run.stop()
        with cat.writer() as write:
            for name, doc in run.documents:
                write(name, doc)
    cat.refresh()
    assert len(cat.search(Data("x").max() > 900)) == 2
    large, absurd = cat[uid_of["large"]].primary, cat[uid_of["absurd"]].primary
    for dataset in (large.read(), large.to_dask()):
        assert dataset["image"].nbytes == 1000 * 4096 * 4096 * 8
        assert np.isnan(dataset["image"][500, 5, 5].compute())
        assert dataset["x"].compute().values[-1] == 999.0
    for ask in (absurd.read, absurd.to_dask):
        with pytest.raises(DamagedRun, match="exclude"):
            ask()
    assert absurd(exclude=["image"]).read()["x"].values[-1] == 999.0
    assert absurd(include=["x"]).to_dask()["x"].compute().values[-1] == 999.0


@pytest.mark.parametrize("store", NEW)
def test_a_time_stamp_that_is_no_number_costs_its_column(store: str, tmp_path: Path) -> None:
    cat, run = NEW[store](tmp_path), RunComposer("stamps")
    primary = run.descriptor({"x": X, "y": X})
    for stamps in ({"x": 9.0, "y": 9.0}, {"x": 1.0, "y": 2.0}, {"x": "12:01", "y": 5.0}, {"x": 6.0, "y": 6.5}):
        run.event(primary, {"x": 1.0, "y": 2.0}, timestamps=stamps)
    run.documents[2][1]["seq_num"] = 1  # taken again
    for number, (_, doc) in enumerate(run.documents[3:], 1):
        doc["seq_num"] = number
    run.stop()
    with cat.writer() as write:
        for name, doc in run.documents:
            write(name, doc)
    cat.refresh()
    stamps = cat[-1].primary.timestamps
    assert stamps.read()["x"].values.tolist() == [1.0, "12:01", 6.0]
    assert stamps.to_dataframe()["x"].tolist() == [1.0, "12:01", 6.0]
    for found in (stamps.read(), stamps.to_dask()):
        assert found["y"].values.tolist() == [2.0, 5.0, 6.5]
    with pytest.raises(DamagedRun, match="12:01"):
        stamps.to_dask()["x"].compute()


@pytest.mark.parametrize("without", ["data", "seq_num", "time", "descriptor"])
def test_an_event_that_lacks_what_each_has_costs_itself(tmp_path: Path, without: str) -> None:
    run = RunComposer("lacks")
    primary = run.descriptor({"x": X})
    for number in range(3):
        run.event(primary, {"x": float(number)})
    del run.documents[3][1][without]
    cat = in_files(tmp_path, run.documents)
    assert cat[-1].primary.read()["x"].values.tolist() == [0.0, 2.0]
    [problem, *_] = cat.problems
    assert without in problem.message
