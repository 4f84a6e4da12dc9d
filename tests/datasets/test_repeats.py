"""Seq_nums that come again: events taken again, and descriptors that count by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import xarray as xr

from intake_bluesky import BlueskyCatalog
from intake_bluesky.apps.validate import validate
from intake_bluesky.query import Data
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.memory import MemoryStore

X = data_key("number")


def counted(keys: dict[str, Sequence[str]], events: str, **declared: Any) -> BlueskyCatalog:
    """One run: the keys of each descriptor, and its events as ``A1 B1``; each value is the place of its event."""
    run = RunComposer("counted")
    uids = {name: run.descriptor({key: declared.get(key, X) for key in own}) for name, own in keys.items()}
    for place, event in enumerate(events.split()):
        run.event(uids[event[0]], {key: float(place) for key in keys[event[0]]}, seq_num=int(event[1:]))
    run.stop()
    return BlueskyCatalog(MemoryStore([run.documents], page_size=2))


def both(cat: BlueskyCatalog) -> xr.Dataset:
    read: xr.Dataset = cat[-1].primary.read()
    computed = cat[-1].primary.to_dask().compute()
    xr.testing.assert_identical(read, computed)
    return read


NAN = np.nan
DISJOINT = {"A": ["motor", "det"], "B": ["temp"]}
SHARED = {"A": ["motor", "det"], "B": ["motor", "temp"]}
CASES: list[tuple[dict[str, Any], str, dict[str, list[float]], int]] = [
    (DISJOINT, "A1 B1 A2 B2 A3 B3", {"motor": [0, 2, 4], "temp": [1, 3, 5]}, 0),
    (DISJOINT, "A1 A2 A3 B1 B2", {"motor": [0, 1, 2], "temp": [3, 4, NAN]}, 0),
    (DISJOINT, "A1 B1 A2 B2 A2 A3", {"motor": [0, 4, 5], "temp": [1, 3, NAN]}, 0),  # and a rewind of one of them
    (DISJOINT, "A1 B2 A3 B4", {"motor": [0, NAN, 2, NAN], "temp": [NAN, 1, NAN, 3]}, 0),  # counted together
    (DISJOINT, "A1 A2 A3 B2 B3", {"motor": [0, 1, 2], "temp": [NAN, 3, 4]}, 2),
    ({"A": ["x"], "B": ["y"], "C": ["z"]}, "A1 B1 C1 A2", {"x": [0, 3], "y": [1, NAN], "z": [2, NAN]}, 0),
    ({"A": ["x"], "B": ["x"]}, "A1 A2 A3 B2 B3", {"x": [0, 3, 4]}, 0),  # a rewind, after which the set-up is another
    ({"A": ["x"], "B": ["x"]}, "A1 A2 A3 B1 B2 B3", {"x": [3, 4, 5]}, 3),
    ({"A": ["x", "y"], "B": ["x"]}, "A1 A2 A3 B2 B3", {"x": [0, 3, 4], "y": [0, NAN, NAN]}, 2),
    (SHARED, "A1 B1 A2 B2", {"motor": [1, 3], "det": [NAN, NAN], "temp": [1, 3]}, 2),
    (SHARED | {"C": ["p"]}, "A1 C1 A2 C2", {"motor": [0, 2], "p": [1, 3]}, 0),
]


@pytest.mark.parametrize(("keys", "events", "expected", "unclear"), CASES)
def test_events_of_one_seq_num(
    keys: dict[str, Any], events: str, expected: dict[str, list[float]], unclear: int
) -> None:
    cat = counted(keys, events)
    dataset = both(cat)
    for key, values in expected.items():
        np.testing.assert_array_equal(dataset[key].values, values)
    findings = [found for found in validate(cat, schema=False) if found.code == "seq-num-repeated"]
    assert [f"{unclear} of" in found.message for found in findings] == [True] * bool(unclear)
    assert (f"events: {unclear} of" in dataset.attrs.get("incomplete", "")) == bool(unclear)
    for key, values in expected.items():  # a search looks at the same values
        assert len(cat.search(Data(key).count() == len(values))) == 1
        assert len(cat.search(Data(key).nan_count() == np.isnan(values).sum())) == 1
        assert len(cat.search(Data(key).last() == next((v for v in values[::-1] if not np.isnan(v)), -1))) == (
            not np.isnan(values).all()
        )


def test_integers_and_texts_of_descriptors_that_count_by_themselves_are_whole() -> None:
    run = RunComposer("integers")
    numbers, texts = run.descriptor({"n": data_key("integer")}), run.descriptor({"s": data_key("string")})
    for row in range(3):
        run.event(numbers, {"n": row}, seq_num=row + 1)
        run.event(texts, {"s": "abc"[row], "extra": row}, seq_num=row + 1)
    dataset = both(BlueskyCatalog(MemoryStore([run.documents])))
    assert (dataset.n.values.tolist(), dataset.s.values.tolist()) == ([0, 1, 2], ["a", "b", "c"])
    assert dataset.extra.values.tolist() == [0, 1, 2], "a key that no descriptor declares is where its events are"
    stamps = BlueskyCatalog(MemoryStore([run.documents]))[-1].primary.timestamps.read()
    assert not np.isnan(stamps.n.values).any()
    assert not np.isnan(stamps.s.values).any()


def test_units_that_change_are_no_unit_and_a_finding() -> None:
    run = RunComposer("units")
    for units, choices in (("mm", ["in", "out"]), ("um", ["out", "in"])):
        spec = data_key("number", units=units)
        block = {"data": {"exposure": 1.0}, "timestamps": {"exposure": 1.0}, "data_keys": {"exposure": spec}}
        keys = {"x": spec, "y": data_key("number", units="mm"), "valve": data_key("integer", choices=choices)}
        uid = run.descriptor(keys, configuration={"det": block}, object_keys={"det": list(keys)})
        run.event(uid, {"x": 1.0, "y": 1.0, "valve": 1})
    run.descriptor({"x": data_key("number", units="m")})  # which has no events: it says nothing of them
    run.stop()
    cat = BlueskyCatalog(MemoryStore([run.documents]))
    dataset = both(cat)
    assert dataset.x.attrs["units"].startswith("mm, then um")
    assert dataset.y.attrs["units"] == "mm"
    assert dataset.valve.attrs["choices"] == "in, out, then out, in"
    assert cat[-1].primary.config["det"].read().exposure.attrs["units"] == "mm, then um"
    findings = {found.where.partition("/")[2] for found in validate(cat) if found.code == "changed-key"}
    assert findings == {"primary/x", "primary/valve", "primary/det/exposure"}
