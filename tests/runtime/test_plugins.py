"""The registry of plugins: found in real metadata, loaded late, broken ones reported, duplicates refused."""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from intake_bluesky.errors import PluginError
from intake_bluesky.runtime.plugins import PluginWarning, Registry

GROUP = "intake_bluesky.tests"
Install = Callable[..., Registry[object]]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a distribution (module and ``.dist-info``) into a folder; return a fresh registry."""

    def install(distribution: str, source: str, **names: str) -> Registry[object]:
        folder = tmp_path / distribution
        metadata = folder / f"{distribution}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (folder / f"{distribution}.py").write_text(source)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = [f"{name} = {distribution}:{attribute}" for name, attribute in names.items()]
        (metadata / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, distribution, raising=False)
        return Registry(GROUP)

    return install


def test_an_installed_plugin_is_found_and_loaded_on_first_use(install: Install) -> None:
    registry = install("late_plugin", "class Reader: ...", AD_LATE="Reader")

    assert registry.names() == ["AD_LATE"]
    assert "AD_LATE" in repr(registry)
    assert "late_plugin" not in sys.modules

    observed = registry["AD_LATE"]

    assert observed is sys.modules["late_plugin"].Reader
    assert registry["AD_LATE"] is observed
    assert dict(registry) == {"AD_LATE": observed}


def test_a_mimetype_with_an_equals_sign_is_announced_percent_encoded(install: Install) -> None:
    registry = install("mime_plugin", "class Reader: ...", **{"multipart/related;type%3Dimage/tiff": "Reader"})

    assert list(registry) == ["multipart/related;type=image/tiff"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no licence found')", "RuntimeError: no licence found"),
        ("import a_package_that_is_not_installed", "ModuleNotFoundError"),
        ("class Other: ...", "AttributeError"),
    ],
)
def test_a_broken_plugin_is_a_warning_and_hides_no_other(install: Install, source: str, reason: str) -> None:
    install("good_plugin", "class Reader: ...", GOOD="Reader")
    registry = install("bad_plugin", source, BAD="Reader")

    with pytest.warns(PluginWarning, match="bad_plugin") as caught:
        observed = list(registry)

    assert observed == ["GOOD"]
    assert len(caught) == 1
    assert reason in registry.problems["BAD"]
    assert registry.get("BAD") is None
    assert "BAD" not in registry
    with pytest.raises(PluginError, match="installed and broken: bad_plugin"):
        registry["BAD"]


def test_a_broken_plugin_is_tried_and_reported_once(install: Install) -> None:
    registry = install("bad_plugin", "raise RuntimeError", BAD="Reader")
    with pytest.warns(PluginWarning):
        registry.get("BAD")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert registry.get("BAD", "default") == "default"


def test_a_broken_plugin_is_replaced_without_asking(install: Install) -> None:
    registry = install("bad_plugin", "raise RuntimeError", BAD="Reader")
    with pytest.warns(PluginWarning):
        registry.register("BAD", int)

    assert registry["BAD"] is int


def test_different_objects_under_one_name_raise_and_are_settled_by_hand(install: Install) -> None:
    install("first_plugin", "class Reader: ...", AD_TWICE="Reader", FIRST="Reader")
    registry = install("second_plugin", "class Reader: ...", AD_TWICE="Reader")

    with pytest.raises(PluginError, match="first_plugin") as caught:
        registry["AD_TWICE"]
    assert "second_plugin" in str(caught.value)
    with pytest.raises(PluginError, match="announced by"):
        registry.get("AD_TWICE")
    assert list(registry) == ["AD_TWICE", "FIRST"]

    with pytest.raises(PluginError, match="overwrite=True"):
        registry.register("AD_TWICE", int)
    registry.register("AD_TWICE", int, overwrite=True)
    assert registry["AD_TWICE"] is int


def test_the_same_object_announced_twice_is_one_plugin(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = install("same_plugin", "class Reader: ...", SAME="Reader")
    metadata = tmp_path / "elsewhere" / "renamed_plugin-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: renamed_plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{GROUP}]\nSAME = same_plugin:Reader\n")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")

    assert registry["SAME"] is sys.modules["same_plugin"].Reader


def test_a_plugin_installed_later_is_seen_after_refresh(install: Install) -> None:
    registry = install("early_plugin", "class Reader: ...", EARLY="Reader")
    assert list(registry) == ["EARLY"]
    install("later_plugin", "class Reader: ...", LATER="Reader")
    assert list(registry) == ["EARLY"]

    registry.refresh()

    assert list(registry) == ["EARLY", "LATER"]


def test_a_name_taken_is_replaced_only_on_request() -> None:
    registry = Registry[object](values={"spec": int})

    registry.register("spec", int)
    with pytest.raises(PluginError, match="overwrite=True"):
        registry.register("spec", str)
    assert registry["spec"] is int
    registry.register("spec", str, overwrite=True)

    assert registry.get("spec") is str


def test_an_installed_name_is_taken_too(install: Install) -> None:
    registry = install("taken_plugin", "class Reader: ...", TAKEN="Reader")

    with pytest.raises(PluginError, match="overwrite=True"):
        registry.register("TAKEN", int)
    registry.register("TAKEN", int, overwrite=True)

    assert registry["TAKEN"] is int


def test_deregister_takes_out_both_kinds(install: Install) -> None:
    registry = install("gone_plugin", "class Reader: ...", GONE="Reader", KEPT="Reader")
    registry.register("by hand", int)

    registry.deregister("GONE")
    registry.deregister("by hand")
    registry.refresh()

    assert list(registry) == ["KEPT"]
    with pytest.raises(PluginError, match="there are: KEPT"):
        registry.deregister("GONE")
    registry.register("GONE", int)
    assert registry["GONE"] is int


def test_without_a_group_nothing_installed_is_found() -> None:
    assert list(Registry[type]()) == []
    with pytest.raises(PluginError, match="there are: none"):
        Registry[type]()["AD_HDF5"]


def test_a_copy_is_independent() -> None:
    original = Registry[type](values={"a": int, "b": int})
    duplicate = original.copy()

    duplicate.register("c", str)
    duplicate.deregister("a")

    assert list(original) == ["a", "b"]
    assert list(duplicate) == ["b", "c"]


def test_a_registry_pickles_to_what_was_done_by_hand(install: Install) -> None:
    registry = install("pickled_plugin", "class Reader: ...", GONE="Reader", KEPT="Reader")
    registry.register("by hand", int)
    registry.deregister("GONE")

    observed = pickle.loads(pickle.dumps(registry))

    assert dict(observed) == dict(registry)
    assert list(observed) == ["KEPT", "by hand"]
    assert pickle.dumps(observed) == pickle.dumps(registry)
