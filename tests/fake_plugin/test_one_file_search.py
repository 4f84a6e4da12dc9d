"""What the driver of the tutorial leaves to the core is found all the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from one_file_plugin import store as one_file
from one_file_plugin.store import OneFileStore

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.query import Data, Start
from intake_bluesky.storage import DocumentWriter
from intake_bluesky.testing.plain_runs import count, rewound, scan


@pytest.mark.parametrize("many", [one_file.MANY, 1])
def test_searches_by_data_name_more_uids_than_a_statement_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(one_file, "MANY", many)
    store = OneFileStore(tmp_path / "all.runs")
    assert store.answers(Start("uid").is_in([f"{n}" for n in range(many)]))
    assert not store.answers(Start("uid").is_in([f"{n}" for n in range(many + 1)]))
    with DocumentWriter(store) as write:
        for run in (count(), scan(), rewound()):
            for name, doc in run:
                write(name, doc)
    cat = BlueskyCatalog(store)
    assert len(cat.search(Data("theta").max() > 0)) == 1
    assert len(cat.search(~(Data("theta").max() > 0))) == 2
    read = store.reads
    others = cat.search(~(Data("theta").max() > 1) & (Start("plan_name") == "scan"))
    assert [run.uid for run in others.values()] == [rewound()[0][1]["uid"]], "which has no theta"
    assert [run.start["plan_name"] for run in cat.search(Data("theta").max() > 2).values()] == ["scan"]
    assert store.reads == read
    cat.origin.store.close()
