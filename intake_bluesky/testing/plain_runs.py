"""Example runs as experiments make them every day."""

from __future__ import annotations

from intake_bluesky.documents.model import Document
from intake_bluesky.testing.compose import EPOCH, RunComposer, data_key
from intake_bluesky.testing.examples import example

X = data_key("number", units="mm", precision=3)
N = data_key("integer")


@example(scan_id=1, plan_name="count", detectors=["det"], num_points=3)
def count(run: RunComposer) -> None:
    """Three single events of a float and an integer."""
    primary = run.descriptor({"det": X, "counts": N}, hints={"det": {"fields": ["det"]}})
    for point in range(3):
        run.event(primary, {"det": 0.5 + point, "counts": 10 * point})


def _configuration() -> Document:
    keys = {"exposure_time": data_key("number", units="s"), "model": data_key("string")}
    stamps = dict.fromkeys(keys, EPOCH)
    return {"det": {"data": {"exposure_time": 0.1, "model": "Sim"}, "timestamps": stamps, "data_keys": keys}}


@example(
    time=EPOCH + 100,
    scan_id=2,
    plan_name="scan",
    motors=("theta",),
    sample={"name": "Ni foil", "temperature": 295.5},
    hints={"dimensions": [[["theta"], "primary"]]},
)
def scan(run: RunComposer) -> None:
    """Baseline, a monitor, and eleven events in pages of four."""
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


@example(scan_id=3, plan_name="fly")
def interleaved(run: RunComposer) -> None:
    """Two streams of single events taking turns, one of them faster."""
    slow = run.descriptor({"x": X}, stream="slow")
    fast = run.descriptor({"n": N}, stream="fast")
    for point in range(12):
        run.event(fast, {"n": point})
        if point % 4 == 0:
            run.event(slow, {"x": point / 4})


@example(scan_id=4, plan_name="scan")
def rewound(run: RunComposer) -> None:
    """A pause and a checkpoint: seq_nums 1, 2, 3, 1, 2, 3, 4 and ``num_events`` 4."""
    primary = run.descriptor({"x": X, "n": N})
    for point, seq_num in enumerate((1, 2, 3, 1, 2, 3, 4)):
        run.event(primary, {"x": point / 2, "n": point}, seq_num=seq_num)


@example(stop={"exit_status": "abort", "reason": "user asked"}, scan_id=5, plan_name="scan")
def rewound_and_aborted(run: RunComposer) -> None:
    """Seq_nums 1 to 5, back to 2, then an abort."""
    primary = run.descriptor({"x": X})
    for point, seq_num in enumerate((1, 2, 3, 4, 5, 2)):
        run.event(primary, {"x": float(point)}, seq_num=seq_num)


@example(stop=None, scan_id=6, plan_name="count")
def unfinished(run: RunComposer) -> None:
    """No stop: going on, or cut off."""
    primary = run.descriptor({"x": X})
    run.event(primary, {"x": 1.0})
    run.event(primary, {"x": 2.0})


@example(scan_id=7, plan_name="nothing")
def empty(run: RunComposer) -> None:
    """A start and a stop."""


@example(stop={"exit_status": "fail", "reason": "FailedStatus: the motor does not move"}, scan_id=8, plan_name="scan")
def failed(run: RunComposer) -> None:
    """A plan that raised after its first event."""
    primary = run.descriptor({"x": X})
    run.event(primary, {"x": 1.0})


@example(stop={"num_events": {}}, scan_id=9)
def empty_stream(run: RunComposer) -> None:
    """A stream that was declared and got no event."""
    run.descriptor({"x": X, "name": data_key("string"), "image": data_key("array", [2, 3], dtype_numpy="<u2")})


@example(scan_id=10)
def two_descriptors(run: RunComposer) -> None:
    """A stream whose second descriptor comes after a change of configuration, with one key more."""
    before = run.descriptor({"x": X}, configuration=_configuration())
    run.event(before, {"x": 1.0})
    run.event(before, {"x": 2.0})
    after = run.descriptor({"x": X, "y": X}, configuration=_configuration())
    run.event(after, {"x": 3.0, "y": 30.0})
    run.event(before, {"x": 4.0})


@example(scan_id=11)
def two_descriptors_at_once(run: RunComposer) -> None:
    """Two descriptors of one stream at the very same time."""
    first = run.descriptor({"x": X}, time=EPOCH + 1)
    second = run.descriptor({"x": X}, time=EPOCH + 1)
    run.event(first, {"x": 1.0})
    run.page(second, {"x": [2.0, 3.0]})


@example(scan_id=12)
def strings_and_booleans(run: RunComposer) -> None:
    """Text and booleans, singly and as arrays."""
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


@example(scan_id=13, sample="Ångström-Probe 試料 🔬", operator='Zoë\nÖzil\t"q" \\')
def unicode(run: RunComposer) -> None:
    """Text beyond ASCII, in values, keys and metadata."""
    primary = run.descriptor({"温度": data_key("number", units="°C"), "note": data_key("string")})
    run.page(primary, {"温度": [21.5, 22.0], "note": ["µm ≤ 5", "e\u0301 \u2028 line"]})


@example(scan_id=14)
def inline_images(run: RunComposer) -> None:
    """Square images (both dimensions alike), a volume, and a shape with a null, in the events."""
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


@example(scan_id=15)
def ragged(run: RunComposer) -> None:
    """Arrays of another length in each event, in one page and across pages; texts too."""
    keys = {
        "peaks": data_key("array", [None]),
        "hits": data_key("array", [None]),
        "tags": data_key("array", [None]),
    }
    primary = run.descriptor(keys)
    run.page(primary, {"peaks": [[1.5], [2.5, 3.5], []], "hits": [[1], [2], [3]], "tags": [["a"], [], ["b", "c"]]})
    run.event(primary, {"peaks": [4.5, 5.5, 6.5], "hits": [4, 5], "tags": []})
    run.event(primary, {"peaks": [], "hits": [], "tags": ["d", "e", "f"]})


@example(scan_id=16)
def ragged_images(run: RunComposer) -> None:
    """Images of different heights and widths."""
    primary = run.descriptor({"roi": data_key("array", [None, None])})
    run.page(primary, {"roi": [[[1, 2], [3, 4]], [[5, 6, 7]]]})
    run.event(primary, {"roi": [[8], [9], [10]]})
