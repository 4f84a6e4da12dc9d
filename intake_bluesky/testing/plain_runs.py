"""Example runs as experiments make them every day."""

from __future__ import annotations

from intake_bluesky.documents.model import Document
from intake_bluesky.testing.compose import EPOCH, RunComposer, data_key
from intake_bluesky.testing.examples import Run, example

__all__ = [
    "count",
    "empty",
    "empty_stream",
    "failed",
    "inline_images",
    "interleaved",
    "ragged",
    "ragged_images",
    "rewound",
    "rewound_and_aborted",
    "scan",
    "strings_and_booleans",
    "two_descriptors",
    "two_descriptors_at_once",
    "unfinished",
    "unicode",
]

X = data_key("number", units="mm", precision=3)
N = data_key("integer")


@example()
def count() -> Run:
    """Three single events of a float and an integer."""
    run = RunComposer("count", scan_id=1, plan_name="count", detectors=["det"], num_points=3)
    primary = run.descriptor({"det": X, "counts": N}, hints={"det": {"fields": ["det"]}})
    for point in range(3):
        run.event(primary, {"det": 0.5 + point, "counts": 10 * point})
    run.stop()
    return run.documents


def _configuration() -> Document:
    keys = {"exposure_time": data_key("number", units="s"), "model": data_key("string")}
    stamps = dict.fromkeys(keys, EPOCH)
    return {"det": {"data": {"exposure_time": 0.1, "model": "Sim"}, "timestamps": stamps, "data_keys": keys}}


@example()
def scan() -> Run:
    """Baseline, a monitor, and eleven events in pages of four."""
    run = RunComposer(
        "scan",
        time=EPOCH + 100,
        scan_id=2,
        plan_name="scan",
        motors=("theta",),
        sample={"name": "Ni foil", "temperature": 295.5},
        hints={"dimensions": [[["theta"], "primary"]]},
    )
    baseline = run.descriptor(
        {"pressure": data_key("number", units="mbar"), "mode": data_key("string")}, stream="baseline"
    )
    run.event(baseline, {"pressure": 1e-7, "mode": "top-up"})
    monitor = run.descriptor({"ring_current": data_key("number", units="mA")}, stream="ring_current_monitor")
    keys = {
        "theta": data_key("number", units="deg", limits={"control": {"low": -90.0, "high": 90.0}}),
        "det": data_key("number"),
        "counts": N,
    }
    primary = run.descriptor(
        keys,
        configuration=_configuration(),
        hints={"det": {"fields": ["det"]}, "theta": {"fields": ["theta"]}},
        object_keys={"theta": ["theta"], "det": ["det", "counts"]},
    )
    for rows in (range(4), range(4, 8), range(8, 11)):
        run.event(monitor, {"ring_current": 250.0 - rows[0] / 8})
        columns: dict[str, list[float]] = {
            "theta": [i / 2 - 2.5 for i in rows],
            "det": [1.0 / (1 + i) for i in rows],
            "counts": [i**2 for i in rows],
        }
        run.page(primary, columns)
    run.event(baseline, {"pressure": 2e-7, "mode": "decay"})
    run.stop()
    return run.documents


@example()
def interleaved() -> Run:
    """Two streams of single events taking turns, one of them faster."""
    run = RunComposer("interleaved", scan_id=3, plan_name="fly")
    slow = run.descriptor({"x": X}, stream="slow")
    fast = run.descriptor({"n": N}, stream="fast")
    for point in range(12):
        run.event(fast, {"n": point})
        if point % 4 == 0:
            run.event(slow, {"x": point / 4})
    run.stop()
    return run.documents


@example()
def rewound() -> Run:
    """A pause and a checkpoint: seq_nums 1, 2, 3, 1, 2, 3, 4 and ``num_events`` 4."""
    run = RunComposer("rewound", scan_id=4, plan_name="scan")
    primary = run.descriptor({"x": X, "n": N})
    for point, seq_num in enumerate((1, 2, 3, 1, 2, 3, 4)):
        run.event(primary, {"x": point / 2, "n": point}, seq_num=seq_num)
    run.stop()
    return run.documents


@example()
def rewound_and_aborted() -> Run:
    """Seq_nums 1 to 5, back to 2, then an abort."""
    run = RunComposer("rewound_and_aborted", scan_id=5, plan_name="scan")
    primary = run.descriptor({"x": X})
    for point, seq_num in enumerate((1, 2, 3, 4, 5, 2)):
        run.event(primary, {"x": float(point)}, seq_num=seq_num)
    run.stop("abort", "user asked")
    return run.documents


@example()
def unfinished() -> Run:
    """No stop: going on, or cut off."""
    run = RunComposer("unfinished", scan_id=6, plan_name="count")
    primary = run.descriptor({"x": X})
    run.event(primary, {"x": 1.0})
    run.event(primary, {"x": 2.0})
    return run.documents


@example()
def empty() -> Run:
    """A start and a stop."""
    run = RunComposer("empty", scan_id=7, plan_name="nothing")
    run.stop()
    return run.documents


@example()
def failed() -> Run:
    """A plan that raised after its first event."""
    run = RunComposer("failed", scan_id=8, plan_name="scan")
    primary = run.descriptor({"x": X})
    run.event(primary, {"x": 1.0})
    run.stop("fail", "FailedStatus: the motor does not move")
    return run.documents


@example()
def empty_stream() -> Run:
    """A stream that was declared and got no event."""
    run = RunComposer("empty_stream", scan_id=9)
    run.descriptor({"x": X, "name": data_key("string"), "image": data_key("array", [2, 3], dtype_numpy="<u2")})
    run.stop(num_events={})
    return run.documents


@example()
def two_descriptors() -> Run:
    """A stream whose second descriptor comes after a change of configuration, with one key more."""
    run = RunComposer("two_descriptors", scan_id=10)
    before = run.descriptor({"x": X}, configuration=_configuration())
    run.event(before, {"x": 1.0})
    run.event(before, {"x": 2.0})
    after = run.descriptor({"x": X, "y": X}, configuration=_configuration())
    run.event(after, {"x": 3.0, "y": 30.0})
    run.event(before, {"x": 4.0})
    run.stop()
    return run.documents


@example()
def two_descriptors_at_once() -> Run:
    """Two descriptors of one stream at the very same time."""
    run = RunComposer("two_descriptors_at_once", scan_id=11)
    first = run.descriptor({"x": X}, time=EPOCH + 1)
    second = run.descriptor({"x": X}, time=EPOCH + 1)
    run.event(first, {"x": 1.0})
    run.page(second, {"x": [2.0, 3.0]})
    run.stop()
    return run.documents


@example()
def strings_and_booleans() -> Run:
    """Text and booleans, singly and as arrays."""
    run = RunComposer("strings_and_booleans", scan_id=12)
    keys = {
        "label": data_key("string"),
        "open": data_key("boolean"),
        "names": data_key("array", [2]),
        "flags": data_key("array", [3]),
    }
    primary = run.descriptor(keys)
    run.page(
        primary,
        {
            "label": ["a", "", "a rather long label"],
            "open": [True, False, True],
            "names": [["x", "y"], ["long name", ""], ["", "z"]],
            "flags": [[True, False, True], [False] * 3, [True] * 3],
        },
    )
    run.stop()
    return run.documents


@example()
def unicode() -> Run:
    """Text beyond ASCII, in values, keys and metadata."""
    run = RunComposer("unicode", scan_id=13, sample="Ångström-Probe 試料 🔬", operator='Zoë\nÖzil\t"q" \\')
    primary = run.descriptor({"温度": data_key("number", units="°C"), "note": data_key("string")})
    run.page(primary, {"温度": [21.5, 22.0], "note": ["µm ≤ 5", "e\u0301 \u2028 line"]})
    run.stop()
    return run.documents


@example()
def inline_images() -> Run:
    """Square images (both dimensions alike), a volume, and a shape with a null, in the events."""
    run = RunComposer("inline_images", scan_id=14)
    keys = {
        "image": data_key("array", [2, 2], dtype_numpy="<i8"),
        "volume": data_key("array", [2, 3, 2]),
        "spectrum": data_key("array", [None], dims=["energy"]),
    }
    primary = run.descriptor(keys)
    for point in range(3):
        volume = [[[point + 0.5 * (i + j + k) for k in range(2)] for j in range(3)] for i in range(2)]
        image = [[point, 1], [2, -point]]
        run.event(primary, {"image": image, "volume": volume, "spectrum": [float(point)] * 4})
    run.stop()
    return run.documents


@example()
def ragged() -> Run:
    """Arrays of another length in each event, in one page and across pages; texts too."""
    run = RunComposer("ragged", scan_id=15)
    keys = {
        "peaks": data_key("array", [None]),
        "hits": data_key("array", [None]),
        "tags": data_key("array", [None]),
    }
    primary = run.descriptor(keys)
    run.page(primary, {"peaks": [[1.5], [2.5, 3.5], []], "hits": [[1], [2], [3]], "tags": [["a"], [], ["b", "c"]]})
    run.event(primary, {"peaks": [4.5, 5.5, 6.5], "hits": [4, 5], "tags": []})
    run.event(primary, {"peaks": [], "hits": [], "tags": ["d", "e", "f"]})
    run.stop()
    return run.documents


@example()
def ragged_images() -> Run:
    """Images of different heights and widths."""
    run = RunComposer("ragged_images", scan_id=16)
    primary = run.descriptor({"roi": data_key("array", [None, None])})
    run.page(primary, {"roi": [[[1, 2], [3, 4]], [[5, 6, 7]]]})
    run.event(primary, {"roi": [[8], [9], [10]]})
    run.stop()
    return run.documents
