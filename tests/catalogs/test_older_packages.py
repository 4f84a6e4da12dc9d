"""YAML files of databroker and of the first intake-bluesky, and folders of databroker-pack, as they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import fsspec
import intake
import numpy as np
import pytest
import suitcase.jsonl
import suitcase.msgpack
import yaml

import intake_bluesky
from intake_bluesky.catalogs.older_packages import OLDER_HANDLERS
from intake_bluesky.catalogs.reading_options import CatalogHandlers
from intake_bluesky.errors import PluginError, StoreUnavailable, UntrustedName
from intake_bluesky.runtime.plugins import Registry
from intake_bluesky.testing.compose import RunComposer, data_key
from intake_bluesky.testing.plain_runs import count

CLASSES = {
    f"{package}.{module}.{name}": ending
    for package in ("databroker._drivers", "intake_bluesky")
    for module, name, ending in (
        ("jsonl", "BlueskyJSONLCatalog", "jsonl"),
        ("msgpack", "BlueskyMsgpackCatalog", "msgpack"),
    )
}


def yaml_file(folder: Path, driver: str, paths: str, **args: Any) -> str:
    source = {"driver": driver, "container": "catalog", "args": {"paths": paths, **args}}
    path = folder / "catalog.yml"
    path.write_text(yaml.safe_dump({"sources": {"xyz": source}}))
    return str(path)


@pytest.mark.parametrize("driver", CLASSES)
def test_drivers_have_their_older_names(driver: str, tmp_path: Path) -> None:
    suitcase.jsonl.export(iter(count()), tmp_path)
    suitcase.msgpack.export(iter(count()), tmp_path)
    file = yaml_file(tmp_path, driver, f"{{{{ CATALOG_DIR }}}}/*.{CLASSES[driver]}")
    for opened in (intake.open_catalog(file), intake_bluesky.open_catalog(file)):
        assert len(opened.xyz) == 1


@pytest.mark.parametrize("module", ["databroker", "databroker.v2", "intake_bluesky", "intake_bluesky.jsonl"])
def test_plugins_of_older_packages_need_not_be_installed(module: str, tmp_path: Path) -> None:
    suitcase.jsonl.export(iter(count()), tmp_path)
    path = Path(yaml_file(tmp_path, "bluesky-jsonl-catalog", "{{ CATALOG_DIR }}/*.jsonl"))
    path.write_text(f"plugins:\n  source:\n    - module: {module}\n{path.read_text()}")
    for uri in (path, str(path), [str(path)]):
        assert len(intake_bluesky.open_catalog(uri).xyz) == 1


def test_other_plugins_are_imported(tmp_path: Path) -> None:
    path = tmp_path / "c.yml"
    path.write_text("plugins: {source: [{module: no_such_module}]}\nsources: {}\n")
    with pytest.raises(StoreUnavailable, match="No module named"):
        intake_bluesky.open_catalog(path)


def images(folder: Path, root: str, spec: str = "NPY_SEQ") -> list[tuple[str, Any]]:
    """A run with one image, whose resource has a root."""
    folder.mkdir(parents=True)
    np.save(folder / "img_0.npy", np.arange(6).reshape(2, 3))
    run = RunComposer("packed")
    descriptor = run.descriptor({"img": data_key("array", [2, 3], external="FILESTORE:")})
    resource = {"uid": "r", "run_start": run.documents[0][1]["uid"], "spec": spec, "root": root, "resource_path": "img"}
    run.documents.append(("resource", {**resource, "resource_kwargs": {}, "path_semantics": "posix"}))
    run.documents.append(("datum", {"datum_id": "r/0", "resource": "r", "datum_kwargs": {"index": 0}}))
    run.event(descriptor, {"img": "r/0"}, filled={"img": False})
    run.stop()
    return run.documents


@pytest.mark.parametrize("handler", ["ophyd.sim.NumpySeqHandler", "no_ophyd.Handler"])
@pytest.mark.parametrize("spec", ["NPY_SEQ", "MY_SPEC"])
def test_handlers_by_name_read_under_any_spec(
    handler: str, spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where the package is not installed; there is a reader here.
    monkeypatch.setitem(OLDER_HANDLERS, "no_ophyd.Handler", "NPY_SEQ")
    suitcase.jsonl.export(iter(images(tmp_path / "data", str(tmp_path / "data"), spec)), tmp_path)
    file = yaml_file(tmp_path, "bluesky-jsonl-catalog", "{{ CATALOG_DIR }}/*.jsonl", handler_registry={spec: handler})
    [image] = intake.open_catalog(file).xyz[-1].primary.read()["img"].values.reshape(-1, 2, 3)
    assert np.array_equal(image, np.arange(6).reshape(2, 3))


def test_older_handlers_stand_for_readers_whether_trusted_or_not() -> None:
    for name, spec in OLDER_HANDLERS.items():
        handlers = CatalogHandlers(Registry(values={"ANY": name}), trusted=False)
        assert handlers["ANY"] is intake_bluesky.assets.reader_registry.native_reader(spec)
    # Which gives paths, and no images: nothing here stands for it.
    paths = "databroker.assets.path_only_handlers.AreaDetectorTiffPathOnlyHandler"
    with pytest.raises(PluginError, match="cannot be imported"):
        CatalogHandlers(Registry(values={"ANY": paths}))["ANY"]
    with pytest.raises(UntrustedName):
        CatalogHandlers(Registry(values={"ANY": paths}), trusted=False)["ANY"]


def test_the_documentation_has_all_of_them() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "databroker-catalogs.md"
    rows = {line.strip() for line in page.read_text().splitlines()}
    for name, spec in OLDER_HANDLERS.items():
        module, _, handler = name.rpartition(".")
        same = f"| `databroker.assets.handlers.{handler}` | `{spec}` |"
        assert f"| `{name}` | `{spec}` |" in rows or (same in rows and f"`{module}`" in page.read_text())
    for name in CLASSES:
        assert f"`{name}`" in page.read_text()


def packed(folder: Path, exporter: Any) -> Path:
    """A folder as databroker-pack makes it, of the machine where `folder` was another."""
    hashed = "f8483b80395561ac779a5425da6646ca"
    documents = images(folder / "external_files" / hashed, hashed)
    exporter.export(iter(documents), folder / "documents")
    ending = exporter.__name__.rpartition(".")[2]
    source = {
        "driver": f"bluesky-{ending}-catalog",
        "args": {
            "paths": [f"/home/somebody/pack/documents/*.{ending}"],
            "root_map": {hashed: f"external_files/{hashed}"},
        },
        "metadata": {
            "generated_by": {"library": "databroker_pack", "version": "0.3.0"},
            "relative_paths": [f"./documents/*.{ending}"],
        },
    }
    (folder / "catalog.yml").write_text(yaml.safe_dump({"sources": {"packed_catalog": source}}))
    return folder


@pytest.mark.parametrize("exporter", [suitcase.jsonl, suitcase.msgpack], ids=["jsonl", "msgpack"])
def test_a_pack_opens_wherever_it_was_moved(exporter: Any, tmp_path: Path) -> None:
    pack = packed(tmp_path / "pack", exporter)
    moved = Path(shutil.move(pack, tmp_path / "class [2024] #1"))
    for uri in (str(moved / "catalog.yml"), f"file://{moved}/catalog.yml"):
        catalog = intake.open_catalog(uri).packed_catalog
        assert (len(catalog), catalog.problems) == (1, ())
        assert catalog[-1].primary.read()["img"].shape[-2:] == (2, 3)
        assert len(catalog.search({"uid": catalog[-1].start["uid"]})) == 1


def test_an_unpacked_pack_is_where_its_paths_say(tmp_path: Path) -> None:
    pack = packed(tmp_path / "pack", suitcase.jsonl)
    catalog = yaml.safe_load((pack / "catalog.yml").read_text())
    source = catalog["sources"]["packed_catalog"]
    source["args"]["paths"] = [str(pack / "documents" / "*.jsonl")]
    source["args"]["root_map"] = {key: str(pack / value) for key, value in source["args"]["root_map"].items()}
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "unpacked.yml").write_text(yaml.safe_dump(catalog))
    opened = intake.open_catalog(str(tmp_path / "config" / "unpacked.yml")).packed_catalog
    assert opened[-1].primary.read()["img"].shape[-2:] == (2, 3)


def test_a_pack_of_windows_opens(tmp_path: Path) -> None:
    pack = packed(tmp_path / "pack", suitcase.jsonl)
    catalog = yaml.safe_load((pack / "catalog.yml").read_text())
    args = catalog["sources"]["packed_catalog"]["args"]
    args["paths"] = ["C:\\pack\\documents\\*.jsonl"]
    args["root_map"] = {key: value.replace("/", "\\") for key, value in args["root_map"].items()}
    (pack / "catalog.yml").write_text(yaml.safe_dump(catalog))
    opened = intake.open_catalog(str(pack / "catalog.yml")).packed_catalog
    assert opened[-1].primary.read()["img"].shape[-2:] == (2, 3)


def test_a_pack_that_is_saved_as_yaml_opens_from_there(tmp_path: Path) -> None:
    pack = packed(tmp_path / "pack", suitcase.jsonl)
    opened = intake.open_catalog(str(pack / "catalog.yml")).packed_catalog
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved.yml").write_text(opened.serialize())
    saved = intake.open_catalog(str(tmp_path / "saved" / "saved.yml")).packed_catalog
    assert saved[-1].primary.read()["img"].shape[-2:] == (2, 3)


def test_a_pack_on_a_server_opens(tmp_path: Path) -> None:
    pack = packed(tmp_path / "pack", suitcase.jsonl)
    url = f"memory://{tmp_path.name}/pack"
    fsspec.filesystem("memory").put(str(pack), url, recursive=True)
    opened = intake_bluesky.open_catalog(f"{url}/catalog.yml").packed_catalog
    assert len(opened) == 1
    assert opened[-1].primary.read()["img"].shape[-2:] == (2, 3)


@pytest.mark.parametrize("relative", ["/etc/*.jsonl", "../*.jsonl", "s3://bucket/*.jsonl", 5])
def test_paths_of_a_pack_lead_out_of_no_folder(relative: Any, tmp_path: Path) -> None:
    pack = packed(tmp_path / "pack", suitcase.jsonl)
    (tmp_path / "outside.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in count()))
    catalog = yaml.safe_load((pack / "catalog.yml").read_text())
    catalog["sources"]["packed_catalog"]["metadata"]["relative_paths"] = [relative]
    (pack / "catalog.yml").write_text(yaml.safe_dump(catalog))
    opened = intake.open_catalog(str(pack / "catalog.yml")).packed_catalog
    assert len(opened) == 0
    assert [problem.where for problem in opened.problems] == ["/home/somebody/pack/documents/*.jsonl"]
