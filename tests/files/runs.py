"""Runs in files, made without the driver, and reads counted."""

from __future__ import annotations

import json

import pytest

from intake_bluesky.documents.model import to_plain
from intake_bluesky.files import FileStore
from intake_bluesky.files.content.source import LocalSource
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.examples import Run


def lines(run: Run) -> bytes:
    return b"".join(json.dumps([name, to_plain(doc)]).encode() + b"\n" for name, doc in run)


def uid_of(run: Run) -> str:
    return str(run[0][1]["uid"])


def uids(store: FileStore) -> list[str]:
    return [run.uid for run in store.find()]


def two_monitors(events: int) -> Run:
    """Two streams whose events alternate, and a page of a third."""
    run = RunComposer("two monitors")
    streams = [run.descriptor({name: data_key("number")}, stream=name) for name in ("left", "right")]
    table = run.descriptor({"n": data_key("integer")}, stream="table")
    for n in range(events):
        for name, descriptor in zip(("left", "right"), streams, strict=True):
            run.event(descriptor, {name: n + 0.5})
        if n % 1000 == 0:
            run.page(table, {"n": list(range(n, n + 100))})
    run.stop()
    return run.documents


class Reads:
    """Counts what is read from local files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened, self.bytes = 0, 0
        read, begin = LocalSource.read, LocalSource.__init__

        def counted_read(source: LocalSource, start: int, stop: int) -> bytes:
            data = read(source, start, stop)
            self.bytes += len(data)
            return data

        def counted_open(source: LocalSource, path: str) -> None:
            self.opened += 1
            begin(source, path)

        monkeypatch.setattr(LocalSource, "read", counted_read)
        monkeypatch.setattr(LocalSource, "__init__", counted_open)
