"""Datasets as documents, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import event_model
import numpy as np
import xarray as xr
from hypothesis import given

from intake_bluesky import BlueskyCatalog
from intake_bluesky.catalogs.stream import BlueskyStream
from intake_bluesky.datasets.stored_datasets.describe import describe
from intake_bluesky.datasets.stored_datasets.documents import descriptors, event_pages
from intake_bluesky.documents.model import Document
from intake_bluesky.testing import MemoryStore
from tests.datasets.stored_datasets.drawn_datasets import assert_same, datasets


def documents(dataset: xr.Dataset, **options: Any) -> Iterator[tuple[str, Document]]:
    """The run of one Dataset."""
    stored = describe(dataset, **options)
    yield "start", {"uid": "run", "time": 1.0}
    own = descriptors(stored, "primary", run_start="run", uid="d", time=1.0)
    for doc in own:
        yield "descriptor", doc
    if stored.shared_keys:
        for page in event_pages(stored.shared_columns, np.ones(1), own[0]["uid"]):
            yield "event_page", page
    for page in event_pages(stored.columns, stored.times, "d"):
        yield "event_page", page
    yield "stop", {"uid": "stop", "run_start": "run", "time": 2.0, "exit_status": "success", "num_events": {}}


def stream_of(run: list[tuple[str, Document]]) -> BlueskyStream:
    return BlueskyCatalog(MemoryStore([run]))["run"].primary


@given(datasets())
def test_any_dataset_is_read_back_as_it_was(dataset: xr.Dataset) -> None:
    run = list(documents(dataset))
    for name, doc in run:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
    stream = stream_of(run)
    assert_same(stream.read(), dataset)
    assert_same(stream.to_dask().compute(), dataset)
    if dataset.sizes:
        parts = [part.sizes for part in stream.read_chunked()]
        assert len(parts) == stream.npartitions
