"""The MessagePack driver against the conformance suite and suitcase-msgpack."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import intake
import msgpack
import msgpack_numpy
import numpy as np
import pytest
import suitcase.msgpack
import zstandard

from intake_bluesky.documents.model import EventPage, identical, to_plain
from intake_bluesky.testing.examples import EXAMPLES, Run
from intake_bluesky.testing.plain_runs import scan
from intake_bluesky.testing.stores import StoreHooks, StoreLifeCycleTests, StoreTests, StoreValueTests
from intake_bluesky_msgpack import BlueskyMsgpackCatalog, MsgpackCodec, MsgpackStore


class _CountingCodec(MsgpackCodec):
    reads: ClassVar[int] = 0

    def event_pages(self, *args: Any, **kwargs: Any) -> Iterator[EventPage]:
        if kwargs.get("data") != () or kwargs.get("timestamps", ()) != ():
            _CountingCodec.reads += 1
        yield from super().event_pages(*args, **kwargs)


class _CountingStore(MsgpackStore):
    codec = _CountingCodec()


class InFiles(StoreHooks[_CountingStore]):
    """Runs put in by this format's codec, past the driver's files and index."""

    compression: ClassVar[str | None] = None

    def make_store(self, folder: Path) -> _CountingStore:
        return _CountingStore(folder, compression=self.compression)

    def _path(self, store: MsgpackStore, uid: str) -> Path:
        ending = f".{self.compression}" if self.compression else ""
        return Path(store.files.locations[0].pattern, f"{uid}.msgpack{ending}")

    def _compressed(self, raw: bytes) -> bytes:
        if self.compression == "gz":
            return gzip.compress(raw)
        return zstandard.compress(raw) if self.compression == "zst" else raw

    def insert(self, store: _CountingStore, documents: Run) -> None:
        self.append(store, documents[0][1]["uid"], documents)

    def append(self, store: _CountingStore, uid: str, documents: Run) -> None:
        with self._path(store, uid).open("ab") as file:
            file.write(self._compressed(b"".join(MsgpackCodec().encode(name, doc) for name, doc in documents)))

    def remove(self, store: _CountingStore, uid: str) -> None:
        self._path(store, uid).unlink()

    def damage(self, store: _CountingStore) -> None:
        whole = MsgpackCodec().encode("start", scan()[0][1])
        self._path(store, "damaged").write_bytes(self._compressed(whole[: len(whole) // 2]))

    def data_reads(self, store: _CountingStore) -> int:
        return _CountingCodec.reads


class TestMsgpackStore(InFiles, StoreTests[_CountingStore]):
    """The whole suite, in plain files."""


class InCompressedFiles(InFiles, StoreValueTests[_CountingStore], StoreLifeCycleTests[_CountingStore]):
    """What reads and writes files; the rest of the suite asks the index."""


@pytest.mark.slow
class TestGzip(InCompressedFiles):
    """Files of gzip members, one for each time documents were appended."""

    compression = "gz"


@pytest.mark.slow
class TestZstandard(InCompressedFiles):
    """Files of zstd frames, one for each time documents were appended."""

    compression = "zst"


# MessagePack has no integers past 64 bits.
SUITCASE = sorted(set(EXAMPLES) - {"big_integers"})


@pytest.mark.parametrize("name", SUITCASE)
def test_reads_what_suitcase_packs(name: str, tmp_path: Path) -> None:
    run = EXAMPLES[name](tmp_path / "assets")
    pairs = [(name, to_plain(doc)) for name, doc in run]
    packed = [msgpack.packb(pair, default=msgpack_numpy.encode, use_bin_type=True) for pair in pairs]
    (tmp_path / "run.msgpack").write_bytes(b"".join(packed))
    store = MsgpackStore(tmp_path)
    assert identical(list(store.documents(run[0][1]["uid"])), run)
    store.close()


def test_reads_what_suitcase_writes(tmp_path: Path) -> None:
    suitcase.msgpack.export(iter(scan()), tmp_path)
    store = MsgpackStore(tmp_path)
    assert identical(store.header(scan()[0][1]["uid"]).start, scan()[0][1])
    assert sum(map(len, store.event_pages(scan()[0][1]["uid"], "primary"))) == 11
    store.close()


def test_arrays_stay_arrays(tmp_path: Path) -> None:
    store = MsgpackStore(tmp_path)
    image = np.arange(6, dtype=np.uint16).reshape(2, 3)
    run = scan()
    run[0][1]["image"] = image
    with store.insert(run[0][1]) as insert:
        for name, doc in run[1:]:
            insert.write(name, doc)
    [observed] = [run.start["image"] for run in store.find()]
    np.testing.assert_array_equal(observed, image)
    assert observed.dtype == np.uint16
    store.close()


def test_object_arrays_are_refused_and_reported(tmp_path: Path) -> None:
    start = {"uid": "abc", "time": 1.0, "payload": np.array([{"a": 1}], dtype=object)}
    packed = msgpack.packb(("start", start), default=msgpack_numpy.encode, use_bin_type=True)
    (tmp_path / "bad.msgpack").write_bytes(packed)
    suitcase.msgpack.export(iter(scan()), tmp_path)
    store = MsgpackStore(tmp_path)
    assert [run.uid for run in store.find()] == [scan()[0][1]["uid"]]
    [problem] = store.problems()
    assert problem.where.endswith("bad.msgpack")
    store.close()


def test_damage_in_the_middle_loses_only_what_is_damaged(tmp_path: Path) -> None:
    items = [MsgpackCodec().encode(name, doc) for name, doc in scan()]
    second = [place for place, (name, _) in enumerate(scan()) if name == "event_page"][1]
    items[second] = b"\xc1" * len(items[second])
    (tmp_path / "run.msgpack").write_bytes(b"".join(items))
    store = MsgpackStore(tmp_path)
    header = store.header(scan()[0][1]["uid"])
    assert header.streams["primary"].events == 7
    assert header.stop is not None
    [problem] = store.problems()
    assert "passed over" in problem.message
    store.close()


YAML = """
sources:
  beamline:
    driver: bluesky-msgpack-catalog
    args: {paths: "{{ CATALOG_DIR }}/*.msgpack"}
"""


def test_yaml_of_databroker_opens(tmp_path: Path) -> None:
    suitcase.msgpack.export(iter(scan()), tmp_path)
    (tmp_path / "catalog.yml").write_text(YAML, encoding="utf-8")
    catalog = intake.open_catalog(str(tmp_path / "catalog.yml"))["beamline"]
    assert isinstance(catalog, BlueskyMsgpackCatalog)
    assert list(catalog) == [scan()[0][1]["uid"]]
