"""What tab completion offers, asked of IPython's own completer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog, open_catalog
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.runs import EXAMPLES

LEFTOVERS = {
    "auth", "cat", "classname", "entry", "force_reload", "from_dict", "getenv", "getshell", "gui", "is_persisted",
    "has_been_persisted", "on_server", "pmode", "pop", "to_spark", "ttl", "version", "yaml", "configure_new",
}  # fmt: skip
"""Names that Intake's classes have, and nobody of our users calls."""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("completion")
    (folder / "lines.yml").write_text(
        "sources: {hard_xray: {driver: bluesky-jsonl-catalog, args: {paths: '/nowhere'}}}"
    )
    cat = BlueskyCatalog(MemoryStore([EXAMPLES[name](folder) for name in ("count", "scan")]), name="runs")
    kind: Any = InteractiveShell  # whose constructor has no types
    made = kind()
    made.user_ns.update(
        cat=cat,
        run=cat[-1],
        stream=cat[-1].primary,
        config=cat[-1].primary.config,
        file=open_catalog(folder / "lines.yml"),
    )
    yield made
    made.history_manager.end_session()


def offered(shell: Any, text: str, *, jedi: bool = True) -> set[str]:
    shell.Completer.use_jedi = jedi
    with provisionalcompleter():
        found = [one.text.removeprefix(".") for one in shell.Completer.completions(text, len(text))]
    return {name for name in found if not name.startswith("_")}


@pytest.mark.parametrize(
    "text",
    [
        "cat[-1].primary.", "cat[2].primary.", "cat['d12f'].primary.", "cat.search({})[-1].primary.",
            "cat.sort('time')[0].primary.",
        "cat[-1]['primary'].", "run.primary.", "run['baseline'].", "cat[-1].primary.timestamps.",
        "stream.config['det'].",
    ],
)  # fmt: skip
def test_jedi_knows_what_a_stream_is(shell: Any, text: str) -> None:
    names = offered(shell, text)
    assert {"read", "to_dask", "to_dataframe", "config"} <= names
    assert "documents" not in names  # of a run


@pytest.mark.parametrize("key", ["-1", "2", "'d12f'"])
def test_jedi_knows_what_a_run_is(shell: Any, key: str) -> None:
    names = offered(shell, f"cat[{key}].")
    assert {"documents", "table", "start"} <= names
    assert "distinct" not in names  # of a catalog


@pytest.mark.parametrize("key", ["-3:", ":2", "1:3"])
def test_jedi_knows_that_a_slice_is_a_catalog(shell: Any, key: str) -> None:
    names = offered(shell, f"cat[{key}].")
    assert {"search", "sort", "head", "distinct", "to_dataframe"} <= names
    assert "documents" not in names  # of a run


@pytest.mark.parametrize("key", ["'d12f', 'primary'", "['d12f', -1]"])
def test_jedi_says_nothing_where_only_the_value_tells(shell: Any, key: str) -> None:
    assert offered(shell, f"cat[{key}].") == set()


@pytest.mark.parametrize("text", ["cat[-1].", "cat[-3:].", "cat[-1].primary."])
def test_jedi_offers_no_constants(shell: Any, text: str) -> None:
    assert not any(map(str.isupper, offered(shell, text)))


@pytest.mark.parametrize("jedi", [True, False])
@pytest.mark.parametrize(
    ("text", "called"),
    [
        (
            "cat.",
            {"search", "sort", "head", "distinct", "to_dataframe", "explain", "writer", "remove", "items"},
        ),
        ("run.", {"primary", "baseline", "start", "stop", "documents", "files", "table", "to_datatree", "metadata"}),
        (
            "stream.",
            {"read", "to_dask", "to_dataframe", "to_grid", "config", "timestamps", "config_timestamps"},
        ),
        ("file.", {"hard_xray", "items", "metadata"}),
    ],
)
def test_what_users_call_is_offered(shell: Any, text: str, called: set[str], jedi: bool) -> None:
    names = offered(shell, text, jedi=jedi)
    assert called <= names
    assert not names & LEFTOVERS
    assert not any(map(str.isupper, names))


def test_what_is_not_offered_works(shell: Any) -> None:
    cat = shell.user_ns["cat"]
    assert {"read", "to_dask", "configure_new"}.isdisjoint(dir(cat[-1]))
    assert cat[-1].configure_new() is not None
    assert cat.ttl is not None
    assert cat.arrangement.selection.count() == 2


@pytest.mark.parametrize("jedi", [True, False])
def test_keys_in_brackets(shell: Any, jedi: bool) -> None:
    for text, keys in {
        "cat['": set(shell.user_ns["cat"]), "run['": {"primary", "baseline", "ring_current_monitor"},
        "config['": {"theta", "det"}, "file['": {"hard_xray"},
    }.items():  # fmt: skip
        assert offered(shell, text, jedi=jedi) == keys, text


def test_without_jedi_ipython_evaluates_what_it_is_told_to(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered(shell, "cat[-1].primary.", jedi=False) == set()  # IPython's guard calls nobody's __getitem__
    shell.Completer.evaluation = "unsafe"
    try:
        assert offered(shell, "cat[-1].primary.", jedi=False) == {
            name for name in dir(shell.user_ns["stream"]) if not name.startswith("_")
        }
    finally:
        shell.Completer.evaluation = "limited"


def test_plain_dir_reads_nothing_of_a_catalog(tmp_path: Path) -> None:
    class Untouchable(MemoryStore):
        def find(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("dir() lists no runs")

    assert "search" in dir(BlueskyCatalog(Untouchable()))
