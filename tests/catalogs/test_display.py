"""How catalogs, runs and streams look."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.formatters import DisplayFormatter

from intake_bluesky.assets import AssetOptions
from intake_bluesky.catalogs.display import files, values
from intake_bluesky.catalogs.display.listing import RunsListing, RunsTable, listing_html, listing_text
from intake_bluesky.catalogs.display.run import run_html, run_line, run_text
from intake_bluesky.catalogs.display.text import cut, fitted, lines_of, text_width
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog, open_catalog
from intake_bluesky.documents.model import RunHeader, RunSummary
from intake_bluesky.errors import StoreUnavailable
from intake_bluesky.query import Start, from_text
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.runs import EXAMPLES

EVIL = "<script>alert('x')</script>\x1b[2J"


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tests' local time, with summer time, and their terminal."""
    monkeypatch.setenv("TZ", "America/New_York")
    monkeypatch.setenv("COLUMNS", "80")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def shown(thing: Any) -> dict[str, str]:
    """What IPython would display, by mimetype."""
    formatter: Any = DisplayFormatter()
    data, _ = formatter.format(thing)
    return dict(data)


def text_of(thing: Any) -> str:
    return shown(thing)["text/plain"]


def html_of(thing: Any) -> str:
    return shown(thing)["text/html"]


def of(*runs: Any, **options: Any) -> BlueskyCatalog:
    return BlueskyCatalog(MemoryStore(runs), name="runs", **options)


def scan(folder: Path) -> BlueskyCatalog:
    return of(EXAMPLES["scan"](folder))


def evil() -> BlueskyCatalog:
    composed = RunComposer(
        "evil", plan_name=EVIL, scan_id=EVIL, sample={"name": EVIL}, more={EVIL: {EVIL: [EVIL] * 99}}
    )
    composed.documents[0][1]["uid"] = EVIL
    configuration = {EVIL: {"data": {EVIL: EVIL}, "timestamps": {EVIL: EVIL}, "data_keys": {EVIL: {"units": EVIL}}}}
    keys = {EVIL: data_key("number", units=EVIL), "files": data_key("array", [5], external="FILE:")}
    composed.descriptor(keys, stream=EVIL, configuration=configuration, object_keys={EVIL: [EVIL]})
    composed.resource(EVIL, root="/", path=EVIL)
    composed.stop(EVIL, reason=EVIL)
    return BlueskyCatalog(MemoryStore([composed.documents]), name=EVIL)


class TestValues:
    def test_local_with_zone_of_that_day(self) -> None:
        assert values.local_time(1_700_000_000) == "2023-11-14 17:13:20 EST"
        assert values.local_time(1_690_000_000) == "2023-07-22 00:26:40 EDT"

    @pytest.mark.parametrize("odd", [None, "soon", float("nan"), float("inf"), 1e300, {}])
    def test_no_time(self, odd: Any) -> None:
        assert values.local_time(odd) == "?"
        assert values.brief_duration(odd, float("inf")) == values.duration(odd, float("inf")) == ""

    def test_samples(self) -> None:
        assert values.sample_of({"sample": {"name": "Ni"}, "purpose": "test"}) == ("sample", "Ni")
        assert values.sample_of({"sample": {}, "sample_name": "", "purpose": "test"}) == ("purpose", "test")
        assert values.sample_of({"sample": None}) == ("", "")


class TestText:
    @given(st.lists(st.tuples(st.text(), st.text(), st.text()), min_size=1), st.integers(20, 90))
    def test_tables_fit(self, rows: list[tuple[str, str, str]], width: int) -> None:
        lines = lines_of(fitted([("one", "two", "three"), *rows], width, [1]), right=[2])
        assert len(lines) == len(rows) + 1
        assert all(text_width(line) <= width for line in lines)

    @given(st.text(), st.integers(1, 20))
    def test_cut(self, text: str, width: int) -> None:
        short = cut(text, width)
        assert text_width(short) <= width
        assert short == text or (short.endswith("…") and text.startswith(short[:-1]))


class TestCatalog:
    def test_one_line_reads_nothing(self) -> None:
        class Untouchable(MemoryStore):
            def find(self, *args: Any, **kwargs: Any) -> Iterator[RunSummary]:
                raise AssertionError("a repr reads nothing")

        cat = BlueskyCatalog(Untouchable(), name="runs")
        assert repr(cat) == "<BlueskyCatalog runs>"
        assert repr(BlueskyCatalog(Untouchable())) == "<BlueskyCatalog>"
        assert len(repr(cat.search({"plan_name": "x" * 500}))) < 130

    def test_queries_are_in_the_text_form(self) -> None:
        cat = of()
        found = cat.search((Start("plan_name") == "scan") & (Start("num_points") > 3))
        asked = "plan_name == 'scan' and num_points > 3"
        assert repr(found) == f"<BlueskyCatalog runs where {asked}>"
        assert from_text(asked) == found.query
        assert f"where {asked}" in text_of(found)
        assert "plan_name == &#x27;scan&#x27;" in html_of(found)
        assert repr(cat.search({"plan_name": "scan"})).endswith("where plan_name == 'scan' (as MongoDB compares)>")
        nested = cat.search({"x": {"$elemMatch": {"y.z": 1}}})
        assert repr(nested) == f"<BlueskyCatalog runs where {nested.query!r}>"

    def test_a_table_of_the_newest(self) -> None:
        class Noting(MemoryStore):
            given = 0

            def count(self, *args: Any, **kwargs: Any) -> int:
                return 1234  # as databases do, without listing

            def find(self, *args: Any, **kwargs: Any) -> Iterator[RunSummary]:
                for run in super().find(*args, **kwargs):
                    self.given += 1
                    yield run

        runs = []
        for n in range(1234):
            composed = RunComposer(f"run{n}", time=1_700_000_000.0 + n, scan_id=n, plan_name="count")
            composed.stop(time=1_700_000_000.0 + n + 75)
            runs.append(composed.documents)
        store = Noting(runs)
        cat = BlueskyCatalog(store, name="runs")
        views = shown(cat)
        title, head, *rows, more = views["text/plain"].splitlines()
        assert store.given == 10 * len(views)
        assert title == "BlueskyCatalog runs: 1,234 runs"
        assert head.split() == ["uid", "scan_id", "plan", "started", "took", "status", "events"]
        assert more == "(the 10 newest of 1,234)"
        assert [row.split()[1] for row in rows] == [str(n) for n in range(1233, 1223, -1)]
        assert "2023-11-14 17:33:53 EST  75 s  success" in rows[0]
        assert "2023-11-14 17:33:53 EST" in views["text/html"]

    def test_what_the_columns_have(self, tmp_path: Path) -> None:
        cat = of(*(EXAMPLES[name](tmp_path) for name in ("scan", "unfinished", "failed")))
        head, *rows = RunsTable(list(cat.selection.runs())).fitted(120)
        assert head == ("uid", "scan_id", "plan", "sample", "started", "took", "status", "events")
        by_scan_id = {row[1]: row for row in rows}
        assert by_scan_id["2"][3] == "Ni foil"
        assert sorted(row[-2:] for row in rows) == [("fail", "1"), ("success", "11"), ("unfinished", "")]

    @pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
    def test_it_fits(self, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", str(width))
        runs = []
        for n, year in enumerate((0, 86_400 * 400)):
            sample = "標準試料" * 9 if n else "Pt/Al2O3 after reduction"
            composed = RunComposer(f"{n}", time=1_700_000_000.0 + year, plan_name="a_long_name" * 9, sample=sample)
            runs.append(composed.documents)
        lines = text_of(of(*runs)).splitlines()
        assert max(map(text_width, lines)) <= width
        assert "…" in lines[2]
        assert "2023" in lines[3] or width == 40

    def test_a_search_run_by_run_is_not_counted(self, tmp_path: Path) -> None:
        class Simple(MemoryStore):
            def answers(self, leaf: Any) -> bool:
                return False

        runs = [RunComposer(f"{n}", time=1_700_000_000.0 + n, scan_id=n).documents for n in range(30)]
        cat = BlueskyCatalog(Simple(runs), name="runs")
        title, _, *_, more = text_of(cat.search(Start("scan_id") < 20)).splitlines()
        assert title == "BlueskyCatalog runs: more than 10 runs"
        assert more == "(the 10 newest)"
        assert text_of(cat.search(Start("scan_id") < 2)).startswith("BlueskyCatalog runs: 2 runs\n")

    def test_without_runs(self) -> None:
        assert text_of(of()) == "BlueskyCatalog runs: 0 runs"
        assert "0 runs" in html_of(of())

    def test_a_store_that_fails_is_told(self) -> None:
        class Away(MemoryStore):
            def count(self, *args: Any, **kwargs: Any) -> int:
                raise StoreUnavailable("the database is away")

            def find(self, *args: Any, **kwargs: Any) -> Iterator[RunSummary]:
                raise StoreUnavailable("the database is away")

        told = "cannot be shown: StoreUnavailable: the database is away"
        cat = BlueskyCatalog(Away(), name="runs")
        assert text_of(cat) == f"<BlueskyCatalog runs>\n{told}"
        assert told in html_of(cat)


class TestRun:
    def test_one_line(self, tmp_path: Path) -> None:
        run = scan(tmp_path)[-1]
        streams = "[baseline, ring_current_monitor, primary]"
        assert repr(run) == f"<BlueskyRun {run.uid[:8]} scan_id=2 scan success streams={streams}>"
        unfinished = of(EXAMPLES["unfinished"](tmp_path))[-1]
        assert " unfinished streams=[primary]>" in repr(unfinished)

    def test_text(self, tmp_path: Path) -> None:
        run = scan(tmp_path)[-1]
        lines = text_of(run).splitlines()
        assert lines[:6] == [
            f"BlueskyRun {run.uid}", "  status   success", "  scan_id  2", "  plan     scan", "  sample   Ni foil",
            "  started  2023-11-14 17:15:00 EST",
        ]  # fmt: skip
        primary = lines.index("primary: 11 events")
        assert primary < lines.index("baseline: 2 events")
        assert [line.split() for line in lines[primary + 1 : primary + 3]] == [
            ["key", "dtype", "units", "device"], ["theta", "float64", "deg", "theta"],
        ]  # fmt: skip

    def test_html(self, tmp_path: Path) -> None:
        html = html_of(scan(tmp_path)[-1])
        assert html.index("<details open><summary><b>start</b>") < html.index("<details open><summary><b>primary</b>")
        assert html.index("<b>primary</b>") < html.index("<details><summary><b>baseline</b>")
        assert "<span class='ib-good'>success</span>" in html
        assert "<script" not in html
        assert "http" not in html

    def test_events_lost_or_repeated_are_told(self, tmp_path: Path) -> None:
        assert "primary: 4 events (7 stored)" in text_of(of(EXAMPLES["rewound"](tmp_path))[-1])

    def test_long_values_are_cut_and_dicts_folded(self) -> None:
        run = of(RunComposer("long", note="x" * 10_000, deep={"a": {"b": {"c": {"d": {"e": ["y"] * 999}}}}}).documents)[
            -1
        ]
        html = html_of(run)
        assert len(html) < 12_000
        assert "<details><summary>a</summary>" in html

    @pytest.mark.parametrize("name", sorted(EXAMPLES))
    def test_all_examples(self, name: str, tmp_path: Path) -> None:
        cat = of(EXAMPLES[name](tmp_path))
        run: Any = cat[-1]
        streams = list(run.values())
        for thing in (cat, run, *streams, *(one.timestamps for one in streams), *(one.config for one in streams)):
            assert "\n" not in repr(thing)
            assert "cannot be shown" not in repr(thing) + text_of(thing) + html_of(thing)
            assert max(map(text_width, text_of(thing).splitlines())) <= 80

    def test_many_keys_and_long_values_are_cut(self) -> None:
        metadata = {f"note{number}": number for number in range(20_000)}  # seconds, if each were measured each time
        composed = RunComposer("many", sample="s" * 10_000, plan_name="p" * 10_000, scan_id=10**1000, **metadata)
        keys = {f"key{number}": data_key("number", units="u" * 10_000) for number in range(2000)}
        block = {"data": {"spectrum": [0.5] * 1000}, "timestamps": {"spectrum": 1.0}, "data_keys": {}}
        composed.descriptor(keys, configuration={f"device{number}": block for number in range(500)})
        composed.stop("fail", reason="r" * 10_000)
        cat = of(composed.documents)
        run = cat[-1]
        for thing in (cat, run, run.primary, run.primary.config["device1"]):
            assert len(repr(thing)) < 1000
            assert len(html_of(thing)) < 300_000
            assert len(text_of(thing).splitlines()) < 80
        assert "and 1970 more" in text_of(run)
        assert "and 1700 more" in html_of(run)


class TestFiles:
    def test_missing_files_are_red(self, tmp_path: Path) -> None:
        run = of(EXAMPLES["missing_file"](tmp_path))[-1]
        (missing,) = [file.path for file in run.files() if not file.exists]
        assert f"  missing: {missing}"[:79] in text_of(run)
        assert f"<span class='ib-bad'>missing</span> <code class='ib-c'>{missing}</code>" in html_of(run)
        assert "files: 2 found" in text_of(of(EXAMPLES["stream_hdf5"](tmp_path / "there"))[-1])

    def test_a_file_of_several_keys_counts_once(self) -> None:
        composed = RunComposer("files")
        keys = {key: data_key("array", [1], external="STREAM:") for key in ("image", "sum")}
        primary = composed.descriptor(keys)
        for key in keys:
            uri = "file://localhost/no/x.h5"
            resource = composed.stream_resource(key, mimetype="application/x-hdf5", uri=uri, dataset=key)
            composed.stream_datum(resource, primary, (1, 2))
            composed.resource("AD_HDF5", root="/no", path="y.h5")
        assert "files: 2 missing" in text_of(of(composed.documents)[-1])

    def test_few_are_looked_for_and_none_of_a_server(self) -> None:
        composed = RunComposer("files")
        for number in range(25):
            composed.resource("AD_HDF5", root="/nowhere", path=f"{number}.h5")
        run = of(composed.documents)[-1]
        assert "files: 20 missing, 5 not looked for" in text_of(run)
        moved = of(composed.documents, root_map={"/nowhere": "http://127.0.0.1:9/data"})[-1]
        assert "files: 20 remote, 5 not looked for" in text_of(moved)

    def test_a_disk_that_does_not_answer_is_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answer = threading.Event()
        monkeypatch.setattr(files, "PATIENCE", 0.01)
        monkeypatch.setattr(files, "locate", lambda *_: answer.wait())
        composed = RunComposer("files")
        composed.resource("AD_HDF5", root="/mount", path="x.h5")
        run = of(composed.documents)[-1]
        try:
            assert "files: 1 not looked for: the disk does not answer" in text_of(run)
        finally:
            answer.set()

    def test_what_may_not_be_looked_for(self) -> None:
        composed = RunComposer("files")
        composed.resource("AD_HDF5", root="/etc", path="passwd")
        header = of(composed.documents)[-1].header
        seen = files.seen_files(header, AssetOptions(trusted=False))
        assert seen.note == "1 refused"
        assert os.path.exists("/etc/passwd")


class TestStream:
    def test_it_says_what_it_is(self, tmp_path: Path) -> None:
        stream = scan(tmp_path)[-1].primary
        uid = stream.metadata["start"]["uid"][:8]
        of_run, keys = f"primary of run {uid}", "keys=[theta, det, counts]"
        assert repr(stream) == f"<BlueskyStream {of_run}: 11 stored events, {keys}>"
        assert repr(stream.timestamps) == f"<BlueskyStream timestamps of {of_run}: 11 stored events, {keys}>"
        narrowed = stream(include=["det"], on_missing="fill")
        assert repr(narrowed) == f"<BlueskyStream {of_run}: 11 stored events, keys=[det], on_missing='fill'>"
        config = f"configuration of det in {of_run}, keys=["
        assert repr(stream.config["det"]).startswith(f"<BlueskyStream {config}")
        assert repr(stream.config_timestamps["det"]).startswith(f"<BlueskyStream timestamps of {config}")
        assert repr(stream.config) == "<configuration of theta, det>"
        assert repr(stream.config_timestamps) == "<timestamps of configuration of theta, det>"

    def test_its_keys(self, tmp_path: Path) -> None:
        stream = scan(tmp_path)[-1].primary
        title, head, theta, *_ = text_of(stream).splitlines()
        assert title.endswith(": 11 events")
        assert (head.split(), theta.split()) == (
            ["key", "dtype", "units", "device"],
            ["theta", "float64", "deg", "theta"],
        )
        assert "1970" in text_of(stream.timestamps)
        assert "configuration of det" in html_of(stream.config["det"])

    def test_shapes_and_dtypes(self, tmp_path: Path) -> None:
        text = text_of(of(EXAMPLES["stream_hdf5"](tmp_path))[-1].primary)
        (image,) = [line.split() for line in text.splitlines() if line.startswith("  image")]
        assert image[:4] == ["image", "uint16", "(1,", "4,"]
        assert image[-2:] == ["in", "files"]

    def test_nothing_is_read(self) -> None:
        class Unread(MemoryStore):
            def event_pages(self, *args: Any, **kwargs: Any) -> Any:
                raise AssertionError("a repr reads no events")

        stream = BlueskyCatalog(Unread([EXAMPLES["count"](Path("unused"))]))[-1].primary
        assert "3 events" in text_of(stream)
        assert "3 events" in html_of(stream)


def test_documents_are_escaped() -> None:
    cat = evil()
    run = cat[-1]
    stream = run[EVIL]
    for thing in (cat, run, stream, stream.timestamps, stream.config, stream.config[EVIL], stream.config_timestamps):
        assert "<script" not in html_of(thing)
        assert "\x1b" not in repr(thing) + text_of(thing) + html_of(thing)


def test_odd_values_of_the_run_start_are_shown() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError("no text")

    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    odd = [Odd(), deep, {1: {2: 3}}, {Odd(): 1}, b"\xff", {"b", 1}, "\ud800", 10**400, float("nan"), {"name": deep}]
    for value in odd:
        start = {"uid": "odd", **dict.fromkeys(("sample", "x", "scan_id", "time", "plan_name", "hints"), value)}
        stop = {"time": value, "exit_status": value, "reason": value, "num_events": value}
        header = RunHeader(start, stop, (), (), (), {}, "1")
        listing = RunsListing("C", "c", runs=[RunSummary("odd", None, None, start, stop)], total=1)
        texts = [listing_text(listing, 80), run_text(header, files.FilesSeen(0), 80), run_line(header)]
        assert all("odd" in view for view in (*texts, listing_html(listing), run_html(header, files.FilesSeen(0))))
        assert all(text_width(line) <= 80 for text in texts[:2] for line in text.splitlines())


class TestEntries:
    YAML = """\
sources:
  hard_xray:
    description: The <b>hard</b> X-ray beamline
    driver: bluesky-mongo-normalized-catalog
    args: {metadatastore_db: 'mongodb://me:hunter2@nowhere.invalid/db'}
  lost:
    driver: no_such_driver
"""

    def test_of_a_file_without_opening_any(self, tmp_path: Path) -> None:
        (tmp_path / "beamlines.yml").write_text(self.YAML)
        cat = open_catalog(tmp_path / "beamlines.yml")
        assert text_of(cat).splitlines() == [
            "YAMLCatalog beamlines: 2 entries",
            "name       driver                            description",
            "hard_xray  bluesky-mongo-normalized-catalog  The <b>hard</b> X-ray beamline",
            "lost       no_such_driver",
        ]
        assert repr(cat) == "<YAMLCatalog beamlines>"
        html = html_of(cat)
        assert "The &lt;b&gt;hard&lt;/b&gt; X-ray beamline" in html
        assert "hunter2" not in html + text_of(cat)

    def test_of_several_files(self, tmp_path: Path) -> None:
        (tmp_path / "a.yml").write_text(self.YAML)
        (tmp_path / "b.yml").write_text(self.YAML.replace("hard_xray", "soft_xray").replace("lost", "gone"))
        assert text_of(open_catalog(tmp_path)).count("bluesky-mongo-normalized-catalog") == 2
        nested = open_catalog(tmp_path, flatten=False)
        assert [line.split()[:2] for line in text_of(nested).splitlines()[2:]] == [
            ["a", "yaml_file_cat"], ["b", "yaml_file_cat"],
        ]  # fmt: skip
