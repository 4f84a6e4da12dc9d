"""How catalogs, runs and streams look."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.formatters import DisplayFormatter

from intake_bluesky.catalogs import display
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.documents.model import RunSummary
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.runs import EXAMPLES

EVIL = "<script>alert('x')</script>"


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tests' local time, with summer time."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def shown(thing: Any) -> dict[str, str]:
    """What IPython would display, by mimetype."""
    formatter: Any = DisplayFormatter()
    data, _ = formatter.format(thing)
    return dict(data)


def scan(folder: Path) -> Any:
    return BlueskyCatalog(MemoryStore([EXAMPLES["scan"](folder)]), name="runs")


def evil() -> Any:
    composed = RunComposer("evil", plan_name=EVIL, scan_id=EVIL)
    composed.documents[0][1]["uid"] = EVIL
    composed.descriptor({EVIL: data_key("number")}, stream=EVIL)
    composed.stop(EVIL, reason=EVIL)
    return BlueskyCatalog(MemoryStore([composed.documents]), name=EVIL)


class TestTimes:
    def test_local_with_zone_of_that_day(self) -> None:
        assert display.local_time(1_700_000_000) == "2023-11-14 17:13:20 EST"
        assert display.local_time(1_690_000_000) == "2023-07-22 00:26:40 EDT"

    @pytest.mark.parametrize("odd", [None, "soon", float("nan"), float("inf"), 1e300, {}])
    def test_no_time(self, odd: Any) -> None:
        assert display.local_time(odd) == "?"

    @pytest.mark.parametrize("odd", [None, "soon", float("nan"), {}])
    def test_no_duration(self, odd: Any) -> None:
        assert display.duration(odd, 1.0) == ""


class TestRun:
    def test_one_line(self, tmp_path: Path) -> None:
        run = scan(tmp_path)[-1]
        streams = "[baseline, ring_current_monitor, primary]"
        assert repr(run) == f"<BlueskyRun {run.uid[:8]} scan_id=2 scan success streams={streams}>"
        unfinished = BlueskyCatalog(MemoryStore([EXAMPLES["unfinished"](tmp_path)]))[-1]
        assert " unfinished streams=[primary]>" in repr(unfinished)

    def test_text(self, tmp_path: Path) -> None:
        run = scan(tmp_path)[-1]
        observed = shown(run)["text/plain"]
        for expected in (run.uid, "exit status: success", "started:     2023-11-14 17:15:00 EST", "took", "* primary"):
            assert expected in observed
        assert "11 stored events: theta, det, counts" in observed

    def test_html(self, tmp_path: Path) -> None:
        run = scan(tmp_path)[-1]
        assert run.uid in shown(run)["text/html"]
        assert EVIL not in shown(evil()[-1])["text/html"]

    @pytest.mark.parametrize("name", sorted(EXAMPLES))
    def test_all_examples(self, name: str, tmp_path: Path) -> None:
        cat = BlueskyCatalog(MemoryStore([EXAMPLES[name](tmp_path)]))
        run = cat[-1]
        for thing in (cat, run, *run.values()):
            assert "\n" not in repr(thing)
            assert {"text/plain", "text/html"} <= set(shown(thing))


class TestCatalog:
    def test_one_line_reads_nothing(self) -> None:
        class Untouchable(MemoryStore):
            def find(self, *args: Any, **kwargs: Any) -> Iterator[RunSummary]:
                raise AssertionError("a repr reads nothing")

        cat = BlueskyCatalog(Untouchable(), name="runs")
        assert repr(cat) == "<BlueskyCatalog runs>"
        found = cat.search({"plan_name": "scan"})
        assert repr(found) == f"<BlueskyCatalog runs where {found.query!r}>"
        assert repr(BlueskyCatalog(Untouchable())) == "<BlueskyCatalog>"
        assert len(repr(cat.search({"plan_name": "x" * 500}))) < 130

    def test_a_table_of_the_newest(self) -> None:
        runs = []
        for n in range(1234):
            composed = RunComposer(f"run{n}", time=1_700_000_000.0 + n, scan_id=n, plan_name="count")
            composed.stop()
            runs.append(composed.documents)
        cat = BlueskyCatalog(MemoryStore(runs), name="runs")
        title, head, *rows, more = shown(cat)["text/plain"].splitlines()
        assert title == "BlueskyCatalog runs: 1,234 runs"
        assert head.split() == list(display.COLUMNS)
        assert more == "(the 10 newest of 1,234)"
        assert [row.split()[1] for row in rows] == [str(n) for n in range(1233, 1223, -1)]
        assert "2023-11-14 17:33:53 EST" in rows[0]
        assert "2023-11-14 17:33:53 EST" in shown(cat)["text/html"]

    def test_without_runs(self) -> None:
        cat = BlueskyCatalog(MemoryStore(), name="runs")
        assert shown(cat)["text/plain"] == "BlueskyCatalog runs: 0 runs"
        assert "0 runs" in shown(cat)["text/html"]

    def test_documents_are_escaped(self) -> None:
        assert EVIL not in shown(evil())["text/html"]


class TestStream:
    def test_the_xarray_repr(self, tmp_path: Path) -> None:
        stream = scan(tmp_path)[-1].primary
        uid = stream.metadata["start"]["uid"][:8]
        keys = "[theta, det, counts]"
        assert repr(stream) == f"<BlueskyStream primary of run {uid}: 11 stored events, keys={keys}>"
        assert "<xarray.Dataset>" in shown(stream)["text/plain"]
        assert "xr-header" in shown(stream)["text/html"]

    def test_documents_are_escaped(self) -> None:
        assert EVIL not in shown(evil()[-1][EVIL])["text/html"]
