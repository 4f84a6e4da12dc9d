"""Example runs with values and documents that are rare, old or wrong, and exist all the same."""

from __future__ import annotations

import enum
import math
from typing import Any

import numpy as np

from intake_bluesky.testing.compose import EPOCH, RunComposer, data_key
from intake_bluesky.testing.examples import example

X = data_key("number")
N = data_key("integer")


@example(scan_id=30)
def missing_keys(run: RunComposer) -> None:
    """Keys that only some events have, within a page's worth of single events and across pages."""
    keys = {"x": X, "n": N, "label": data_key("string"), "spectrum": data_key("array", [2])}
    primary = run.descriptor(keys)
    run.event(primary, {"x": 1.0, "n": 1, "label": "a", "spectrum": [1.0, 2.0]})
    run.event(primary, {"x": 2.0})
    run.event(primary, {"n": 3, "label": "c"})
    run.page(primary, {"x": [4.0, 5.0]})
    run.page(primary, {"x": [6.0], "n": [6], "label": ["f"], "spectrum": [[6.0, 7.0]]})


@example(scan_id=31)
def nulls(run: RunComposer) -> None:
    """Nulls among numbers, texts and arrays."""
    keys = {"x": X, "n": N, "label": data_key("string"), "spectrum": data_key("array", [2])}
    primary = run.descriptor(keys)
    run.page(
        primary,
        {
            "x": [1.5, None, 2.5],
            "n": [1, None, 3],
            "label": [None, "b", ""],
            "spectrum": [[1.0, 2.0], None, [None, 4.0]],
        },
    )
    run.event(primary, {"x": None, "n": None, "label": None, "spectrum": None})


@example(portable=False, scan_id=32)
def boolean_gaps(run: RunComposer) -> None:
    """Booleans with a null: only the dtype object distinguishes false from missing."""
    primary = run.descriptor({"open": data_key("boolean")})
    run.page(primary, {"open": [True, None, False]})


@example(scan_id=33)
def all_null(run: RunComposer) -> None:
    """A key that is null in every event."""
    primary = run.descriptor({"x": X, "dead": X})
    run.page(primary, {"x": [1.0, 2.0], "dead": [None, None]})


@example(scan_id=34)
def gaps(run: RunComposer) -> None:
    """Seq_nums that skip."""
    primary = run.descriptor({"x": X})
    for seq_num in (1, 2, 5, 6, 9):
        run.event(primary, {"x": float(seq_num)}, seq_num=seq_num)


@example(scan_id=35)
def nameless(run: RunComposer) -> None:
    """A descriptor without a name means ``primary``."""
    primary = run.descriptor({"x": X}, stream=None)
    run.event(primary, {"x": 1.0})


@example(scan_id=36)
def bulk_events(run: RunComposer) -> None:
    """Legacy ``bulk_events``: a list of events a stream, two descriptors taking turns in one."""
    first = run.descriptor({"x": X})
    second = run.descriptor({"x": X, "n": N})
    other = run.descriptor({"y": X}, stream="other")
    turns: list[tuple[str, dict[str, Any]]] = [
        (first, {"x": 1.0}),
        (second, {"x": 2.0, "n": 2}),
        (first, {"x": 3.0}),
    ]
    bulk = {
        "primary": [run.make_event(descriptor, data) for descriptor, data in turns],
        "other": [run.make_event(other, {"y": float(point)}) for point in range(4)],
    }
    run.add("bulk_events", bulk)


@example(scan_id=37, frames=2**53 + 1)
def wide_integers(run: RunComposer) -> None:
    """Integers past 2**53, which floats do not hold, up to what 64 bits hold."""
    primary = run.descriptor({"ns": N, "mask": N})
    run.page(primary, {"ns": [2**53 + 1, 2**62 + 1], "mask": [2**64 - 1, 2**63]})
    run.event(primary, {"ns": -(2**63), "mask": 0})


@example(portable=False, scan_id=38, serial=2**70 + 1)
def big_integers(run: RunComposer) -> None:
    """Integers past 64 bits, and wide ones beside a null and beside a float."""
    primary = run.descriptor({"huge": N, "gap": N, "mix": X})
    run.page(primary, {"huge": [1, 2**70], "gap": [2**53 + 1, None], "mix": [2**53 + 1, 0.5]})


@example(scan_id=39, bias=math.nan, bounds=[-math.inf, math.inf])
def not_finite(run: RunComposer) -> None:
    """NaN and the infinities, in data, arrays and metadata."""
    primary = run.descriptor({"x": X, "spectrum": data_key("array", [2])})
    run.page(primary, {"x": [1.0, math.nan, math.inf], "spectrum": [[math.nan, 1.0], [-math.inf, 2.0], [3.0, 4.0]]})
    run.event(primary, {"x": math.nan, "spectrum": [math.nan, math.nan]})


@example(scan_id=40)
def integer_then_float(run: RunComposer) -> None:
    """A number that was whole at first: integers on one page, floats on the next."""
    primary = run.descriptor({"x": X})
    run.page(primary, {"x": [1, 2]})
    run.page(primary, {"x": [2.5, 3]})


@example(portable=False, scan_id=41)
def mixed_kinds(run: RunComposer) -> None:
    """One key with numbers, texts and booleans; one with scalars and arrays."""
    primary = run.descriptor({"state": data_key("string"), "reading": X})
    run.page(primary, {"state": ["idle", 1, True], "reading": [1.0, [2.0, 3.0], 4.0]})
    run.page(primary, {"state": [0.5, 2], "reading": [[5.0], [6.0]]})


@example(portable=False, scan_id=42)
def objects(run: RunComposer) -> None:
    """Dicts, and lists that are uneven within one event."""
    primary = run.descriptor({"info": data_key("array"), "uneven": data_key("array", [None, None])})
    run.page(primary, {"info": [{"a": 1}, {"b": [1, 2]}], "uneven": [[[1], [2, 3]], [[4]]]})


@example(scan_id=43)
def empty_arrays(run: RunComposer) -> None:
    """Arrays without elements: always, on one page, beside text."""
    primary = run.descriptor({key: data_key("array", [None]) for key in ("always", "first", "names")})
    run.page(primary, {"always": [[], []], "first": [[], []], "names": [[], []]})
    run.page(primary, {"always": [[]], "first": [[1, 2]], "names": [["a"]]})


@example(scan_id=44)
def empty_page(run: RunComposer) -> None:
    """An event page of no events between two that have some."""
    primary = run.descriptor({"x": X})
    run.page(primary, {"x": [1.0, 2.0]})
    run.page(primary, {"x": []})
    run.page(primary, {"x": [3.0]})


@example(scan_id=45)
def reserved_names(run: RunComposer) -> None:
    """Keys called as the coordinates of a Dataset are."""
    primary = run.descriptor({"time": X, "seq_num": N})
    run.page(primary, {"time": [0.25, 0.5], "seq_num": [70, 80]})


@example(valid=False, scan_id=46)
def slashes(run: RunComposer) -> None:
    """Names with a slash, and two that would be one if it were replaced."""
    primary = run.descriptor({"det/sum": X, "det_sum": X})
    run.page(primary, {"det/sum": [1.0, 2.0], "det_sum": [3.0, 4.0]})


@example(scan_id=47)
def configuration_arrays(run: RunComposer) -> None:
    """Two-dimensional, textual and null configuration; a device without any."""
    values = {"matrix": [[1.0, 2.0], [3.0, 4.0]], "names": ["a", "bc"], "nothing": None, "count": 5}
    keys = {
        "matrix": data_key("array", [2, 2], units="rad"),
        "names": data_key("array", [2]),
        "nothing": X,
        "count": N,
    }
    configuration = {
        "det": {"data": values, "timestamps": dict.fromkeys(values, EPOCH), "data_keys": keys},
        "motor": {"data": {}, "timestamps": {}, "data_keys": {}},
    }
    primary = run.descriptor({"det": X}, configuration=configuration)
    run.page(primary, {"det": [1.0, 2.0]})


@example(scan_id=48)
def keys_differ(run: RunComposer) -> None:
    """Event data with a key that the descriptor does not have, and without one that it has."""
    primary = run.descriptor({"x": X, "promised": X})
    run.page(primary, {"x": [1.0, 2.0], "surprise": [3.0, 4.0]})


@example(valid=False, scan_id="first")
def no_time(run: RunComposer) -> None:
    """A start document without a time and with a scan_id that is no number."""
    del run.documents[0][1]["time"]
    primary = run.descriptor({"x": X})
    run.event(primary, {"x": 1.0})


class _State(enum.StrEnum):
    IDLE = "idle"
    BUSY = "busy"


class _Gain(enum.IntEnum):
    LOW = 1
    HIGH = 10


@example(scan_id=49, motors=("x", "y"), gain=_Gain.HIGH, start=np.float64(1.5))
def run_engine_types(run: RunComposer) -> None:
    """Types that a RunEngine passes on unchanged: numpy scalars and arrays, tuples, enums."""
    keys = {
        "x": X,
        "n": N,
        "open": data_key("boolean"),
        "state": data_key("string"),
        "gain": N,
        "name": data_key("string"),
        "spectrum": data_key("array", (3,)),
        "pair": data_key("array", [2]),
    }
    primary = run.descriptor(keys, hints={"det": {"fields": ("x",)}})
    for point in range(3):
        data = {
            "x": np.float64(point / 2),
            "n": np.int64(point),
            "open": np.bool_(point % 2),
            "state": _State.BUSY if point else _State.IDLE,
            "gain": _Gain.LOW,
            "name": np.str_(f"sample {point}"),
            "spectrum": np.arange(3, dtype=np.float64) + point,
            "pair": (point, point + 1),
        }
        run.event(primary, data)
