"""What a YAML file from elsewhere may not do."""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
import intake
import pytest
import yaml

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog, open_catalog
from intake_bluesky.errors import MissingDependency, StoreUnavailable, UntrustedName
from intake_bluesky.objects import connect
from intake_bluesky.testing.memory import MemoryStore
from intake_bluesky.testing.runs import EXAMPLES

DRIVER = "test_security_catalog"
PROBE = "intake_bluesky_security_probe"
URL = "memory://elsewhere/catalog.yml"

RUNS = MemoryStore()


class SharedCatalog(BlueskyCatalog):
    """A driver that YAML can name."""

    name = DRIVER

    def __init__(self, label: str = "", **kwargs: Any) -> None:
        self.label = label
        super().__init__(RUNS, **kwargs)


@pytest.fixture(autouse=True)
def driver(tmp_path: Path) -> Iterator[None]:
    intake.register_driver(DRIVER, SharedCatalog, clobber=True)
    RUNS.put(EXAMPLES["npy_seq"](tmp_path))
    yield
    intake.unregister_driver(DRIVER)
    for run in list(RUNS.find()):
        RUNS.remove(run.uid)
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that tells by being in `sys.modules` that it was imported."""
    (tmp_path / f"{PROBE}.py").write_text("def same(doc):\n    return doc\n\n\nclass Handler:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, PROBE, raising=False)
    return PROBE


def text_of(**args: Any) -> str:
    return yaml.safe_dump({"sources": {"runs": {"driver": DRIVER, "container": "catalog", "args": args}}})


def elsewhere(**args: Any) -> Any:
    """The entry of a YAML file that is not on this machine."""
    with fsspec.open(URL, "w") as file:
        file.write(text_of(**args))
    return intake.open_catalog(URL)["runs"]


def here(folder: Path, **args: Any) -> Any:
    path = folder / "catalog.yml"
    path.write_text(text_of(**args))
    return intake.open_catalog(str(path))["runs"]


class TestDottedNames:
    def test_transforms_of_a_local_file_are_imported(self, probe: str, tmp_path: Path) -> None:
        cat = here(tmp_path, transforms={"start": f"{probe}.same"}, handler_registry={"SPEC": f"{probe}:Handler"})
        assert probe not in sys.modules
        assert len(cat) == 1
        assert cat.handler_registry["SPEC"].__name__ == "Handler"

    def test_transforms_from_elsewhere_are_not(self, probe: str) -> None:
        cat = elsewhere(transforms={"start": f"{probe}.same"})
        for use in (len, list, lambda cat: cat[-1], lambda cat: cat.search({"scan_id": 1})[-1]):
            with pytest.raises(UntrustedName, match=r"transform of start.*cat\[name\]\(trust=True\)"):
                use(cat)
        assert probe not in sys.modules

    def test_handlers_from_elsewhere_are_not(self, probe: str) -> None:
        cat = elsewhere(handler_registry={"NPY_SEQ": f"{probe}.Handler"})
        with pytest.raises(UntrustedName, match="handler of 'NPY_SEQ'"):
            cat.handler_registry["NPY_SEQ"]
        with pytest.raises(UntrustedName, match="handler of 'NPY_SEQ'"):
            cat[-1].primary.read()
        assert probe not in sys.modules

    @pytest.mark.parametrize("argument", ["transforms", "handler_registry"])
    def test_nor_are_they_saved_where_they_would_be(self, argument: str, probe: str, tmp_path: Path) -> None:
        cat = elsewhere(**{argument: {"start": f"{probe}.same"}})
        for one in (cat, cat.search({"scan_id": 67}), pickle.loads(pickle.dumps(cat))):
            for save in (one.yaml, lambda one=one: one.save(str(tmp_path / "saved.yml"))):
                with pytest.raises(UntrustedName, match=f"{probe}.same"):
                    save()
        assert probe in cat(trust=True).yaml()
        assert (
            "databroker.assets"
            in elsewhere(handler_registry={"AD_HDF5": "databroker.assets.handlers.AreaDetectorHDF5Handler"}).yaml()
        )

    def test_what_is_saved_sends_nothing_of_this_user(self) -> None:
        args = {"paths": "s3://bucket/runs", "storage_options": {"endpoint_url": "https://evil"}}
        with fsspec.open(URL, "w") as file:
            file.write(yaml.safe_dump({"sources": {"runs": {"driver": "bluesky-jsonl-catalog", "args": args}}}))
        saved = yaml.safe_load(intake.open_catalog(URL)["runs"].yaml())["sources"]["runs"]["args"]
        assert saved["storage_options"]["anon"] is True

    def test_a_filler_class_is_never_imported(self, probe: str, tmp_path: Path) -> None:
        for cat in (elsewhere(filler_class=f"{probe}.Handler"), here(tmp_path, filler_class=f"{probe}.Handler")):
            assert cat[-1].scan_id == 67
        assert probe not in sys.modules

    def test_the_user_can_trust(self, probe: str) -> None:
        cat = elsewhere(transforms={"start": f"{probe}.same"})
        assert len(cat(trust=True)) == 1
        assert len(cat(trust=True).search({"scan_id": 67})) == 1
        assert len(pickle.loads(pickle.dumps(cat(trust=True)))) == 1

    @pytest.mark.parametrize(
        "more",
        [
            {"trust": True},
            {"trust": "yes"},
            {"metadata": {"catalog_dir": "/tmp/"}, "trust": True},
            {"metadata": {}, "trust": True},
        ],
    )
    def test_a_file_cannot_trust_itself(self, more: dict[str, Any], probe: str) -> None:
        cat = elsewhere(transforms={"start": f"{probe}.same"}, **more)
        for one in (cat, cat.search({"scan_id": 67}), pickle.loads(pickle.dumps(cat)), cat(label="x")):
            with pytest.raises(UntrustedName):
                len(one)
        assert probe not in sys.modules

    def test_nor_when_its_entry_is_opened_by_hand(self, probe: str) -> None:
        elsewhere(transforms={"start": f"{probe}.same"}, metadata={}, trust=True)
        entry = intake.open_catalog(URL)._entries["runs"]
        with pytest.raises(UntrustedName):
            len(entry.get())
        with pytest.raises(UntrustedName):
            len(entry())

    def test_nor_when_it_was_found_by_a_search(self, probe: str) -> None:
        elsewhere(transforms={"start": f"{probe}.same"}, metadata={}, trust=True)
        found = intake.open_catalog(URL, name="all").search("bluesky " + DRIVER, depth=1)
        with pytest.raises(UntrustedName):
            len(found["runs"])

    def test_a_folder_told_in_python_counts(self, probe: str, tmp_path: Path) -> None:
        transforms = {"start": f"{probe}.same"}
        far = SharedCatalog(transforms=transforms, metadata={"catalog_dir": "s3://bucket/"})
        with pytest.raises(UntrustedName):
            len(far)
        near = SharedCatalog(root_map={"/data": "moved"}, metadata={"catalog_dir": f"{tmp_path}/"})
        assert dict(near.root_map) == {"/data": f"{tmp_path}/moved"}


class TestFiles:
    def test_a_file_from_elsewhere_names_no_folder_of_this_machine(self, tmp_path: Path) -> None:
        cat = elsewhere(root_map={"/data": str(tmp_path)})
        with pytest.raises(UntrustedName, match="on this machine"):
            _ = cat.root_map
        with pytest.raises(UntrustedName, match=r"cat\[name\]\(trust=True\)"):
            cat[-1]
        assert dict(cat(trust=True).root_map) == {"/data": str(tmp_path)}

    def test_but_folders_beside_itself(self) -> None:
        assert dict(elsewhere(root_map={"/data": "moved"}).root_map) == {"/data": "memory:///elsewhere/moved"}

    def test_documents_from_elsewhere_name_no_local_file(self, tmp_path: Path) -> None:
        with pytest.raises(UntrustedName, match="trust the catalog"):
            elsewhere()[-1].primary.read()
        assert elsewhere()(trust=True)[-1].primary.read()["image"].shape[0] == 3
        assert here(tmp_path)[-1].primary.read()["image"].shape[0] == 3

    def test_nor_do_those_of_a_remote_store_in_a_local_catalog(self, tmp_path: Path) -> None:
        class Remote(MemoryStore):
            trusts_paths = False

        store = Remote([EXAMPLES["npy_seq"](tmp_path)])
        with pytest.raises(UntrustedName):
            BlueskyCatalog(store)[-1].primary.read()
        root = str(tmp_path.resolve())
        assert BlueskyCatalog(store, root_map={root: root})[-1].primary.read()["image"].shape[0] == 3
        assert BlueskyCatalog(store, trust=True)[-1].primary.read()["image"].shape[0] == 3


class TestWhatTheUserPasses:
    """It is the user's own, whatever the file is; and nothing that a file gives counts as passed."""

    OPENERS = (intake.open_catalog, open_catalog)

    @pytest.mark.parametrize("opener", OPENERS)
    def test_it_needs_no_trust(self, opener: Any, probe: str, tmp_path: Path) -> None:
        root, handlers = str(tmp_path.resolve()), {"NPY_SEQ": f"{probe}.Handler"}
        elsewhere(root_map={"/data": "/etc"}, handler_registry={"OTHER": "os.system"})
        cat = opener(URL)["runs"](root_map={root: root})
        assert dict(cat.root_map) == {root: root}
        found = cat.search({"scan_id": 67})
        again = pickle.loads(pickle.dumps(cat))
        for one in (cat, found, again, cat(label="x"), found(label="x"), again(label="x")):
            assert one[-1].primary.read()["image"].shape[0] == 3
            with pytest.raises(UntrustedName):
                one.handler_registry["OTHER"]
        own = opener(URL)["runs"](
            root_map={root: root}, handler_registry=handlers, transforms={"start": f"{probe}.same"}
        )
        assert own.handler_registry["NPY_SEQ"].__name__ == "Handler"
        assert len(own) == 1
        with pytest.raises(UntrustedName):
            len(
                opener(URL)["runs"](label="x", root_map={root: root})(root_map=None, handler_registry=None)[
                    -1
                ].primary.read()
            )

    def test_handlers_registered_by_hand(self, probe: str) -> None:
        cat = elsewhere(handler_registry={"OTHER": "os.system"})
        cat.register_handler("NPY_SEQ", f"{probe}.Handler")
        assert cat.handler_registry["NPY_SEQ"].__name__ == "Handler"
        with pytest.raises(UntrustedName):
            cat.handler_registry["OTHER"]

    @pytest.mark.parametrize("opener", OPENERS)
    @pytest.mark.parametrize(
        "more",
        [
            {"metadata": {"note": "{{ root_map }}"}},
            {"args": {"label": "{{ root_map }}"}},
            {"args": {"label": "{% if root_map %}x{% endif %}"}},
            {"args": {"metadata": {}, "trust": True}},
            {"parameters": {"root_map": {"description": "", "type": "dict", "default": {}}}},
        ],
    )
    def test_a_file_keeps_no_value_in_place_of_the_users(self, opener: Any, more: dict[str, Any], probe: str) -> None:
        args = {"root_map": {"/data": "/etc"}, "transforms": {"start": f"{probe}.same"}, **more.pop("args", {})}
        with fsspec.open(URL, "w") as file:
            yaml.safe_dump({"sources": {"runs": {"driver": DRIVER, "args": args, **more}}}, file)
        try:
            cat = opener(URL)["runs"](root_map={"/mine": "/my"})
        except StoreUnavailable:  # a template of a file from elsewhere knows declared parameters alone
            assert opener is open_catalog
            return
        for one in (cat, cat(label="x"), cat.search({}), cat.search({})(label="x"), pickle.loads(pickle.dumps(cat))):
            with suppress(UntrustedName):
                assert dict(one.root_map) == {"/mine": "/my"}
            with pytest.raises(UntrustedName):
                len(one)
        with pytest.raises(UntrustedName):
            len(pickle.loads(pickle.dumps(opener(URL)["runs"]))(label="x"))
        assert probe not in sys.modules


class TestEnvironment:
    @pytest.fixture(autouse=True)
    def secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET", "hunter2")

    def test_templates_from_elsewhere_do_not_see_it(self) -> None:
        elsewhere(label="{{ env(SECRET) }}")
        assert "hunter2" not in open_catalog(URL)["runs"].label
        assert open_catalog(URL, getenv=True)["runs"].label == "hunter2"

    def test_those_of_this_machine_do(self, tmp_path: Path) -> None:
        here(tmp_path, label="{{ env(SECRET) }}")
        for place in (tmp_path / "catalog.yml", str(tmp_path / "catalog.yml"), [str(tmp_path / "catalog.yml")]):
            assert open_catalog(place)["runs"].label == "hunter2"

    def test_no_shell(self, tmp_path: Path) -> None:
        for cat in (elsewhere(label="{{ shell('id') }}"), here(tmp_path, label="{{ shell('id') }}")):
            assert "uid=" not in cat.label


@pytest.mark.parametrize(
    ("url", "module", "package"),
    [
        ("http://localhost/c.yml", "http", "fsspec[http]"),
        ("simplecache::https://localhost/c.yml", "http", "fsspec[http]"),
        ("s3://bucket/c.yml", "s3fs", "s3fs>=2024.6"),
        ("gs://bucket/c.yml", "gcsfs", "fsspec[gcs]"),
        ("abfs://bucket/c.yml", "adlfs", "fsspec[abfs]"),
    ],
)
def test_a_package_of_fsspec_that_is_missing(
    url: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.registry import _registry

    for protocol in ("http", "https", "s3", "gs", "abfs"):
        monkeypatch.delitem(_registry, protocol, raising=False)
    monkeypatch.setattr(connect, "find_spec", lambda _: None)  # without obstore, which opens buckets by itself
    monkeypatch.setitem(sys.modules, "fsspec.implementations.http" if module == "http" else module, None)
    with pytest.raises(MissingDependency, match=f'pip install "{re.escape(package)}"'):
        open_catalog(url)
    best = package if module == "http" else "obstore>=0.8"  # and what else the extra has that is not installed
    with pytest.raises(MissingDependency, match=f'pip install "{re.escape(best)}"'):
        len(intake.open_bluesky_jsonl_catalog(url))
