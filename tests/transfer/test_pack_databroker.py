"""Folders of databroker-pack are unpacked: into a pack of ours, and into a catalog; their YAML is data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import suitcase.jsonl
import suitcase.msgpack
import yaml

import intake_bluesky
from intake_bluesky import BlueskyCatalog, ingest
from intake_bluesky.errors import DamagedPack
from intake_bluesky.testing import EXAMPLES, RunComposer, data_key
from intake_bluesky.transfer.digests import Relation, compare
from intake_bluesky_jsonl import BlueskyJSONLCatalog
from intake_bluesky_msgpack import BlueskyMsgpackCatalog
from intake_bluesky_sql.store import SQLStore

HASHED = "f8483b80395561ac779a5425da6646ca"  # of the root and a salt


def run_with_image(root: str) -> list[tuple[str, Any]]:
    run = RunComposer("packed")
    descriptor = run.descriptor({"img": data_key("array", [2, 3], external="FILESTORE:")})
    resource = run.resource("NPY_SEQ", root=root, path="2019/img")
    run.event(descriptor, {"img": run.datum(resource, 0, index=0)}, filled={"img": False})
    run.stop()
    return run.documents


def databroker_folder(folder: Path, exporter: Any) -> Path:
    """As databroker-pack 0.4 writes it, with ``--copy-external``, on a machine where it was elsewhere."""
    images = folder / "external_files" / HASHED / "2019"
    images.mkdir(parents=True)
    np.save(images / "img_0.npy", np.arange(6).reshape(2, 3))
    ending = exporter.__name__.rpartition(".")[2]
    names = []
    for documents in (run_with_image(HASHED), EXAMPLES["count"](folder)):
        exporter.export(iter(documents), folder / "documents")
        names.append(f"./documents/{documents[0][1]['uid']}.{ending}")
    (folder / "documents_manifest.txt").write_text("\n".join(names))
    (folder / f"external_files_manifest_{HASHED}.txt").write_text(f"external_files/{HASHED}/2019/img_0.npy")
    source = {
        "driver": f"bluesky-{ending}-catalog",
        "args": {
            "paths": [f"/home/somebody/pack/documents/*.{ending}"],
            "root_map": {HASHED: f"external_files/{HASHED}"},
            "handler_registry": {"NPY_SEQ": "os.system"},
        },
        "metadata": {
            "generated_by": {"library": "databroker_pack", "version": "0.4.0"},
            "relative_paths": [f"./documents/*.{ending}"],
        },
    }
    (folder / "catalog.yml").write_text(yaml.safe_dump({"sources": {"packed_catalog": source}}))
    return folder


@pytest.mark.parametrize("exporter", [suitcase.jsonl, suitcase.msgpack], ids=["jsonl", "msgpack"])
def test_its_runs_and_images_come_along(exporter: Any, tmp_path: Path) -> None:
    older = databroker_folder(tmp_path / "older [1]", exporter)
    report = ingest.unpack(older, tmp_path / "new")
    assert (len(report.copied), report.missing, report.refused) == (2, {}, {})
    assert ingest.check_pack(tmp_path / "new") == {}
    database = BlueskyCatalog(SQLStore(f"sqlite:///{tmp_path / 'runs.db'}"))
    copied = ingest.unpack(older / "catalog.yml", database, assets_into=tmp_path / "files")
    assert (len(copied.copied), copied.missing, copied.refused) == (2, {}, {})
    older.rename(tmp_path / "gone")
    uid = run_with_image(HASHED)[0][1]["uid"]
    driver = {suitcase.jsonl: BlueskyJSONLCatalog, suitcase.msgpack: BlueskyMsgpackCatalog}[exporter]
    stored = driver(tmp_path / "gone" / "documents")[uid]
    new = intake_bluesky.open_catalog(str(tmp_path / "new" / "catalog.yml"))["runs"]
    for cat in (new, database(root_map=copied.root_map)):
        assert compare(stored.documents(), cat[uid].documents(), ordered=True) is Relation.SAME
        assert cat[uid].primary.read()["img"].values.reshape(-1).tolist() == list(range(6))


def test_documents_that_it_lists_and_has_not_are_told(tmp_path: Path) -> None:
    older = databroker_folder(tmp_path / "older", suitcase.jsonl)
    with open(older / f"external_files_manifest_{HASHED}.txt", "a") as listed:
        listed.write("\nexternal_files/gone.npy\n/nsls2/data/left.npy")
    one, other = sorted((older / "documents").iterdir())
    suitcase.jsonl.export(iter(EXAMPLES["scan"](older)), older / "documents")
    one.unlink()
    other.write_text("no run")
    assert set(ingest.unpack(older, tmp_path / "new").missing) == {
        f"documents/{one.name}",
        "external_files/gone.npy",
        str(other),
    }


def test_it_names_no_file_outside_of_itself(tmp_path: Path) -> None:
    older = databroker_folder(tmp_path / "older", suitcase.jsonl)
    np.save(tmp_path / "img_0.npy", np.arange(6))
    outside = [(name, {**doc, "root": str(tmp_path), "resource_path": "img"} if name == "resource" else doc)
               for name, doc in run_with_image(HASHED)]  # fmt: skip
    for path in older.joinpath("documents").iterdir():
        path.unlink()
    suitcase.jsonl.export(iter(outside), older / "documents")
    report = ingest.unpack(older, tmp_path / "new")
    assert (report.files, len(report.copied)) == ([], 1)
    assert [why for why in report.missing.values() if "no root_map target" in why]


@pytest.mark.parametrize("relative", ["/etc/*.jsonl", "../*.jsonl", 5])
def test_paths_that_lead_out_of_it_are_refused(relative: Any, tmp_path: Path) -> None:
    older = databroker_folder(tmp_path / "older", suitcase.jsonl)
    catalog = yaml.safe_load((older / "catalog.yml").read_text())
    catalog["sources"]["packed_catalog"]["metadata"]["relative_paths"] = [relative]
    (older / "catalog.yml").write_text(yaml.safe_dump(catalog))
    with pytest.raises(DamagedPack, match="names no documents in its folder"):
        ingest.unpack(older, tmp_path / "new")
