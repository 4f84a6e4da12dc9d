"""Queries look into documents that are kept beside those of Bluesky, once their name is added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query import Key, Start, documents_needed, from_json, matches, to_json
from intake_bluesky.query.paths import RUN_DOCUMENTS, Path, add_run_document
from intake_bluesky.storage import TransformedStore, WrapperStore
from intake_bluesky.testing import MemoryStore
from intake_bluesky.testing.plain_runs import count, scan


@pytest.fixture
def notes() -> Iterator[None]:
    add_run_document("notes")
    yield
    RUN_DOCUMENTS.remove("notes")


class Annotated(WrapperStore):
    """Notes on some runs, by scan_id."""

    NOTES: Mapping[int, Mapping[str, Any]] = {1: {"quality": "good", "tags": ["Ni"]}}

    def document(self, uid: str, name: str) -> Mapping[str, Any] | None:
        assert name == "notes"
        return self.NOTES.get(self.inner.header(uid).start["scan_id"])


def test_a_name_that_was_not_added_is_a_key_of_the_start() -> None:
    assert Key("notes.quality").path == Path("start", ("notes", "quality"))
    with pytest.raises(UnsupportedQuery, match="a path starts in one of"):
        Path("notes", ("quality",))


@pytest.mark.usefixtures("notes")
def test_they_are_searched_and_combine_with_the_others() -> None:
    query = Key("notes.quality") == "good"
    assert documents_needed(query) == {"notes"}
    assert from_json(to_json(query)) == query
    store = TransformedStore(Annotated(MemoryStore([count(), scan()])), {"stop": dict})
    cat = BlueskyCatalog(store)
    assert [run.name for run in cat.search(query).values()] == [cat[1].uid]
    assert len(cat.search(query & (Start("plan_name") == "scan"))) == 0
    assert len(cat.search(~query)) == 1, "a run without notes has no such value"
    assert len(cat.search(Key("notes.tags").contains("Ni") | (Start("plan_name") == "scan"))) == 2


@pytest.mark.usefixtures("notes")
def test_where_they_are_not_at_hand_that_is_an_error() -> None:
    [run] = MemoryStore([count()]).find()
    with pytest.raises(UnsupportedQuery, match="about more than start and stop"):
        matches(Key("notes.quality") == "good", run)


@pytest.mark.parametrize("name", ["start", "item", "no identifier"])
def test_names_that_cannot_be_added(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        add_run_document(name)
