"""Compressed files, this package's and others'."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from intake_bluesky.documents.model import identical
from intake_bluesky.testing.plain_runs import scan
from intake_bluesky_jsonl import JSONLStore
from tests.files.runs import Reads, lines, two_monitors, uid_of


class TestCompressed:
    @pytest.mark.parametrize("compression", ["gz", "zst"])
    def test_own_files_are_read_member_by_member(self, compression: str, folder: Path, reads: Reads) -> None:
        run = two_monitors(20_000)
        store = JSONLStore(folder, compression=compression)
        with store.insert(run[0][1]) as insert:
            for name, doc in run[1:]:
                insert.write(name, doc)
        [path] = folder.iterdir()
        assert path.name == f"{uid_of(run)}.jsonl.{compression}"
        header = store.header(uid_of(run))
        assert len(header.streams["left"].pages) > 5
        reads.bytes = 0
        [page] = store.event_pages(uid_of(run), "right", events=slice(10_000, 10_002))
        assert np.asarray(page.data["right"]).tolist() == [10_000.5, 10_001.5]
        assert reads.bytes < path.stat().st_size / 2
        values = np.concatenate([page.data["left"] for page in store.event_pages(uid_of(run), "left")])
        assert values.tolist() == [n + 0.5 for n in range(20_000)]
        store.close()

    def test_gzip_of_python_reads_own_files(self, folder: Path) -> None:
        store = JSONLStore(folder, compression="gz")
        with store.insert(scan()[0][1]) as insert:
            for name, doc in scan()[1:]:
                insert.write(name, doc)
        [path] = folder.iterdir()
        observed = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        assert identical(observed, scan())
        store.close()

    def test_foreign_file_of_one_member_is_one_page(self, folder: Path, store: JSONLStore, reads: Reads) -> None:
        run = two_monitors(10_000)
        size = (folder / "run.jsonl.gz").write_bytes(gzip.compress(lines(run)))
        header = store.header(uid_of(run))
        assert header.streams["left"].pages == (10_000,)
        reads.bytes = 0
        values = np.concatenate([page.data["left"] for page in store.event_pages(uid_of(run), "left")])
        assert values.tolist() == [n + 0.5 for n in range(10_000)]
        assert reads.bytes <= size

    @pytest.mark.parametrize("compression", ["gz", "zst"])
    def test_growing_file_is_read_as_far_as_it_goes(self, compression: str, folder: Path) -> None:
        run = scan()
        writer = JSONLStore(folder, compression=compression)
        reader = JSONLStore(folder)
        insert = writer.insert(run[0][1])
        for place, (name, doc) in enumerate(run[1:], start=2):
            insert.write(name, doc)
            assert len(list(reader.documents(uid_of(run)))) == place
            assert reader.problems() == []
        assert reader.problems() == []
        writer.close()
        reader.close()
