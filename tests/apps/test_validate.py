from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from intake_bluesky.apps.validate import CODES, Finding, validate, validate_run
from intake_bluesky.apps.validate.recorded import DocumentChecks
from intake_bluesky.assets import AssetOptions
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.documents.model import Document
from intake_bluesky.errors import AssetUnavailable, DamagedRun
from intake_bluesky.storage.contract import Problem
from intake_bluesky.testing.asset_runs import DATASET, HDF5, frames, write_hdf5
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.runs import EXAMPLES, Run
from tests.assets.files_by_hand import cbfs, jpegs, spes
from tests.assets.formats import numpy_files, smooth, tiffs
from tests.assets.hdf5_by_hand import eiger

X = data_key("number")
IMAGE = data_key("array", [1, 4, 6], dtype_numpy="<u2", external="STREAM:")

ODD = {
    "aborted": {"incomplete"},
    "missing_file": {"file-missing"},
    "missing_keys": {"missing-key"},
    "gaps": {"seq-num-gap"},
    "mixed_kinds": {"dtype"},
    "objects": {"dtype"},
    "slashes": {"schema"},
    "keys_differ": {"unexpected-key", "missing-key"},
    "no_time": {"schema"},
    "unfinished": {"no-stop"},
    "empty_stream": {"unused-descriptor"},
}
"""Examples with something odd; nothing is wrong with the others, such as a rewind."""


def found(run: Run, **options: Any) -> list[Finding]:
    store = MemoryStore([run])
    return list(validate_run(store, run[0][1]["uid"], **options))


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_examples(name: str, tmp_path: Path) -> None:
    observed = {finding.code for finding in found(EXAMPLES[name](tmp_path))}
    assert observed == ODD.get(name, set())


def test_schema_can_be_left_out(tmp_path: Path) -> None:
    assert found(EXAMPLES["slashes"](tmp_path), schema=False) == []


def scan(events: int = 3, **counts: int) -> RunComposer:
    run = RunComposer("validate", scan_id=1)
    primary = run.descriptor({"x": X, "n": data_key("integer"), "v": data_key("array", [2])})
    for point in range(events):
        run.event(primary, {"x": float(point), "n": point, "v": [1, 2]})
    run.stop()
    if counts:
        run.documents[-1][1]["num_events"] = counts
    return run


def change(run: RunComposer, name: str, place: int, edit: Callable[[Document], object]) -> Run:
    own = [doc for kind, doc in run.documents if kind == name]
    edit(own[place])
    return run.documents


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


@pytest.mark.parametrize(("counted", "stored"), [(4, 3), (2, 3)])
def test_stop_counts_other_events_than_are_stored(counted: int, stored: int) -> None:
    observed = only(found(scan(stored, primary=counted).documents))
    expected = f"the stop counts {counted} events, {stored} are stored"
    assert (observed.code, observed.level, observed.message) == ("num-events", "error", expected)
    assert observed.where.endswith("/primary")


def test_stop_counts_a_stream_that_is_not_there() -> None:
    observed = only(found(scan(3, primary=3, dark=2).documents))
    assert observed.code == "num-events"
    assert "2 events of a stream that has no descriptor" in observed.message


@pytest.mark.parametrize(
    ("key", "value", "code", "words"),
    [
        ("x", "warm", "dtype", "event 2 holds 'warm' (str) where number is declared"),
        ("n", 0.5, "dtype", "event 2 holds 0.5 (float) where integer is declared"),
        ("v", [1, 2, 3], "shape", "event 2 has shape [3] where [2] is declared"),
        ("v", [[1, 2]], "shape", "event 2 has shape [1, 2] where [2] is declared"),
        ("v", 5, "dtype", "event 2 holds 5 (int) where array is declared"),
    ],
)
def test_values_that_are_not_as_declared(key: str, value: object, code: str, words: str) -> None:
    run = change(scan(), "event", 1, lambda event: event["data"].update({key: value}))
    observed = only(found(run))
    assert (observed.code, observed.message) == (code, words)
    assert observed.where.endswith(f"/primary/{key}")


@pytest.mark.parametrize("value", [None, np.float64(1.5), 3])
def test_nulls_and_numpy_scalars_are_as_declared(value: object) -> None:
    assert found(change(scan(), "event", 1, lambda event: event["data"].update(x=value))) == []


def test_repetitions_are_one_finding() -> None:
    run = scan(5)
    for name, doc in run.documents:
        if name == "event":
            doc["data"]["n"] = "text"
    assert only(found(run.documents)).message.endswith("(and 4 more)")


def test_events_of_an_unknown_descriptor() -> None:
    run = change(scan(), "event", 2, lambda event: event.update(descriptor="gone"))
    observed = {finding.code for finding in found(run)}
    assert observed == {"unknown-descriptor", "num-events", "unreadable"}


def test_documents_of_an_unknown_kind_and_form() -> None:
    run = scan()
    run.documents[-1:-1] = [("surprise", {}), ("datum", {"datum_id": "a"})]
    observed = {(finding.code, finding.message) for finding in found(run.documents)}
    assert observed == {
        ("schema", "there is no document called 'surprise' in event-model"),
        ("schema", "datum a: 'datum_kwargs' is a required property; 'resource' is a required property"),
        ("unreadable", "datum a cannot be read: KeyError: 'resource'"),
    }


def streamed(folder: Path, *, stored: int = 3, key: Document | None = None) -> RunComposer:
    uri = write_hdf5(folder / "validate.h5", frames(stored))
    run = RunComposer("validate", scan_id=2)
    primary = run.descriptor({"image": {**IMAGE, **(key or {})}})
    image = run.stream_resource("image", mimetype=HDF5, uri=uri, dataset=DATASET)
    run.stream_datum(image, primary, (1, 4))
    run.stop()
    return run


@pytest.mark.parametrize(
    ("stored", "key", "code", "words"),
    [
        (2, {}, "file-short", "has frames for 2 events where the documents speak of 3"),
        (4, {}, "file-long", "has 4 frames where the documents speak of 3"),
        (3, {"dtype_numpy": "<f8"}, "file-mismatch", "holds uint16 where float64 is declared"),
        (3, {"shape": [1, 4, 7]}, "file-mismatch", "has frames of shape [4, 6] where [1, 4, 7] is declared"),
    ],
)
def test_files_that_are_not_as_the_documents_say(
    tmp_path: Path, stored: int, key: Document, code: str, words: str
) -> None:
    observed = only(found(streamed(tmp_path, stored=stored, key=key).documents))
    assert observed.code == code
    assert words in observed.message
    assert str(tmp_path / "validate.h5") in observed.message


def test_booleans_of_signals_are_declared_integer() -> None:
    assert found(change(scan(), "event", 1, lambda event: event["data"].update(n=True))) == []


@pytest.mark.parametrize(("counted", "codes"), [(0, []), (3, []), (2, ["num-events"])])
def test_counts_of_a_stream_of_frames_alone(tmp_path: Path, counted: int, codes: list[str]) -> None:
    run = streamed(tmp_path)
    run.documents[-1][1]["num_events"] = {"primary": counted, "never": 0}
    assert [one.code for one in found(run.documents)] == codes


@pytest.mark.parametrize("place", [-1, -2])
def test_descriptors_that_come_late(tmp_path: Path, place: int) -> None:
    run = streamed(tmp_path).documents if place == -1 else scan().documents
    descriptor = run.pop(1)
    run.insert(len(run) + place, descriptor)
    assert found(run) == []


def test_stream_resources_that_come_late(tmp_path: Path) -> None:
    run = streamed(tmp_path).documents
    run.insert(-1, run.pop(2))
    assert [name for name, _ in run] == ["start", "descriptor", "stream_datum", "stream_resource", "stop"]
    assert found(run) == []


def test_a_descriptor_that_comes_again_under_another_name() -> None:
    run = scan()
    run.documents.insert(3, ("descriptor", {**run.documents[1][1], "name": "other"}))
    checks = DocumentChecks(run.run_uid)
    for name, doc in run.documents:
        checks.add(name, doc)
    observed = only(list(checks.findings()))
    assert (observed.code, observed.where) == ("contradiction", run.run_uid)


@pytest.mark.parametrize("kind", ["descriptor", "stop"])
def test_a_document_of_another_run(kind: str) -> None:
    run = scan()
    odd = next(doc for name, doc in run.documents if name == kind)
    odd["run_start"] = "another"
    observed = only(found(run.documents))
    assert (observed.code, observed.where) == ("other-run", run.run_uid)
    assert observed.message == f"{kind} {odd['uid']} names run 'another'"


CHANGES: dict[str, Document] = {
    "datum": {"datum_kwargs": {"index": 1}},
    "resource": {"resource_path": "other"},
    "descriptor": {"hints": {"a": {}}},
    "stream_resource": {"parameters": {"dataset": "/other"}},
}


@pytest.mark.parametrize("kind", CHANGES)
def test_documents_of_one_uid(tmp_path: Path, kind: str) -> None:
    """Delivered once more they are no finding, and changed they are one, whichever of the two is read."""
    run = (streamed(tmp_path) if kind == "stream_resource" else sequence(tmp_path)).documents
    place = [name for name, _ in run].index(kind)
    again = {key: run[place][1][key] for key in reversed(run[place][1])}
    assert found([*run[:-1], (kind, again), run[-1]]) == []
    other: Document = {**again, **CHANGES[kind]}
    observed = found([*run[:-1], (kind, other), run[-1]])
    told = [one.message for one in observed if one.code == "contradiction"]
    uid = other.get("uid") or other["datum_id"]
    assert told == [f"{kind.replace('_', ' ')} {uid} is defined several times, and not as the same"]
    unread = kind in ("resource", "stream_resource")
    assert {one.code for one in observed} - {"contradiction"} == ({"file-unreadable"} if unread else set())


def test_frames_of_one_seq_num_in_several_files(tmp_path: Path) -> None:
    run = streamed(tmp_path)
    assert found(run.documents) == []
    uri = write_hdf5(tmp_path / "more.h5", frames(2))
    [descriptor] = [doc["uid"] for name, doc in run.documents if name == "descriptor"]
    stop = run.documents.pop()
    run.stream_datum(run.stream_resource("image", mimetype=HDF5, uri=uri, dataset=DATASET), descriptor, (3, 5))
    stop[1]["num_events"] = {"primary": 4}
    [observed] = [one for one in found([*run.documents, stop]) if one.code == "frames-repeated"]
    assert observed.where == f"{run.run_uid}/primary/image"
    assert observed.message.startswith("1 frames are of seq_nums that other")


def test_frames_before_the_first(tmp_path: Path) -> None:
    run = change(streamed(tmp_path), "stream_datum", 0, lambda doc: doc.update(indices={"start": -2, "stop": 1}))
    observed = {one.code: one.message for one in found(run)}
    assert set(observed) == {"file-short", "file-long"}
    assert observed["file-short"].startswith("the documents speak of event -2 of ")


def test_a_file_that_streams_share_is_not_long(tmp_path: Path) -> None:
    uri = write_hdf5(tmp_path / "shared.h5", frames(5))
    run = RunComposer("shared", scan_id=2)
    for name, first, last in (("dark", 1, 3), ("primary", 1, 4)):
        descriptor = run.descriptor({"image": IMAGE}, stream=name)
        image = run.stream_resource("image", mimetype=HDF5, uri=uri, dataset=DATASET)
        run.stream_datum(image, descriptor, (first, last))
        start = 0 if name == "dark" else 2
        run.documents[-1][1]["indices"] = {"start": start, "stop": start + last - first}
    run.stop()
    assert found(run.documents) == []
    write_hdf5(tmp_path / "shared.h5", frames(6))
    observed = only(found(run.documents))
    assert (observed.code, observed.where.rpartition("/")[0]) == ("file-long", f"{run.run_uid}/dark")
    assert "has 6 frames where the documents speak of 5" in observed.message


def test_sources_that_are_gone(tmp_path: Path) -> None:
    run = streamed(tmp_path)
    with h5py.File(tmp_path / "validate.h5", "r+") as file:
        layout = h5py.VirtualLayout((3, *file[DATASET].shape[1:]), "<u2")
        del file[DATASET]
        for number in range(3):
            layout[number] = h5py.VirtualSource(f"part{number}.h5", DATASET, (1, *layout.shape[1:]))[0]
            write_hdf5(tmp_path / f"part{number}.h5", frames(1))
        file.create_virtual_dataset(DATASET, layout)
    assert found(run.documents) == []
    (tmp_path / "part1.h5").unlink()
    observed = only(found(run.documents))
    assert observed.code == "file-missing"
    assert "part1.h5 is not there" in observed.message


@pytest.mark.parametrize("kind", ["links", "virtual"])
def test_data_files_of_an_eiger_that_are_gone(tmp_path: Path, kind: str) -> None:
    images = frames(6)
    eiger(tmp_path / "x", 4, images, per_file=2, kind=kind)
    run = RunComposer("eiger", scan_id=2)
    key = data_key("array", [6, *images.shape[1:]], dtype_numpy="<u2", external="FILESTORE:")
    primary = run.descriptor({"det": key})
    resource = run.resource("AD_EIGER2", root=str(tmp_path), path="x", images_per_file=2)
    run.event(primary, {"det": run.datum(resource, 0, seq_id=4)})
    run.stop()
    assert found(run.documents) == []
    next(iter(sorted(tmp_path.glob("x_4_data*2.h5")))).unlink()
    observed = only(found(run.documents))
    assert observed.code == "file-missing"


def test_file_that_is_no_hdf5(tmp_path: Path) -> None:
    run = streamed(tmp_path)
    (tmp_path / "validate.h5").write_bytes(b"not HDF5")
    assert only(found(run.documents)).code == "file-unreadable"


def test_mimetype_that_nothing_reads(tmp_path: Path) -> None:
    edit = {"mimetype": "application/x-unheard-of"}
    run = change(streamed(tmp_path), "stream_resource", 0, lambda doc: doc.update(edit))
    observed = only(found(run))
    assert observed.code == "unknown-format"
    assert "application/x-unheard-of" in observed.message


def test_stream_resource_of_a_key_that_is_not_declared(tmp_path: Path) -> None:
    run = change(streamed(tmp_path), "stream_resource", 0, lambda doc: doc.update(data_key="other"))
    observed = {finding.code: finding for finding in found(run)}
    assert observed.keys() == {"unexpected-key", "num-events", "incomplete", "no-resource"}
    assert observed["unexpected-key"].where.endswith("/primary/other")


def test_stream_resource_without_a_key(tmp_path: Path) -> None:
    run = change(streamed(tmp_path), "stream_resource", 0, lambda doc: doc.pop("data_key"))
    observed = {finding.code: finding.level for finding in found(run)}
    assert observed["no-data-key"] == observed["num-events"] == "error"


def test_resource_that_gives_no_frames_an_event(tmp_path: Path) -> None:
    run = sequence(tmp_path)
    change(run, "descriptor", 0, lambda doc: doc["data_keys"]["image"].update(shape=[1, 4, 6]))
    changed = change(run, "resource", 0, lambda doc: doc["resource_kwargs"].update(frame_per_point=0))
    assert [finding.code for finding in found(changed)] == ["frames-per-event"]


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("1,2\n3,4\n5,6\n", set()),
        ("1,2\n3,4\n5,6", {"file-odd"}),
        ("1,2\n3,4\n5", {"file-odd", "file-short"}),
        ("1,2\n3,4,5\n5,6\n", {"file-odd", "file-unreadable"}),
    ],
)
def test_text_files_with_something_odd(tmp_path: Path, text: str, codes: set[str]) -> None:
    assert {finding.code for finding in found(text_run(tmp_path, text, "<f8"))} == codes


@pytest.mark.parametrize(
    ("text", "dtype", "words"),
    [
        ("1,2\n3,four\n5,6\n", "<f8", "column 1 of row 1 is 'four'"),
        ("1,2\n3,four\n5,6\n", "<i8", "column 1 of row 1 is 'four'"),
        ("1,2\n3,4.5\n5,6\n", "<i8", "column 1 of row 1 is"),
        ("1,2\n3\n5,6\n", "<i8", "row 1 has fewer than 2 fields"),
        ("1,2\n3\n5,6\n", "<f8", "row 1 has fewer than 2 fields"),
        ("1,2\n3\n5,x\n", "<f8", "row 1 has fewer than 2 fields"),
    ],
)
def test_text_that_is_not_of_the_dtype_declared(tmp_path: Path, text: str, dtype: str, words: str) -> None:
    documents = text_run(tmp_path, text, dtype)
    observed = only(found(documents))
    assert observed.code == "file-unreadable"
    assert words in observed.message
    with pytest.raises(DamagedRun, match=words):
        BlueskyCatalog(MemoryStore([documents]))[-1].primary.read()


def test_an_empty_field_is_a_float_that_is_missing(tmp_path: Path) -> None:
    documents = text_run(tmp_path, "1,2\n3,\n5,6\n", "<f8")
    assert found(documents) == []
    values = BlueskyCatalog(MemoryStore([documents]))[-1].primary.read()["rows"].values
    np.testing.assert_array_equal(values.reshape(3, 2), [[1, 2], [3, np.nan], [5, 6]])


def text_run(folder: Path, text: str, dtype: str) -> Run:
    (folder / "x.csv").write_text(text)
    run = RunComposer("validate", scan_id=2)
    primary = run.descriptor({"rows": data_key("array", [2], dtype_numpy=dtype, external="STREAM:")})
    uri = f"file://localhost{folder}/x.csv"
    run.stream_datum(run.stream_resource("rows", mimetype="text/csv;header=absent", uri=uri), primary, (1, 4))
    run.stop()
    return run.documents


def test_streamed_key_without_a_stream_resource() -> None:
    run = RunComposer("validate", scan_id=4)
    primary = run.descriptor({"x": X, "image": IMAGE})
    run.event(primary, {"x": 1.0})
    run.stop()
    observed = {finding.code: finding.message for finding in found(run.documents)}
    assert observed["no-resource"] == "1 rows, and no stream resource for them"


def test_stream_datum_of_an_unknown_resource(tmp_path: Path) -> None:
    run = change(streamed(tmp_path), "stream_datum", 0, lambda doc: doc.update(stream_resource="gone"))
    codes = {"unknown-resource", "unused-resource", "num-events", "incomplete", "no-resource"}
    assert {finding.code for finding in found(run)} == codes


def sequence(folder: Path, spec: str = "NPY_SEQ") -> RunComposer:
    for number, frame in enumerate(frames(3)):
        np.save(folder / f"seq_{number}.npy", frame)
    run = RunComposer("validate", scan_id=3)
    primary = run.descriptor({"image": data_key("array", [4, 6], dtype_numpy="<u2", external="FILESTORE:")})
    resource = run.resource(spec, root=str(folder), path="seq")
    for point in range(3):
        datum_id = run.datum(resource, point, index=point)
        run.event(primary, {"image": datum_id}, filled={"image": False})
    run.stop()
    return run


def test_one_file_of_a_sequence_is_gone(tmp_path: Path) -> None:
    run = sequence(tmp_path)
    (tmp_path / "seq_1.npy").unlink()
    observed = only(found(run.documents))
    assert (observed.code, observed.message) == ("file-missing", f"{tmp_path / 'seq_1.npy'} is not there")


SEQUENCES: dict[str, tuple[str, str, Callable[[Path], list[Path]]]] = {
    "numpy": ("NPY_SEQ", "", lambda folder: numpy_files(folder, frames(3))),
    "tiff": ("AD_TIFF", "%s%s_%06d.tiff", lambda folder: tiffs(folder, frames(3))),
    "packed tiff": ("AD_TIFF", "%s%s_%06d.tiff", lambda folder: tiffs(folder, frames(3), compression="zlib")),
    "jpeg": ("AD_JPEG", "%s%s_%06d.jpg", lambda folder: jpegs(folder, smooth(3, (32, 48)))),
    "cbf": ("AD_CBF", "%s%s_%05d.cbf", lambda folder: cbfs(folder, frames(3).astype("i4"))),
    "spe": ("AD_SPE", "%s%s_%03d.spe", lambda folder: spes(folder, frames(3))),
}
"""Spec, template, and how the files are written."""
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut at the end": lambda content: content[:-20],
    "cut by half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "no such file": lambda content: b"theta looks odd",
}


# A CBF file goes on after its image.
@pytest.mark.parametrize(
    ("kind", "damage"), [pair for pair in product(SEQUENCES, DAMAGE) if pair != ("cbf", "cut at the end")]
)
@pytest.mark.parametrize("place", [0, 1])
def test_files_of_a_sequence_that_are_damaged(tmp_path: Path, kind: str, damage: str, place: int) -> None:
    spec, template, write = SEQUENCES[kind]
    files = write(tmp_path)
    shape, dtype = {"jpeg": ([32, 48], "|u1"), "cbf": ([4, 6], "<i4")}.get(kind, ([4, 6], "<u2"))
    run = RunComposer("validate", scan_id=3)
    primary = run.descriptor({"image": data_key("array", shape, dtype_numpy=dtype, external="FILESTORE:")})
    kwargs = {"template": template, "filename": "img"} if template else {}
    resource = run.resource(spec, root=str(tmp_path), path="" if template else "img", **kwargs)
    number = "index" if spec == "NPY_SEQ" else "point_number"
    for point in range(3):
        run.event(primary, {"image": run.datum(resource, point, **{number: point})}, filled={"image": False})
    run.stop()
    assert found(run.documents) == []
    files[place].write_bytes(DAMAGE[damage](files[place].read_bytes()))
    with pytest.raises(AssetUnavailable, match=files[place].name):
        BlueskyCatalog(MemoryStore([run.documents]))[-1].primary.read()
    observed = only(found(run.documents))
    assert observed.code in {"file-short", "file-unreadable"}
    assert str(files[place]) in observed.message
    assert "more" not in observed.message
    for file in files[:2]:
        file.write_bytes(DAMAGE[damage](file.read_bytes()))
    assert {finding.code for finding in found(run.documents)} <= {"file-short", "file-unreadable"}


@pytest.mark.parametrize("other", [frames(1)[0][:3], frames(1)[0].astype("f8")])
def test_a_file_of_a_sequence_that_is_of_another_shape_or_dtype(tmp_path: Path, other: Any) -> None:
    run = sequence(tmp_path)
    np.save(tmp_path / "seq_1.npy", other)
    observed = only(found(run.documents))
    assert (observed.code, observed.level) == ("file-mismatch", "warning")
    assert f"{tmp_path / 'seq_1.npy'} has {other.dtype} of shape {list(other.shape)}, where uint16" in observed.message


def test_files_of_events_that_list_several_datums(tmp_path: Path) -> None:
    for number, frame in enumerate(frames(4)):
        np.save(tmp_path / f"seq_{number}.npy", frame)
    run = RunComposer("validate", scan_id=3)
    primary = run.descriptor({"image": data_key("array", [2, 4, 6], dtype_numpy="<u2", external="FILESTORE:")})
    resource = run.resource("NPY_SEQ", root=str(tmp_path), path="seq")
    ids = [run.datum(resource, number, index=number) for number in range(4)]
    for own in (ids[:2], ids[2:]):
        run.event(primary, {"image": own}, filled={"image": False})
    run.stop()
    assert found(run.documents, schema=False) == []
    (tmp_path / "seq_3.npy").write_bytes((tmp_path / "seq_3.npy").read_bytes()[:-1])
    assert only(found(run.documents, schema=False)).code == "file-short"


def test_all_files_of_a_sequence_are_looked_at_where_the_first_is_gone(tmp_path: Path) -> None:
    run = sequence(tmp_path)
    (tmp_path / "seq_0.npy").unlink()
    (tmp_path / "seq_2.npy").write_bytes((tmp_path / "seq_2.npy").read_bytes()[:-1])
    observed = {finding.code: finding.message for finding in found(run.documents)}
    assert observed == {
        "file-missing": f"{tmp_path / 'seq_0.npy'} is not there",
        "file-short": f"{tmp_path / 'seq_2.npy'} is too short: 1 bytes of an array are not there",
    }


def test_events_that_name_datums_not_in_the_run(tmp_path: Path) -> None:
    run = change(sequence(tmp_path), "event", 1, lambda event: event["data"].update(image="gone/0"))
    observed = only(found(run))
    assert observed.code == "unknown-datum"
    assert observed.message == "1 of 3 datum_ids are of no datum that is found, 'gone/0' first"


def test_unknown_spec_and_datums_of_an_unknown_resource(tmp_path: Path) -> None:
    assert only(found(sequence(tmp_path, "UNHEARD_OF").documents)).code == "unknown-format"
    run = change(sequence(tmp_path), "resource", 0, lambda doc: doc.update(uid="other"))
    observed = [finding for finding in found(run) if finding.level == "error"]
    assert [finding.code for finding in observed] == ["unknown-resource"]


@pytest.mark.parametrize(
    ("resource", "options", "words"),
    [
        ({"resource_path": "../seq"}, {}, "'..' in paths"),
        ({}, {"trusted": False}, "documents from elsewhere name"),
        ({"spec": "THEIRS"}, {"handlers": {"THEIRS": "no.such:Handler"}}, "cannot be imported"),
        ({"resource_kwargs": {"template": "%s%s_%x.tiff"}}, {}, "cannot make sense"),
    ],
)
def test_formats_that_are_known_and_cannot_be_read(
    tmp_path: Path, resource: Document, options: dict[str, Any], words: str
) -> None:
    run = change(sequence(tmp_path), "resource", 0, lambda doc: doc.update(resource))
    observed = [finding for finding in found(run, options=AssetOptions(**options)) if finding.code != "schema"]
    assert only(observed).code == "file-unreadable"
    assert words in only(observed).message


class Handler:
    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, index: int) -> Any:
        return np.load(f"{self.path}_{index}.npy")


def test_a_handler_is_asked_for_the_first_and_the_last_datum(tmp_path: Path) -> None:
    run = sequence(tmp_path, "THIRD_PARTY").documents
    options = AssetOptions(handlers={"THIRD_PARTY": Handler})
    assert found(run, options=options) == []
    (tmp_path / "seq_2.npy").unlink()
    observed = only(found(run, options=options))
    assert observed.code == "file-unreadable"
    assert "seq_2.npy" in observed.message


class Unreadable(MemoryStore):
    """Has a file that is no run."""

    def problems(self) -> list[Problem]:
        damaged = Problem("/data/count.jsonl", "line 3 is cut off", next(self.find()).uid)
        return [Problem("/data/notes.jsonl", "the first line is no start document"), damaged]

    def header(self, uid: str) -> Any:
        raise DamagedRun("the descriptor is cut off")


def test_a_store_gives_its_problems_and_goes_on(tmp_path: Path) -> None:
    store = Unreadable([EXAMPLES["count"](tmp_path), EXAMPLES["unfinished"](tmp_path)])
    observed = [(finding.code, finding.message) for finding in validate(BlueskyCatalog(store))]
    assert sorted(observed) == [
        ("no-stop", "the run has no stop: it is going on, or was cut off"),
        ("unreadable", "line 3 is cut off"),
        ("unreadable", "the descriptor is cut off"),
        ("unreadable", "the descriptor is cut off"),
        ("unreadable", "the first line is no start document"),
    ]


def test_every_code_is_documented() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "findings.md"
    rows = [line.split("|") for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    observed = {row[1].strip(" `"): (row[2].strip(), row[3].strip()) for row in rows}
    assert observed == dict(CODES)
