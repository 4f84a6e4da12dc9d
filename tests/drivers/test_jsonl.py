"""The JSONL driver against the conformance suite, suitcase-jsonl and databroker's YAML."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import intake
import pytest
import suitcase.jsonl
import zstandard

from intake_bluesky.documents.model import EventPage, identical, to_plain
from intake_bluesky.testing.examples import EXAMPLES, Run
from intake_bluesky.testing.plain_runs import count, scan
from intake_bluesky.testing.stores import (
    StoreHooks,
    StoreLifeCycleTests,
    StoreTests,
    StoreValueTests,
    StoreWritingTests,
)
from intake_bluesky_jsonl import BlueskyJSONLCatalog, JSONLCodec, JSONLStore


class _CountingCodec(JSONLCodec):
    reads: ClassVar[int] = 0

    def event_pages(self, *args: Any, **kwargs: Any) -> Iterator[EventPage]:
        if kwargs.get("data") != () or kwargs.get("timestamps", ()) != ():
            _CountingCodec.reads += 1
        yield from super().event_pages(*args, **kwargs)


class _CountingStore(JSONLStore):
    codec = _CountingCodec()


def _lines(documents: Run) -> str:
    return "".join(json.dumps([name, to_plain(doc)]) + "\n" for name, doc in documents)


class InFiles(StoreHooks[_CountingStore]):
    """Runs put in by Python's json, in files of any compression."""

    compression: ClassVar[str | None] = None

    def make_store(self, folder: Path) -> _CountingStore:
        return _CountingStore(folder, compression=self.compression)

    def _path(self, store: JSONLStore, uid: str) -> Path:
        ending = f".{self.compression}" if self.compression else ""
        return Path(store.files.locations[0].pattern, f"{uid}.jsonl{ending}")

    def _compressed(self, raw: bytes) -> bytes:
        if self.compression == "gz":
            return gzip.compress(raw)
        return zstandard.compress(raw) if self.compression == "zst" else raw

    def insert(self, store: _CountingStore, documents: Run) -> None:
        self.append(store, documents[0][1]["uid"], documents)

    def append(self, store: _CountingStore, uid: str, documents: Run) -> None:
        with self._path(store, uid).open("ab") as file:
            file.write(self._compressed(_lines(documents).encode()))

    def remove(self, store: _CountingStore, uid: str) -> None:
        self._path(store, uid).unlink()

    def damage(self, store: _CountingStore) -> None:
        self._path(store, "damaged").write_bytes(self._compressed(b'["start", {"uid": "cut o'))

    def data_reads(self, store: _CountingStore) -> int:
        return _CountingCodec.reads


class TestJSONLStore(InFiles, StoreTests[_CountingStore]):
    """The whole suite, in plain files."""


class InCompressedFiles(
    InFiles, StoreValueTests[_CountingStore], StoreLifeCycleTests[_CountingStore], StoreWritingTests[_CountingStore]
):
    """What reads and writes files; the rest of the suite asks the index."""


@pytest.mark.slow
class TestGzip(InCompressedFiles):
    """Files of gzip members, one for each time documents were appended."""

    compression = "gz"


@pytest.mark.slow
class TestZstandard(InCompressedFiles):
    """Files of zstd frames, one for each time documents were appended."""

    compression = "zst"


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_reads_what_suitcase_writes(name: str, tmp_path: Path) -> None:
    run = EXAMPLES[name](tmp_path / "assets")
    with suitcase.jsonl.Serializer(tmp_path / "runs") as write:
        for pair in run:
            write(*pair)
    store = JSONLStore(tmp_path / "runs")
    assert identical(list(store.documents(run[0][1]["uid"])), run)
    store.close()


def test_suitcase_writes_what_is_read(tmp_path: Path) -> None:
    """What suitcase's readers do: one JSON pair a line."""
    store = JSONLStore(tmp_path)
    with store.insert(scan()[0][1]) as insert:
        for name, doc in scan()[1:]:
            insert.write(name, doc)
    [path] = tmp_path.glob("*.jsonl")
    observed = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert path.name == f"{scan()[0][1]['uid']}.jsonl"
    assert identical(observed, scan())
    store.close()


YAML = """
sources:
  beamline:
    driver: bluesky-jsonl-catalog
    container: catalog
    args:
      paths:
        - "{{ CATALOG_DIR }}/runs/*.jsonl"
      root_map: {/old: new}
      handler_registry: {}
      transforms: {}
      filler_class: event_model.Filler
    metadata: {beamline: hx}
"""


def test_yaml_of_databroker_opens(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "one.jsonl").write_text(_lines(scan()), encoding="utf-8")
    (tmp_path / "catalog.yml").write_text(YAML, encoding="utf-8")
    catalog = intake.open_catalog(str(tmp_path / "catalog.yml"))["beamline"]
    assert isinstance(catalog, BlueskyJSONLCatalog)
    assert list(catalog) == [scan()[0][1]["uid"]]
    assert len(catalog[-1].primary.read().time) == 11


@pytest.mark.parametrize("form", ["text", "path", "list", "folder", "url"])
def test_paths_take_every_form(form: str, tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text(_lines(count()), encoding="utf-8")
    pattern = tmp_path / "*.jsonl"
    forms: dict[str, Any] = {
        "text": str(pattern), "path": pattern, "list": [pattern], "folder": tmp_path, "url": f"file://{pattern}",
    }  # fmt: skip
    assert list(BlueskyJSONLCatalog(forms[form])) == [count()[0][1]["uid"]]
