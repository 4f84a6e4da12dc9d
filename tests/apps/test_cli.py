from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from intake_bluesky.apps.cli import main
from intake_bluesky.apps.cli.open_catalog import find_catalog, find_run
from intake_bluesky.apps.validate import validate
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog, open_catalog
from intake_bluesky.errors import StoreUnavailable, StreamNotFound
from intake_bluesky.query import from_json, from_mongo
from intake_bluesky.testing import RunComposer, data_key
from intake_bluesky.testing.runs import EXAMPLES, Run

JSONL, MSGPACK = "bluesky-jsonl-catalog", "bluesky-msgpack-catalog"
YAML = """
sources:
  runs:
    driver: bluesky-jsonl-catalog
    args: {paths: "{{ CATALOG_DIR }}/runs"}
"""
SECOND = """
  nested:
    driver: yaml_file_cat
    args: {path: "{{ CATALOG_DIR }}/inner.yml"}
  notes:
    driver: textfiles
    args: {urlpath: "{{ CATALOG_DIR }}/*.txt"}
"""


def write(folder: Path, *runs: Run, driver: str = JSONL) -> None:
    """Into a folder, by the store alone."""
    folder.mkdir(parents=True, exist_ok=True)
    store = open_catalog(str(folder), driver=driver).store
    for run in runs:
        with store.insert(run[0][1]) as insert:
            for name, doc in run[1:]:
                insert.write(name, doc)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with catalog.yml and four runs: from the newest, scan, unfinished, npy_seq and count."""
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    runs = [EXAMPLES[name](tmp_path / "files") for name in ("count", "npy_seq", "unfinished", "scan")]
    for later, run in enumerate(runs):
        run[0][1]["time"] = 1.7e9 + later
    write(tmp_path / "runs", *runs)
    (tmp_path / "catalog.yml").write_text(YAML)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    observed = main(argv)
    out, err = capsys.readouterr()
    assert (observed, err) == (code, "")
    return out


def complaint(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line that a command that cannot go on writes."""
    observed = main(argv)
    out, err = capsys.readouterr()
    assert (observed, out) == (2, "")
    assert re.fullmatch(r"intake-bluesky: .+\n", err), err
    return err


def test_ls(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *rows, total = printed(capsys, "ls", "catalog.yml").splitlines()
    assert header.split() == ["uid", "scan_id", "plan", "sample", "started", "took", "status", "events"]
    assert [row.split()[1] for row in rows] == ["2", "6", "67", "1"]
    assert " ".join(rows[0].split()).endswith("success 11")
    assert "unfinished" in rows[1]
    assert re.search(r"2023-11-14 \d\d:13:23 \S+", rows[0])  # local time with its zone
    assert total == "4 runs"


def test_ls_opens_no_run(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a run was opened")

    monkeypatch.setattr("intake_bluesky.catalogs.run_catalog.BlueskyRun", refuse)
    assert printed(capsys, "ls", "catalog.yml").endswith("4 runs\n")


def test_ls_limit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "ls", "catalog.yml", "-n", "2").splitlines()
    assert [line.split()[1] for line in lines[1:3]] == ["2", "6"]
    assert lines[3] == "2 runs, of 4 (--limit 0 shows all)"
    assert len(printed(capsys, "ls", "catalog.yml", "--limit", "0").splitlines()) == 6


def test_ls_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    observed = json.loads(printed(capsys, "ls", "catalog.yml", "--json", "-n", "2"))
    assert (observed["catalog"], observed["total"]) == ("catalog.yml", 4)
    first, second = observed["runs"]
    assert first | {"uid": ""} == {
        "uid": "",
        "scan_id": 2,
        "time": 1.7e9 + 3,
        "plan_name": "scan",
        "exit_status": "success",
        "num_events": {"baseline": 2, "ring_current_monitor": 3, "primary": 11},
    }
    assert (second["exit_status"], second["num_events"]) == (None, None)


def test_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, "show", "catalog.yml", "2")
    assert out.startswith("run ")
    for line in (
        "scan_id 2  scan  success",
        "baseline  2 events",
        "primary  11 events",
        "theta  float64 (time: 11)  deg",
        "counts  int64 (time: 11)",
        "det  exposure_time=0.1, model='Sim'",
    ):
        assert line in out


def test_show_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "files" / "npy_1.npy").unlink()
    out = printed(capsys, "show", "catalog.yml", "67")
    assert "image  uint16 (time: 3, dim_0: 4, dim_1: 6)" in out
    assert "files (3)" in out
    assert "npy_1.npy  missing" in out
    assert re.search(r"npy_0\.npy  \d+ bytes", out)


def test_show_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    observed = json.loads(printed(capsys, "show", "catalog.yml", "2", "--json"))
    primary = observed["streams"]["primary"]
    theta = {"dtype": "float64", "dims": ["time"], "shape": [11], "units": "deg", "object": "theta"}
    assert primary["events"] == 11
    assert primary["variables"]["theta"] == theta
    assert primary["configuration"]["det"] == {"exposure_time": 0.1, "model": "Sim"}
    assert observed["start"]["sample"] == {"name": "Ni foil", "temperature": 295.5}
    assert observed["stop"]["exit_status"] == "success"
    assert observed["files"] == []


def test_json_has_no_word_for_what_is_not_finite(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "runs", EXAMPLES["not_finite"](folder))
    observed = json.loads(printed(capsys, "show", "catalog.yml", "39", "--json"), parse_constant=pytest.fail)
    assert (observed["start"]["bias"], observed["start"]["bounds"]) == (None, [None, None])


def test_every_example_is_listed_shown_and_validated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    runs = tmp_path / "runs"
    write(runs, *(make(tmp_path / "files") for make in EXAMPLES.values()))
    listed = json.loads(printed(capsys, "ls", str(runs), "--json", "-n", "0"))["runs"]
    assert len(listed) == len(EXAMPLES)
    for run in listed:
        observed = json.loads(printed(capsys, "show", str(runs), run["uid"], "--json"))
        assert observed["uid"] == run["uid"]
        assert run["uid"] in printed(capsys, "show", str(runs), run["uid"])
    lines = printed(capsys, "validate", str(runs), code=1).splitlines()
    assert re.fullmatch(rf"{len(EXAMPLES)} runs, \d+ errors?, \d+ warnings", lines[-1])
    assert any("file-missing" in line and "gone.h5 is not there" in line for line in lines)


def test_validate_finds_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "validate", "catalog.yml", "2") == "1 run, 0 errors, 0 warnings\n"


def test_validate_finds_what_is_wrong_and_where(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "files" / "npy_1.npy").unlink()
    (folder / "runs" / "notes.jsonl").write_text("remember the milk\n")
    out = printed(capsys, "validate", "catalog.yml", code=1)
    assert out.endswith("4 runs, 2 errors, 1 warning\n")
    found = {(line.split()[0], line.split()[1]) for line in out.splitlines()[:-1]}
    assert found == {("warning", "no-stop"), ("error", "file-missing"), ("error", "unreadable")}
    assert str(folder / "files" / "npy_1.npy") in out
    assert "notes.jsonl" in out


def test_validate_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    observed = json.loads(printed(capsys, "validate", "catalog.yml", "--json", code=1))
    assert (observed["runs"], len(observed["findings"])) == (4, 1)
    assert set(observed["findings"][0]) == {"where", "level", "code", "message"}
    assert observed["findings"][0]["code"] == "no-stop"


def test_validate_without_schemas(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "odd", EXAMPLES["slashes"](folder))
    assert "schema" in printed(capsys, "validate", "odd", code=1)
    assert printed(capsys, "validate", "odd", "--no-schema") == "1 run, 0 errors, 0 warnings\n"


@pytest.mark.parametrize("catalog", ["catalog.yml", "catalog.yml:runs", "runs", "runs/*.jsonl", "./runs/"])
def test_ways_to_say_a_catalog(folder: Path, catalog: str) -> None:
    assert len(find_catalog(catalog)) == 4


def test_driver_by_suffix(folder: Path) -> None:
    write(folder / "packed", EXAMPLES["count"](folder), driver=MSGPACK)
    (file,) = (folder / "packed").iterdir()
    for catalog in ("packed", str(file), "packed/*"):
        assert len(find_catalog(catalog)) == 1
    one = next((folder / "runs").iterdir())
    assert len(find_catalog(str(one))) == 1
    (folder / "packed" / one.name).write_bytes(one.read_bytes())
    with pytest.raises(StoreUnavailable, match="several kinds"):
        find_catalog("packed")


def test_entries_of_a_yaml_file(folder: Path) -> None:
    (folder / "outer.yml").write_text(YAML + SECOND)
    (folder / "inner.yml").write_text(YAML)
    assert len(find_catalog("outer.yml:runs")) == 4
    assert len(find_catalog("outer.yml:nested.runs")) == 4
    for catalog, words in {
        "outer.yml": "has 3 entries: choose one, outer.yml:{runs,nested,notes}",
        "outer.yml:gone": "has no entry 'gone'; it has 'runs', 'nested', 'notes'",
        "outer.yml:nested.gone": "has no entry 'nested.gone'",
        "outer.yml:notes": "not a catalog of Bluesky runs",
    }.items():
        with pytest.raises(StoreUnavailable, match=re.escape(words)):
            find_catalog(catalog)


@pytest.mark.parametrize(("run", "scan_id"), [("-1", 2), ("-4", 1), ("67", 67)])
def test_a_run_by_place_and_scan_id(folder: Path, run: str, scan_id: int) -> None:
    assert find_run(find_catalog("runs"), run).scan_id == scan_id


@pytest.mark.parametrize("letters", [2, 8, 12])
def test_a_run_by_uid(folder: Path, letters: int) -> None:
    (_, start), *_ = EXAMPLES["empty"](folder)
    write(folder / "own", [("start", {**start, "uid": "98765432-abc"})])
    assert find_run(find_catalog("own"), "98765432-abc"[:letters]).uid == "98765432-abc"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["ls", "nowhere.yml"], "there is no file nowhere.yml"),
        (["ls", "nowhere"], "nowhere is no catalog"),
        (["ls", "files"], "files is no catalog: it has no files of *.json or *.jsonl or *.msgpack or *.ndjson"),
        (["ls", "https://host/runs"], "end the URL of files with *.json or *.jsonl or *.msgpack or *.ndjson"),
        (["ls", "https://host/runs"], "; databases begin with mongodb://"),
        (["ls", "https://host/runs"], ", buckets with s3://"),
        (["show", "runs", "zzz"], "no run has a uid that begins with 'zzz'"),
        (["show", "runs", "99"], "no run has scan_id 99"),
        (["show", "runs", "-5"], "there are 4 runs"),
        (["validate", "runs", "zzz"], "no run has a uid that begins with 'zzz'"),
        (["ls", "broken.yml"], "broken.yml is no catalog that Intake opens"),
    ],
)
def test_what_cannot_be_opened(folder: Path, capsys: pytest.CaptureFixture[str], argv: list[str], words: str) -> None:
    (folder / "broken.yml").write_text("sources: [")
    assert words in complaint(capsys, *argv)


@pytest.mark.parametrize(
    "argv", [[], ["fly"], ["ls"], ["show", "runs"], ["ls", "runs", "-n", "few"], ["ls", "runs", "-n", "-1"]]
)
def test_bad_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith("usage: intake-bluesky")


def test_traceback_on_request(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", "nowhere", "--debug"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("intake-bluesky: nowhere is no catalog")


def test_missing_rich_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert 'pip install "rich>=13.7"' in complaint(capsys, "ls", "runs")
    assert json.loads(printed(capsys, "ls", "runs", "--json"))["total"] == 4


def test_missing_bluesky_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("intake_bluesky.apps.demo")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "bluesky", None)
    observed = complaint(capsys, "demo", str(tmp_path))
    assert observed == (
        'intake-bluesky: bluesky is needed for the demonstration and is not installed: pip install "bluesky>=1.14"\n'
    )


def process(*argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "intake_bluesky.apps.cli", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


@pytest.mark.slow
def test_as_a_process(folder: Path) -> None:
    done = process("show", "runs", "-1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["start"]["scan_id"] == 2
    done = process("validate", "runs")
    assert (done.returncode, done.stderr) == (1, "")
    done = process("ls", "nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("intake-bluesky: ")


def test_a_reader_that_has_seen_enough(folder: Path) -> None:
    command = [sys.executable, "-m", "intake_bluesky.apps.cli", "show", "runs", "-1"]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_progress_goes_to_a_terminal_on_standard_error_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    class Terminal:
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            shown.append(text)
            return len(text)

        def flush(self) -> None:
            pass

    monkeypatch.setattr("intake_bluesky.runtime.progress.SOON", 0.0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main(["validate", "runs"]) == 1
    assert "validating" in "".join(shown)


def test_the_script_is_installed() -> None:
    (script,) = entry_points(group="console_scripts", name="intake-bluesky")
    assert script.load() is main


def test_catalogs_are_bluesky_catalogs(folder: Path) -> None:
    assert isinstance(find_catalog("catalog.yml"), BlueskyCatalog)


def search(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    return printed(capsys, "search", *argv).splitlines()


SCANS = '{"plan_name": {"$in": ["scan", "count"]}}'


def test_search(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *rows, total = search(capsys, "catalog.yml", "--mongo", '{"plan_name": "scan"}')
    assert header.split() == ["uid", "scan_id", "plan", "sample", "started", "took", "status", "events"]
    assert rows
    assert all(" scan " in row for row in rows)
    assert total == f"{len(rows)} run" + ("s" if len(rows) > 1 else "")


def test_search_by_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    *rows, total = search(capsys, "runs", "foil NI", "--words")
    assert rows[1].split()[1] == "2"
    assert total == "1 run"


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("plan_name == 'scan' and scan_id < 5", ["2"]),
        ("not stop.exit_status exists", ["6"]),
        ("scan_id in [1, 67] or sample.name == 'Ni foil'", ["2", "67", "1"]),
    ],
)
def test_search_by_conditions(folder: Path, capsys: pytest.CaptureFixture[str], query: str, numbers: list[str]) -> None:
    _, *rows, _ = search(capsys, "catalog.yml", query)
    assert [row.split()[1] for row in rows] == numbers


def test_search_shows_where_a_query_is_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "runs", "plan_name == 'scan' and scan_id = 2"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    first, query, place = err.splitlines()
    assert first.startswith("intake-bluesky: line 1, column 33: ")
    assert query.strip() == "plan_name == 'scan' and scan_id = 2"
    assert query[place.index("^")] == "="


def test_search_columns_sort_and_limit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = "scan_id,start.time,sample.name,stop.num_events.primary"
    header, *rows, total = search(
        capsys, "runs", SCANS, "--mongo", "--columns", columns, "--sort=-scan_id", "--limit", "3"
    )
    assert header.split() == ["uid", *columns.split(",")]
    numbers = [int(row.split()[1]) for row in rows]
    assert numbers == sorted(numbers, reverse=True)
    assert re.search(
        r" 2  +2023-11-14 \d\d:13:23 \S+  Ni foil +11 *$", next(row for row in rows if row.split()[1] == "2")
    )
    assert total.startswith(f"{len(rows)} runs")


def test_search_says_how_many_there_are(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(capsys, "runs", "{}", "--mongo", "-n", "3")[-1] == "3 runs, of 4 (--limit 0 shows all)"
    assert search(capsys, "runs", "{}", "--mongo", "-n", "4")[-1] == "4 runs"
    assert search(capsys, "runs", '{"scan_id": -1}', "--mongo", "-n", "0")[-1] == "0 runs"


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("exit_status == 'success'", "stop.exit_status"),
        ("plan_nam == 'scan'", "plan_name"),
        ("status == 'success'", "stop.exit_status"),
        ("plan_name is scan", "plan_name =="),
    ],
)
def test_a_search_for_what_no_run_has_names_what_is_near(
    folder: Path, capsys: pytest.CaptureFixture[str], query: str, meant: str
) -> None:
    assert main(["search", "runs", query]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "0 runs"
    (line,) = err.splitlines()
    assert line.startswith("intake-bluesky: ")
    assert meant in line


def test_query_text_and_words_are_those_of_python(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cat = find_catalog("runs")
    for text in ("plan_name == 'scan'", "foil NI", "text: sample exists"):
        found = json.loads(printed(capsys, "search", "runs", text, "--json"))
        assert [run["uid"] for run in found["runs"]] == list(cat.search(text)) != []


@pytest.mark.parametrize("command", [["ls"], ["search", "scan_id > 1"], ["index"]])
def test_a_catalog_of_which_no_file_can_be_read(
    folder: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    for file in (folder / "runs").iterdir():
        file.write_text("no document\n")
    name, *query = command
    assert main([name, "runs", *query]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.match(r"intake-bluesky: no run can be read: .*\.jsonl: .*\(4 problems in all: see validate\)", err)
    assert len(err.splitlines()) == 1


def test_some_files_that_cannot_be_read_are_no_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "runs" / "bad.jsonl").write_text("no document\n")
    assert main(["search", "runs", "scan_id == -1"]) == 0


def test_ls_of_a_folder_names_those_below_that_have_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "more" / "2026" / "jan", EXAMPLES["scan"](folder))
    (folder / "more" / "empty").mkdir()
    assert main(["ls", "more"]) == 2
    assert "more/2026/jan: give one of these folders" in capsys.readouterr().err
    (folder / "other" / "empty").mkdir(parents=True)
    assert main(["ls", "other"]) == 2
    assert "below" not in capsys.readouterr().err


def test_search_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["search", "runs", '{"scan_id": 2}', "--mongo", "--json"]
    observed = json.loads(printed(capsys, *argv))
    assert (observed["catalog"], observed["total"]) == ("runs", 1)
    assert from_json(json.dumps(observed["query"])) == from_mongo({"scan_id": 2})
    assert observed["runs"][0]["num_events"]["primary"] == 11
    assert main([*argv, "--columns", "sample.name,stop.reason,nowhere", "--sort", "scan"]) == 0
    out, err = capsys.readouterr()
    [own] = json.loads(out)["runs"]
    assert own.pop("uid")
    assert own == {"sample.name": "Ni foil", "stop.reason": "", "nowhere": None}
    assert [re.findall("'(.*?)'|did you mean (.*)\\?", line) for line in err.splitlines()] == [
        [("scan", ""), ("", "scan_id")], [("nowhere", "")],
    ]  # fmt: skip


@pytest.mark.parametrize("catalog", ["catalog.yml", "catalog.yml:runs", "runs", "runs/*.jsonl", "./runs/"])
def test_search_saved_opens_anywhere(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, catalog: str
) -> None:
    (folder / "elsewhere").mkdir()
    lines = search(capsys, catalog, SCANS, "--mongo", "--sort", "scan_id", "--save", "elsewhere/scans.yml")
    assert lines[-1].endswith("saved as elsewhere/scans.yml")
    monkeypatch.chdir(folder / "elsewhere")
    observed = open_catalog("scans.yml").scans
    assert [run.scan_id for run in observed.values()] == sorted(run.scan_id for run in observed.values())
    assert len(observed) == len(lines) - 2
    again = printed(capsys, "ls", "scans.yml").splitlines()
    assert [line.split()[0] for line in again[:-1]] == [line.split()[0] for line in lines[:-1]]
    shutil.move(str(folder / "elsewhere"), str(folder / "moved"))
    assert len(open_catalog(str(folder / "moved" / "scans.yml")).scans) == len(observed)


def test_search_saves_over_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["search", "runs", "{}", "--mongo", "--save"]
    assert "catalog.yml is there already" in complaint(capsys, *argv, "catalog.yml")
    assert (folder / "catalog.yml").read_text() == YAML
    assert "give a name like scans.yml" in complaint(capsys, *argv, "scans")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["{", "--mongo"], "--mongo takes JSON"),
        (["[]", "--mongo"], "--mongo takes a JSON object"),
        (['{"$where": "1"}', "--mongo"], "$where"),
        (["{}", "--mongo", "--columns", "a..b"], "'a..b' has an empty part"),
        (["{}", "--mongo", "--sort", "a,"], "has an empty part"),
    ],
)
def test_search_that_has_no_meaning(
    folder: Path, capsys: pytest.CaptureFixture[str], argv: list[str], words: str
) -> None:
    assert words in complaint(capsys, "search", "runs", *argv)


def test_search_shows_what_documents_say_and_obeys_none_of_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (_, start), *rest = EXAMPLES["count"](folder)
    odd = "[red]\x1b]0;title\x07[/red]\nsecond"
    write(folder / "odd", [("start", {**start, "note": odd}), *rest])
    out = printed(capsys, "search", "odd", "{}", "--mongo", "--columns", "note")
    assert r"[red]\x1b]0;title\x07[/red]\nsecond" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("argv", [["search", "runs"], ["search", "runs", "{}", "--mongo", "--words"]])
def test_search_wants_one_query(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith("usage: intake-bluesky search")


def test_a_database_by_its_uri(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from intake_bluesky_sql import BlueskySQLCatalog

    uri = f"sqlite:///{tmp_path}/runs.db"
    cat = BlueskySQLCatalog(uri)
    with cat.writer() as write:
        for name, doc in EXAMPLES["scan"](tmp_path):
            write(name, doc)
    cat.store.close()
    assert cat[-1].start["uid"][:6] in printed(capsys, "ls", uri)
    assert json.loads(printed(capsys, "search", uri, "data('theta').max() > 1", "--json"))["total"] == 1
    assert json.loads(printed(capsys, "ls", f"{tmp_path}/runs.db", "--json"))["total"] == 1
    assert printed(capsys, "index", uri) == f"{uri}: no index is missing\n"
    cat.store.close()


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://me:hush@127.0.0.1:9/runs",
        "mongodb://me:hush@127.0.0.1:9/runs",
        "postgres://me:hush@127.0.0.1:9/runs",
        "mysql://127.0.0.1:9/runs?password=hush",
    ],
)
def test_no_complaint_tells_a_password(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    more = "?serverSelectionTimeoutMS=100" if uri.startswith("mongodb") else ""
    told = complaint(capsys, "ls", uri + more)
    assert "127.0.0.1" in told
    assert "hush" not in told


CONTROLS = "\x1b]0;PWNED\x07\x1b[2J\x9b31m\x7f\u202eend"
"""An escape sequence, BEL, a C1 code, DEL, and writing from right to left."""


@pytest.mark.parametrize(
    "argv",
    [
        ["ls", "odd"], ["ls", "odd", "--json"], ["search", "odd", "everything()"],
        ["search", "odd", "everything()", "--columns", "plan_name,sample,uid"],
        ["search", "odd", "everything()", "--columns", "sample", "--json"], ["show", "odd", "1"],
        ["show", "odd", "1", "--json"], ["validate", "odd"], ["validate", "odd", "--json"], ["show", "odd", CONTROLS],
    ],
    ids=lambda argv: " ".join(argv[:1] + argv[2:]).replace(CONTROLS, "CONTROLS"),
)  # fmt: skip
def test_no_control_character_of_documents_reaches_a_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    run = RunComposer("odd", scan_id=1, plan_name=CONTROLS, sample={CONTROLS: CONTROLS})
    stream = "s" + CONTROLS
    keys = {CONTROLS: data_key("number", units=CONTROLS), "x": data_key("integer")}
    settings = {"data": {CONTROLS: CONTROLS}, "timestamps": {}, "data_keys": {}}
    devices = {"configuration": {CONTROLS: settings}, "object_keys": {CONTROLS: [CONTROLS]}}
    descriptor = run.descriptor(keys, stream=stream, **devices)
    run.event(descriptor, {CONTROLS: 1.0, "x": CONTROLS})
    run.resource("AD_HDF5" + CONTROLS, root="/nowhere", path=CONTROLS)
    run.stop("fail", CONTROLS)
    (folder / "odd").mkdir()
    (folder / "odd" / "run.jsonl").write_text("".join(json.dumps(list(pair)) + "\n" for pair in run.documents))
    code = main(argv)
    shown = capsys.readouterr()
    assert code in (0, 1, 2)
    for character in "\x1b\x07\x9b\x7f\u202e":
        assert character not in shown.out + shown.err, repr(character)
    opened = open_catalog(str(folder / "odd"), driver=JSONL)
    found = opened[-1]
    with pytest.raises(StreamNotFound) as caught:
        found[CONTROLS]
    printed_forms = [repr(found), repr(found[stream]), repr(opened), str(caught.value), repr(found[stream].config)]
    printed_forms += [str(one) for one in validate(found)]
    assert not [text for text in printed_forms if any(c in text for c in "\x1b\x07\x9b\x7f\u202e")]


def test_a_packed_folder_names_its_catalog(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "catalog.yml").write_text("sources: {}")
    assert str(tmp_path / "catalog.yml") in complaint(capsys, "ls", str(tmp_path))
