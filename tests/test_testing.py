"""The example runs: deterministic, and valid where they say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import event_model
import pytest

from intake_bluesky.documents import identical, to_plain
from intake_bluesky.testing.runs import EXAMPLES, INVALID, PORTABLE, VALID


def _faults(documents: list[tuple[str, dict[str, Any]]]) -> list[str]:
    faults = []
    for name, doc in documents:
        validator = event_model.schema_validators[event_model.DocumentNames[name]]
        faults += [f"{name}: {error.message}" for error in validator.iter_errors(to_plain(doc))]
    return faults


@pytest.mark.parametrize("name", sorted(VALID))
def test_example_is_valid(name: str, tmp_path: Path) -> None:
    assert _faults(EXAMPLES[name](tmp_path)) == []


@pytest.mark.parametrize("name", sorted(INVALID))
def test_example_is_invalid_on_purpose(name: str, tmp_path: Path) -> None:
    documents = EXAMPLES[name](tmp_path)
    raw = [event_model.schema_validators[event_model.DocumentNames[n]].is_valid(doc) for n, doc in documents]
    assert not all(raw)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_example_is_deterministic(name: str, tmp_path: Path) -> None:
    assert identical(EXAMPLES[name](tmp_path), EXAMPLES[name](tmp_path))


def test_uids_are_unique(tmp_path: Path) -> None:
    uids = [str(make(tmp_path)[0][1]["uid"]) for make in EXAMPLES.values()]
    assert len(set(uids)) == len(uids)


def test_registers_name_examples() -> None:
    assert set(EXAMPLES) > PORTABLE
    assert set(EXAMPLES) == VALID | INVALID
