"""What is wrong with files and documents is said, loses nothing else, and hides no other run: both drivers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import msgpack
import msgpack_numpy
import numpy as np
import pytest

from intake_bluesky import BlueskyCatalog
from intake_bluesky.documents.model import identical, to_plain
from intake_bluesky.errors import AssetUnavailable, DamagedRun
from intake_bluesky.testing.asset_runs import DATASET, HDF5, IMAGE, frames, write_hdf5
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky.testing.runs import EXAMPLES
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_msgpack import BlueskyMsgpackCatalog

KINDS = ("jsonl", "msgpack")
FACES: dict[str, Callable[..., BlueskyCatalog]] = {"jsonl": BlueskyJSONLCatalog, "msgpack": BlueskyMsgpackCatalog}
X = data_key("number")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))


def item(kind: str, pair: Any) -> bytes:
    """One document as other programs write it."""
    name, doc = pair[0], to_plain(pair[1])
    if kind == "jsonl":
        return json.dumps([name, doc]).encode() + b"\n"
    return msgpack.packb([name, doc], default=msgpack_numpy.encode, use_bin_type=True)  # type: ignore[no-any-return]


def items(kind: str, run: Run) -> list[bytes]:
    return [item(kind, pair) for pair in run]


def content(kind: str, run: Run) -> bytes:
    return b"".join(items(kind, run))


def uid_of(run: Run) -> str:
    return str(run[0][1]["uid"])


def put(folder: Path, kind: str, run: Run, name: str = "run") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.{kind}"
    path.write_bytes(content(kind, run))
    return path


def opened(folder: Path, kind: str) -> BlueskyCatalog:
    return FACES[kind](folder)


def with_a_good_one(folder: Path, kind: str, name: str, bad: bytes) -> BlueskyCatalog:
    """A catalog of a file of these bytes and a good run after it."""
    put(folder, kind, scan(), "good")
    (folder / name).write_bytes(bad)
    return opened(folder, kind)


def invalid_text(kind: str, run: Run) -> bytes:
    return content(kind, run).replace(uid_of(run).encode(), b"\xff\xfe" + uid_of(run)[2:].encode())


NOT_RUNS: dict[str, tuple[str, Callable[[str], bytes], str]] = {
    "no start": ("", lambda kind: content(kind, count()[1:]), "not a run"),
    "other content": ("", lambda kind: item(kind, ("hello", {"a": 1}))[1:], "not a run"),
    "text": ("", lambda kind: b"hello\nworld\n", "not a run"),
    "empty": ("", lambda kind: b"", "empty"),
    "null bytes": ("", lambda kind: b"\x00" * 5000, "not a run"),
    "binary": ("", lambda kind: bytes(range(255, -1, -1)) * 512, "not a run"),
    "start cut off": ("", lambda kind: items(kind, count())[0][:40], "not a run"),
    "not UTF-8": ("", lambda kind: invalid_text(kind, count()), "not a run"),
    "gzip cut off in the start": (".gz", lambda kind: gzip.compress(content(kind, count()))[:25], "cut off"),
    "no gzip": (".gz", lambda kind: content(kind, count()), "decompressed"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NOT_RUNS)
def test_file_that_is_no_run(name: str, kind: str, tmp_path: Path) -> None:
    suffix, make, words = NOT_RUNS[name]
    file = f"a.{kind}{suffix}"
    cat = with_a_good_one(tmp_path, kind, file, make(kind))
    assert list(cat) == [uid_of(scan())]
    assert len(cat) == 1
    assert cat[-1].primary.read().sizes["time"] == 11
    [problem] = cat.problems
    assert problem.where == str(tmp_path / file)
    assert words in problem.message


@pytest.mark.parametrize("kind", KINDS)
def test_all_bad_files_together_hide_no_good_run(kind: str, tmp_path: Path) -> None:
    put(tmp_path, kind, scan(), "good")
    for number, (suffix, make, _) in enumerate(NOT_RUNS.values()):
        (tmp_path / f"{number}.{kind}{suffix}").write_bytes(make(kind))
    cat = opened(tmp_path, kind)
    assert identical(list(cat[-1].documents()), scan())
    assert list(cat.search({"plan_name": "scan"})) == [uid_of(scan())]
    assert len(cat.problems) == len(NOT_RUNS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lost", [1, 20])
def test_last_document_cut_off(lost: int, kind: str, tmp_path: Path) -> None:
    whole = content(kind, count())
    file = f"cut.{kind}"
    cat = with_a_good_one(tmp_path, kind, file, whole.rstrip(b"\n")[:-lost])
    run = cat[uid_of(count())]
    assert run.stop is None
    assert not run.is_complete
    assert identical(list(run.documents()), count()[:-1])
    assert run.primary.read()["det"].values.tolist() == [0.5, 1.5, 2.5]
    assert len(cat) == 2
    [problem] = cat.problems
    assert problem.where == str(tmp_path / file)
    assert "cut off" in problem.message


@pytest.mark.parametrize("kind", KINDS)
def test_gzip_cut_off(kind: str, tmp_path: Path) -> None:
    run = RunComposer("long")
    primary = run.descriptor({"x": X})
    for number in range(3000):
        run.event(primary, {"x": number * 1.1})
    run.stop()
    packed = gzip.compress(content(kind, run.documents))
    cat = with_a_good_one(tmp_path, kind, f"cut.{kind}.gz", packed[: len(packed) // 2])
    cut = cat[run.run_uid]
    values = cut.primary.read()["x"].values
    assert len(values) > 300
    assert values.tolist() == [number * 1.1 for number in range(len(values))]
    observed = list(cut.documents())
    assert identical(observed, run.documents[: len(observed)])
    assert len(observed) == len(values) + 2
    assert len(cat) == 2
    assert any("cut off" in problem.message for problem in cat.problems)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "null bytes": lambda raw: b"\x00" * len(raw),
    "not UTF-8": lambda raw: raw.replace(b"theta", b"\xff\xfe\xfdta"),
    "garbage": lambda raw: b"\xc1#" * (len(raw) // 2) + b"\xc1" * (len(raw) % 2),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", DAMAGE)
def test_damage_in_the_middle(name: str, kind: str, tmp_path: Path) -> None:
    """One event page of three; what comes before and after it is there."""
    parts = items(kind, scan())
    second = [place for place, (document, _) in enumerate(scan()) if document == "event_page"][1]
    end = b"\n" if kind == "jsonl" else b""
    parts[second] = DAMAGE[name](parts[second].removesuffix(end)) + end
    (tmp_path / f"damaged.{kind}").write_bytes(b"".join(parts))
    put(tmp_path, kind, count(), "good")
    cat = opened(tmp_path, kind)
    run = cat[uid_of(scan())]
    assert run.is_complete
    assert run.primary.read()["counts"].values.tolist() == [0, 1, 4, 9, 64, 81, 100]
    assert run.primary.to_dask().compute()["seq_num"].values.tolist() == [1, 2, 3, 4, 9, 10, 11]
    assert list(run.baseline.read()["mode"].values) == ["top-up", "decay"]
    assert len(cat) == 2
    [problem] = cat.problems
    assert problem.uid == uid_of(scan())
    assert "passed over" in problem.message


@pytest.mark.parametrize("kind", KINDS)
def test_null_characters_in_text_are_text(kind: str, tmp_path: Path) -> None:
    run = RunComposer("nul", sample="a\x00b")
    run.event(run.descriptor({"label": data_key("string")}), {"label": "c\x00"})
    run.stop()
    put(tmp_path, kind, run.documents)
    observed = opened(tmp_path, kind)[-1]
    assert observed.start["sample"] == "a\x00b"
    assert observed.primary.read()["label"].values.tolist() == ["c\x00"]
    assert len(opened(tmp_path, kind).search({"sample": "a\x00b"})) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_one_uid_in_two_files(kind: str, tmp_path: Path) -> None:
    put(tmp_path, kind, scan()[:-1], "first")
    put(tmp_path, kind, scan(), "second")
    put(tmp_path, kind, count(), "good")
    cat = opened(tmp_path, kind)
    assert sorted(cat) == sorted([uid_of(scan()), uid_of(count())])
    assert identical(list(cat[uid_of(scan())].documents()), scan())
    assert {Path(problem.where).stem for problem in cat.problems} == {"first", "second"}
    assert all(problem.uid == uid_of(scan()) and "remove one" in problem.message for problem in cat.problems)


@pytest.mark.parametrize("kind", KINDS)
def test_not_finite_numbers(kind: str, tmp_path: Path) -> None:
    run = EXAMPLES["not_finite"](tmp_path)
    put(tmp_path, kind, run)
    observed = opened(tmp_path, kind)[-1]
    assert identical(list(observed.documents()), run)
    np.testing.assert_array_equal(observed.primary.read()["x"].values, [1.0, np.nan, np.inf, np.nan])
    assert len(opened(tmp_path, kind).search({"bias": {"$gt": 0}})) == 0
    assert opened(tmp_path, kind).problems == ()


@pytest.mark.parametrize("kind", KINDS)
def test_integers_past_64_bits(kind: str, tmp_path: Path) -> None:
    """MessagePack has none of its own: there this package's writer writes them."""
    run = EXAMPLES["big_integers"](tmp_path)
    if kind == "jsonl":
        put(tmp_path, kind, run)
    else:
        with opened(tmp_path, kind).writer() as write:
            for pair in run:
                write(*pair)
    cat = opened(tmp_path, kind)
    assert identical(list(cat[-1].documents()), run)
    assert cat[-1].primary.read()["huge"].values.tolist() == [1, 2**70]
    assert cat[-1].primary.to_dask()["huge"].values.tolist() == [1, 2**70]
    assert len(cat.search({"serial": 2**70 + 1})) == 1
    assert len(cat.search({"serial": 2**70})) == 0


def pickled(run: Run, place: int, key: str) -> Run:
    """A run one of whose documents holds an array of objects, whose bytes would run code when unpickled."""
    changed = [(name, dict(doc)) for name, doc in run]
    changed[place][1][key] = np.array([Trap()], dtype=object)
    return changed


class Trap:
    """Says that it was unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return sprung, ()


SPRUNG: list[str] = []


def sprung() -> None:
    SPRUNG.append("unpickled")


@pytest.mark.parametrize("place", [0, 2, 5], ids=["start", "event", "stop"])
def test_object_arrays_in_messagepack(place: int, tmp_path: Path) -> None:
    packed = [
        msgpack.packb(pair, default=msgpack_numpy.encode, use_bin_type=True)
        for pair in pickled(count(), place, "payload")
    ]
    cat = with_a_good_one(tmp_path, "msgpack", "trap.msgpack", b"".join(packed))
    cat.refresh(deep=True)
    assert uid_of(scan()) in cat
    assert (uid_of(count()) in cat) == (place != 0)
    if place:
        assert len(list(cat[uid_of(count())].documents())) == len(count()) - 1
        assert cat[uid_of(count())].primary.read().sizes["time"] == (2 if place == 2 else 3)
    [problem] = cat.problems
    assert problem.where.endswith("trap.msgpack")
    assert SPRUNG == []


def image_run(uri: str, *, mimetype: str = HDF5, key: dict[str, Any] | None = None) -> Run:
    """Five events of a motor and an image of one file."""
    run = RunComposer("images", scan_id=99)
    primary = run.descriptor({"x": X, "image": key or IMAGE})
    resource = run.stream_resource("image", mimetype=mimetype, uri=uri, dataset=DATASET, chunk_shape=[1, 4, 6])
    run.stream_datum(resource, primary, (1, 6))
    run.page(primary, {"x": [1.0, 2.0, 3.0, 4.0, 5.0]})
    run.stop()
    return run.documents


def refused(stream: Any, *words: str) -> None:
    """The image of this stream is refused, read and computed; all else is there."""
    lazy = stream.to_dask()
    for ask in (stream.read, lazy["image"].compute):
        with pytest.raises(AssetUnavailable) as caught:
            ask()
        for word in words:
            assert word in str(caught.value)
    assert lazy["x"].values.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert stream(exclude=["image"]).read()["x"].values.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_mimetype(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "x.xyz"
    file.write_bytes(b"1")
    put(tmp_path, kind, image_run(file.as_uri(), mimetype="application/x-unheard-of"))
    refused(opened(tmp_path, kind)[99].primary, "application/x-unheard-of")


@pytest.mark.parametrize("kind", KINDS)
def test_asset_file_gone(kind: str, tmp_path: Path) -> None:
    uri = write_hdf5(tmp_path / "gone.h5", frames(5))
    (tmp_path / "gone.h5").unlink()
    put(tmp_path, kind, image_run(uri))
    run = opened(tmp_path, kind)[99]
    refused(run.primary, str(tmp_path / "gone.h5"))
    [file] = run.files()
    assert (file.path, file.exists, file.size) == (str(tmp_path / "gone.h5"), False, None)


@pytest.mark.parametrize("kind", KINDS)
def test_asset_file_that_is_none(kind: str, tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("hello")
    put(tmp_path, kind, image_run((tmp_path / "text.h5").as_uri()))
    refused(opened(tmp_path, kind)[99].primary, "text.h5")


@pytest.mark.parametrize("kind", KINDS)
def test_asset_file_without_the_dataset(kind: str, tmp_path: Path) -> None:
    uri = write_hdf5(tmp_path / "other.h5", frames(5), dataset="/elsewhere")
    put(tmp_path, kind, image_run(uri))
    refused(opened(tmp_path, kind)[99].primary, DATASET, "other.h5")


@pytest.mark.parametrize("kind", KINDS)
def test_asset_shorter_than_declared(kind: str, tmp_path: Path) -> None:
    put(tmp_path, kind, image_run(write_hdf5(tmp_path / "short.h5", frames(3))))
    stream = opened(tmp_path, kind)[99].primary
    refused(stream, "short.h5", "3", "5")
    assert stream.to_dask()["image"].shape == (5, 1, 4, 6)
    np.testing.assert_array_equal(stream(on_missing="fill").read()["image"].values[:3, 0], frames(3))
    assert stream.to_dask().attrs["incomplete"] == "image: 3 of 5 rows"
    trimmed = stream(trim=True)
    for dataset in (trimmed.read(), trimmed.to_dask().compute()):
        np.testing.assert_array_equal(dataset["image"].values[:, 0], frames(3))
        assert dataset["x"].values.tolist() == [1.0, 2.0, 3.0]
        assert "incomplete" not in dataset.attrs
    assert trimmed.timestamps.read()["x"].sizes["time"] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_short_asset_of_floats_is_nan(kind: str, tmp_path: Path) -> None:
    uri = write_hdf5(tmp_path / "short.h5", frames(3).astype(np.float64))
    put(tmp_path, kind, image_run(uri, key={**IMAGE, "dtype_numpy": "<f8"}))
    dataset = opened(tmp_path, kind)[99].primary.read()
    np.testing.assert_array_equal(dataset["image"].values[:3, 0], frames(3))
    assert np.isnan(dataset["image"].values[3:]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_asset_longer_than_declared(kind: str, tmp_path: Path) -> None:
    put(tmp_path, kind, image_run(write_hdf5(tmp_path / "long.h5", frames(9))))
    stream = opened(tmp_path, kind)[99].primary
    for dataset in (stream.read(), stream.to_dask().compute()):
        np.testing.assert_array_equal(dataset["image"].values[:, 0], frames(5))


@pytest.mark.parametrize("kind", KINDS)
def test_asset_whose_frames_are_of_another_shape(kind: str, tmp_path: Path) -> None:
    """The file's header is right, whatever the data key declares."""
    put(tmp_path, kind, image_run(write_hdf5(tmp_path / "small.h5", frames(5)[:, :3, :5])))
    stream = opened(tmp_path, kind)[99].primary
    for dataset in (stream.read(), stream.to_dask().compute()):
        np.testing.assert_array_equal(dataset["image"].values[:, 0], frames(5)[:, :3, :5])


@pytest.mark.parametrize("kind", KINDS)
def test_asset_that_shrinks_after_it_was_opened(kind: str, tmp_path: Path) -> None:
    put(tmp_path, kind, image_run(write_hdf5(tmp_path / "image.h5", frames(5))))
    stream = opened(tmp_path, kind)[99].primary
    lazy = stream.to_dask()
    with h5py.File(tmp_path / "image.h5", "w") as file:
        file[DATASET] = frames(2)
    with pytest.raises((AssetUnavailable, DamagedRun), match=r"image\.h5"):
        lazy["image"].compute()


@pytest.mark.parametrize("kind", KINDS)
def test_value_that_is_not_what_was_declared_is_not_cast(kind: str, tmp_path: Path) -> None:
    run = count()
    run[3][1]["data"]["counts"] = "ten"
    put(tmp_path, kind, run)
    observed = opened(tmp_path, kind)[-1].primary.read()["counts"].values.tolist()
    assert observed == [0, "ten", 20]
