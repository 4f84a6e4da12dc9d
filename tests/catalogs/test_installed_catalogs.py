"""The catalogs of a machine: real folders, a real installed package, the command in a process of its own."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import intake
import pytest
from intake.config import conf

import intake_bluesky
from intake_bluesky.apps.cli import main
from intake_bluesky.apps.cli.open_catalog import find_catalog
from intake_bluesky.catalogs import CatalogLocation, InstalledCatalogs, search_path
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog, open_catalog
from intake_bluesky.errors import CatalogNotFound, MissingDependency, PluginError, RunNotFound, StoreUnavailable
from intake_bluesky.testing.runs import EXAMPLES

JSONL = "bluesky-jsonl-catalog"
NOT_YAML = "it is no YAML: line 1, column 11: expected the node content, but found '<stream end>'"


def yaml_of(*names: str, paths: str = "{{ CATALOG_DIR }}/runs", description: str = "") -> str:
    told = f"description: '{description}', " if description else ""
    return "sources:\n" + "".join(
        f"  {name}: {{driver: {JSONL}, {told}args: {{paths: '{paths}'}}}}\n" for name in names
    )


def put(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def write_runs(folder: Path) -> None:
    folder.mkdir(parents=True)
    with open_catalog(str(folder), driver=JSONL).writer() as write:
        for example in ("count", "scan"):
            for name, doc in EXAMPLES[example](folder):
                write(name, doc)


def put_package(folder: Path) -> None:
    """What installing a package does that announces a catalog, and one that is broken."""
    put(folder, "facility_catalogs.py", f"import intake\nhard_xray = intake.open_catalog('runs', driver='{JSONL}')\n")
    put(folder / "facility_catalogs-1.0.dist-info", "METADATA", "Metadata-Version: 2.1\nName: facility-catalogs\n")
    put(
        folder / "facility_catalogs-1.0.dist-info",
        "entry_points.txt",
        "[intake.catalogs]\nhard_xray = facility_catalogs:hard_xray\nsoft_xray = facility_catalogs:gone\n",
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user and an environment of their own; what is in /etc of this machine stays out."""
    for name, folder in {
        "HOME": "home",
        "XDG_DATA_HOME": "home/.local/share",
        "XDG_DATA_DIRS": "site",
        "INTAKE_BLUESKY_CACHE": "cache",
    }.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    for name in ("VIRTUAL_ENV", "INTAKE_PATH", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setitem(conf, "catalog_path", [])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))
    write_runs(tmp_path / "yaml" / "runs")
    put(tmp_path / "yaml", "beamlines.yml", yaml_of("hard_xray", "soft_xray", description="A beamline"))
    return tmp_path / "yaml"


class TestSearchPath:
    def test_customary_folders(self, home: Path) -> None:
        expected = [
            home / "home/.config/databroker",
            home / "prefix/etc/databroker",
            Path("/etc/databroker"),
            home / "home/.local/share/intake",
            home / "prefix/share/intake",
            home / "site/intake",
        ]
        assert [Path(place.path) for place in search_path()] == expected

    def test_settings_of_intake(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        customary = search_path()
        monkeypatch.setitem(conf, "catalog_path", [str(home / "a"), str(home / "b.yml")])
        monkeypatch.setenv("INTAKE_PATH", os.pathsep.join([str(home / "c"), "", "~/d"]))
        expected = [
            CatalogLocation(str(home / "a"), "catalog_path of Intake's configuration"),
            CatalogLocation(str(home / "b.yml"), "catalog_path of Intake's configuration"),
            CatalogLocation(str(home / "c"), "INTAKE_PATH"),
            CatalogLocation(str(home / "home/d"), "INTAKE_PATH"),
        ]
        assert search_path() == customary + expected

    def test_path_as_text(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """``INTAKE_CATALOG_PATH=/a:/b`` arrives as text, which Intake itself takes letter by letter."""
        monkeypatch.setitem(conf, "catalog_path", f"{home}/a:{home}/b:s3://bucket")
        assert [place.path for place in search_path()[-3:]] == [f"{home}/a", f"{home}/b", "s3://bucket"]

    def test_each_folder_once(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        customary = search_path()
        monkeypatch.setenv("VIRTUAL_ENV", str(home / "prefix"))
        monkeypatch.setenv("INTAKE_PATH", str(home / "home/.local/share/../share/intake"))
        assert search_path() == customary

    def test_windows(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from intake_bluesky.catalogs.installed import search_path

        monkeypatch.setattr("intake_bluesky.catalogs.installed.search_path.os.name", "nt")
        monkeypatch.setenv("APPDATA", str(home / "AppData"))
        assert list(search_path._of_databroker()) == [str(home / "AppData" / "databroker")]

    def test_what_is_found_where(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, place in {
            "user_configuration": "home/.config/databroker",
            "environment_configuration": "prefix/etc/databroker",
            "user": "home/.local/share/intake",
            "environment": "prefix/share/intake",
            "machine": "site/intake",
            "by_path": "path",
        }.items():
            put(home / place, "some.yaml", yaml_of(name))
        put(home, "own.yml", yaml_of("by_file"))
        monkeypatch.setenv("INTAKE_PATH", f"{home / 'path'}:{home / 'own.yml'}")
        observed = {name: one.where for name, one in intake_bluesky.catalog.offered.items()}
        assert observed["by_file"] == str(home / "own.yml")
        assert {name: Path(path).parent.relative_to(home).as_posix() for name, path in observed.items()} == {
            "user_configuration": "home/.config/databroker",
            "environment_configuration": "prefix/etc/databroker",
            "user": "home/.local/share/intake",
            "environment": "prefix/share/intake",
            "machine": "site/intake",
            "by_path": "path",
            "by_file": ".",
        }

    def test_a_setting_that_names_nothing(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("INTAKE_PATH", str(home / "gone"))
        (observed,) = intake_bluesky.catalog.problems
        assert (observed.where, observed.message) == (
            str(home / "gone"),
            "there is no such folder or file; INTAKE_PATH names it",
        )

    def test_another_machine_is_not_asked(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(conf, "catalog_path", ["s3://bucket/catalogs"])
        (observed,) = intake_bluesky.catalog.problems
        assert observed.where == "s3://bucket/catalogs"
        assert "open_catalog" in observed.message


class TestMapping:
    def test_names(self, folder: Path) -> None:
        catalog = InstalledCatalogs([folder], group=None)
        assert list(catalog) == ["hard_xray", "soft_xray"]
        assert len(catalog) == 2
        assert "hard_xray" in catalog
        assert "nothing" not in catalog
        assert catalog._ipython_key_completions_() == list(catalog)
        assert {"hard_xray", "soft_xray", "problems", "keys"} <= set(dir(catalog))

    def test_open(self, folder: Path) -> None:
        catalog = InstalledCatalogs([folder], group=None)
        for observed in (catalog["hard_xray"], catalog.hard_xray, catalog.get("hard_xray")):
            assert isinstance(observed, BlueskyCatalog)
            assert (observed.name, observed.description, len(observed)) == ("hard_xray", "A beamline", 2)
        assert len(pickle.loads(pickle.dumps(catalog.hard_xray))) == 2

    def test_unknown_name(self, folder: Path) -> None:
        catalog = InstalledCatalogs([folder], group=None)
        with pytest.raises(CatalogNotFound, match=f"'tender'; there are: hard_xray, soft_xray. .*{folder}"):
            catalog["tender"]
        with pytest.raises(AttributeError, match="'tender'"):
            _ = catalog.tender
        with pytest.raises(AttributeError):
            _ = catalog._repr_latex_
        assert catalog.get("tender") is None
        assert isinstance(CatalogNotFound(), KeyError)

    def test_a_run_and_an_entry_through_dots(self, folder: Path) -> None:
        put(
            folder,
            "facility.yml",
            "sources: {facility: {driver: yaml_file_cat, args: {path: '{{ CATALOG_DIR }}/beamlines.yml'}}}",
        )
        catalog = InstalledCatalogs([folder / "facility.yml"], group=None)
        assert len(catalog["facility.hard_xray"]) == 2
        newest = catalog["facility.hard_xray"][-1]
        assert catalog[f"facility.hard_xray.{newest.uid}"] == newest
        with pytest.raises(CatalogNotFound, match="'facility' has no entry 'tender'; it has: hard_xray, soft_xray"):
            catalog["facility.tender"]
        with pytest.raises(RunNotFound):
            catalog["facility.hard_xray.zzz"]

    def test_a_name_with_dots(self, folder: Path) -> None:
        put(folder, "dots.yml", yaml_of("v1.2"))
        catalog = InstalledCatalogs([folder], group=None)
        assert len(catalog["v1.2"]) == 2
        assert catalog[f"v1.2.{catalog['v1.2'][-1].uid}"].scan_id == 2

    def test_files_that_come_change_and_go(self, folder: Path) -> None:
        catalog = InstalledCatalogs([folder], group=None)
        assert list(catalog) == ["hard_xray", "soft_xray"]
        path = put(folder, "more.yaml", yaml_of("more"))
        assert list(catalog) == ["hard_xray", "more", "soft_xray"]
        put(folder, "more.yaml", yaml_of("other"))
        assert list(catalog) == ["hard_xray", "other", "soft_xray"]
        path.unlink()
        assert list(catalog) == ["hard_xray", "soft_xray"]

    def test_files_are_read_once(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        catalog = InstalledCatalogs([folder], group=None)
        assert len(catalog) == 2

        def refuse(path: str) -> None:
            raise AssertionError(f"{path} was read again")

        monkeypatch.setattr("intake_bluesky.catalogs.installed.mapping.read_file", refuse)
        assert len(catalog) == 2

    def test_listing_opens_and_imports_nothing(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("a catalog was opened")

        put(folder, "plugin.yml", f"plugins: {{source: [{{module: facility_catalogs}}]}}\n{yaml_of('own')}")
        put_package(folder)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setattr("intake_bluesky.catalogs.offered.open_catalog", refuse)
        catalog = InstalledCatalogs([folder])
        assert list(catalog) == ["hard_xray", "own", "soft_xray"]
        assert repr(catalog).startswith("<3 installed catalogs>")
        assert {one.driver for one in catalog.offered.values()} == {JSONL, None}
        assert "facility_catalogs" not in sys.modules

    def test_the_first_wins(self, folder: Path) -> None:
        second = put(folder.parent / "second", "a.yml", yaml_of("hard_xray", "third"))
        catalog = InstalledCatalogs([folder, second.parent], group=None)
        assert list(catalog) == ["hard_xray", "soft_xray", "third"]
        assert catalog.offered["hard_xray"].where == str(folder / "beamlines.yml")
        assert [(one.name, one.where) for one in catalog.hidden] == [("hard_xray", str(second))]
        assert catalog.problems == ()
        assert InstalledCatalogs([second, folder], group=None).offered["hard_xray"].where == str(second)

    def test_repr(self, folder: Path) -> None:
        put(folder, "broken.yml", "sources: [")
        assert repr(InstalledCatalogs([folder], group=None)).splitlines() == [
            "<2 installed catalogs>",
            f"  hard_xray  {folder / 'beamlines.yml'}",
            f"  soft_xray  {folder / 'beamlines.yml'}",
            f"  problem: {folder / 'broken.yml'}: {NOT_YAML}",
        ]
        html = InstalledCatalogs([folder], group=None)._repr_html_()
        assert all(text in html for text in (">hard_xray<", JSONL, str(folder / "beamlines.yml"), "broken.yml"))
        put(folder, "many.yml", yaml_of(*(f"beamline_{number:02}" for number in range(60))))
        assert repr(InstalledCatalogs([folder], group=None)).count("beamline_") == 40

    def test_pickles_and_compares_by_where_it_looks(self, folder: Path) -> None:
        catalog = InstalledCatalogs([folder], group=None)
        copy = pickle.loads(pickle.dumps(catalog))
        assert (copy, hash(copy), list(copy)) == (catalog, hash(catalog), list(catalog))
        assert catalog != InstalledCatalogs([folder])
        assert pickle.loads(pickle.dumps(intake_bluesky.catalog)) == intake_bluesky.catalog


BROKEN = {
    "empty": ("", "it is empty"),
    "a list": ("[1, 2]", "it holds a list, no mapping"),
    "no yaml": ("password: 'swordfish\nmore: [", "it is no YAML: line 2"),
    "twice": ("sources: {a: {driver: x}, a: {driver: y}}", "it is no YAML: duplicate key found on line 1, column 27"),
    "unquoted template": ("sources: {a: {driver: x, args: {{ CATALOG_DIR }}}}", "'{{ ... }}', has to be quoted"),
    "date": ("sources: {a: {driver: x, description: 2020-13-45}}", "it is no YAML: month must be in 1..12"),
    "neither": ("beamline: HXN", "it has neither Intake's 'sources' nor databroker's 'metadatastore'"),
    "no driver": ("sources: {good: {driver: x}, bad: {args: {password: swordfish}}}", "'bad': has no driver"),
    "no mapping": ("sources: {bad: 3}", "'bad': is no mapping"),
    "number": ("sources: {3: {driver: x}}", "3: the name is no text"),
    "args": ("sources: {bad: {driver: x, args: [1]}}", "'bad': has args that are no mapping"),
    "version 2": ("version: 2", "it says version 2 and has no 'entries'"),
}


class TestWhatIsBroken:
    @pytest.mark.parametrize("name", BROKEN)
    def test_it_hides_nothing_and_says_why(self, name: str, folder: Path) -> None:
        text, words = BROKEN[name]
        path = put(folder, "broken.yml", text)
        catalog = InstalledCatalogs([folder], group=None)
        assert list(catalog) == ["hard_xray", "soft_xray"]
        (observed,) = catalog.problems
        assert observed.where == str(path)
        assert words in observed.message
        assert "swordfish" not in observed.message
        with pytest.raises(StoreUnavailable) as caught:
            catalog["broken"]
        assert str(path) in str(caught.value)
        assert words in str(caught.value)

    def test_names_of_a_broken_file(self, folder: Path) -> None:
        put(folder, "broken.yml", BROKEN["no driver"][0])
        catalog = InstalledCatalogs([folder], group=None)
        for name in ("good", "bad"):
            with pytest.raises(StoreUnavailable, match="'bad': has no driver"):
                catalog[name]
            assert name not in catalog

    def test_bytes(self, folder: Path) -> None:
        (folder / "broken.yml").write_bytes(b"name: \xff\xfe")
        assert InstalledCatalogs([folder]).problems[0].message == "it is no text in UTF-8"

    @pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights there")
    def test_a_link_to_nowhere_is_no_file(self, folder: Path) -> None:
        (folder / "dangling.yml").symlink_to(folder / "gone.yml")
        assert InstalledCatalogs([folder], group=None).problems == ()

    def test_a_folder_that_cannot_be_listed(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: str) -> None:
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr("intake_bluesky.catalogs.installed.search_path.os.scandir", refuse)
        (observed,) = InstalledCatalogs([folder], group=None).problems
        assert observed.message == "this folder cannot be listed: Permission denied"

    def test_what_only_intake_finds_wrong(self, folder: Path) -> None:
        put(
            folder,
            "odd.yml",
            "sources: {odd: {driver: csv, direct_access: perhaps, args: {storage_options: {key: swordfish}}}}",
        )
        with pytest.raises(StoreUnavailable, match=r"'odd' of .*odd.yml cannot be opened: .*perhaps") as caught:
            InstalledCatalogs([folder], group=None)["odd"]
        assert "swordfish" not in str(caught.value)
        assert caught.value.__suppress_context__

    def test_driver_that_is_not_installed(self, folder: Path) -> None:
        put(folder, "mongo.yml", "sources: {mongo: {driver: bluesky-nowhere-catalog}}")
        catalog = InstalledCatalogs([folder], group=None)
        assert catalog.offered["mongo"].installed is False
        assert catalog.offered["hard_xray"].installed is True
        with pytest.raises(MissingDependency, match="needs the driver 'bluesky-nowhere-catalog'"):
            catalog["mongo"]

    def test_driver_by_dotted_name(self, folder: Path) -> None:
        text = yaml_of("dotted").replace(JSONL, "intake_bluesky_jsonl.BlueskyJSONLCatalog")
        put(folder, "dotted.yml", text)
        catalog = InstalledCatalogs([folder], group=None)
        assert catalog.offered["dotted"].installed is None
        assert len(catalog["dotted"]) == 2


def test_files_of_intake_2(folder: Path) -> None:
    table = put(folder, "table.csv", "a,b\n1,2\n")
    new = intake.readers.entry.Catalog()
    new["table"] = intake.readers.readers.PandasCSV(intake.readers.datatypes.CSV(str(table)))
    new.to_yaml_file(str(folder / "new.yaml"))
    catalog = InstalledCatalogs([folder], group=None)
    assert list(catalog) == ["hard_xray", "soft_xray", "table"]
    assert catalog.offered["table"].driver == "intake.readers.readers:PandasCSV"
    assert catalog["table"].read()["b"].tolist() == [2]


class TestInstalledPackage:
    @pytest.fixture
    def package(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        put_package(folder.parent / "site-packages")
        monkeypatch.syspath_prepend(folder.parent / "site-packages")
        monkeypatch.delitem(sys.modules, "facility_catalogs", raising=False)
        monkeypatch.chdir(folder)
        return folder

    def test_it_comes_first(self, package: Path) -> None:
        catalog = InstalledCatalogs([package])
        offered = catalog.offered["hard_xray"]
        assert (offered.where, offered.driver) == ("facility-catalogs (facility_catalogs:hard_xray)", None)
        assert [one.name for one in catalog.hidden] == ["hard_xray", "soft_xray"]
        assert len(catalog["hard_xray"]) == 2

    def test_a_broken_one_says_why(self, package: Path) -> None:
        with pytest.raises(PluginError, match=r"installed and broken: facility-catalogs \(facility_catalogs:gone\)"):
            InstalledCatalogs([package])["soft_xray"]

    def test_another_group(self, package: Path) -> None:
        assert list(InstalledCatalogs([], group="no.such.group")) == []


WHAT_INTAKE_OFFERS = """
import intake, intake_bluesky, sys
assert "intake_bluesky.catalogs" not in sys.modules
offered = set(intake.cat)
assert {"hard_xray", "soft_xray", "of_the_user", "of_the_path"} <= offered, offered
assert offered <= set(intake_bluesky.catalog), (offered, intake_bluesky.catalog)
assert type(intake.cat["of_the_user"]) is type(intake_bluesky.catalog["of_the_user"])
print(intake_bluesky.catalog.offered["of_the_path"].where)
"""


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """Environment of a process that has catalogs of all kinds."""
    put_package(tmp_path / "site-packages")
    write_runs(tmp_path / "home/.local/share/intake/runs")
    put(tmp_path / "home/.local/share/intake", "user.yml", yaml_of("of_the_user", description="Mine [not markup]"))
    put(tmp_path / "path", "path.yaml", yaml_of("of_the_path"))
    return {
        **{name: value for name, value in os.environ.items() if name not in ("INTAKE_PATH", "CONDA_PREFIX")},
        "HOME": str(tmp_path / "home"),
        "XDG_DATA_HOME": str(tmp_path / "home/.local/share"),
        "VIRTUAL_ENV": str(tmp_path / "venv"),
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "site-packages"), os.environ.get("PYTHONPATH", "")]),
        "INTAKE_BLUESKY_CACHE": str(tmp_path / "cache"),
        "INTAKE_CATALOG_PATH": repr([str(tmp_path / "path")]),
    }


def process(folder: Path, environment: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *argv]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


def test_what_intake_offers_is_offered(machine: dict[str, str], tmp_path: Path) -> None:
    done = process(tmp_path, machine, "-c", WHAT_INTAKE_OFFERS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "path" / "path.yaml")


def test_a_file_that_keeps_intake_from_offering_anything(machine: dict[str, str], tmp_path: Path) -> None:
    put(tmp_path / "path", "broken.yaml", "sources: {a: 3}")
    code = "import intake_bluesky as ib; assert len(ib.catalog.of_the_user) == 2; import intake; list(intake.cat)"
    done = process(tmp_path, machine, "-c", code)
    assert done.returncode == 1
    assert "ValidationError" in done.stderr


class TestCommand:
    def test_table(self, machine: dict[str, str], tmp_path: Path) -> None:
        done = process(tmp_path, machine, "-m", "intake_bluesky.apps.cli", "catalogs")
        assert (done.returncode, done.stderr) == (0, "")
        header, *rows, total = done.stdout.splitlines()
        assert header.split() == ["name", "driver", "where", "from", "description"]
        assert [row.split()[:3] for row in rows] == [
            ["hard_xray", "-", "facility-catalogs"],
            ["of_the_path", JSONL, str(tmp_path / "path" / "path.yaml")],
            ["of_the_user", JSONL, str(tmp_path / "home/.local/share/intake/user.yml")],
            ["soft_xray", "-", "facility-catalogs"],
        ]
        assert rows[2].endswith("Mine [not markup]")
        assert total == "4 catalogs"

    def test_ls_of_a_name(self, machine: dict[str, str], tmp_path: Path) -> None:
        done = process(tmp_path, machine, "-m", "intake_bluesky.apps.cli", "ls", "of_the_user")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith("2 runs\n")

    @pytest.fixture
    def here(self, home: Path) -> Path:
        put(home / "home/.local/share/intake", "user.yml", yaml_of("mine", "unread").replace("unread", "x-ray"))
        write_runs(home / "home/.local/share/intake/runs")
        return home

    def test_problems(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        broken = put(here / "home/.local/share/intake", "broken.yml", "sources: [")
        hidden = put(here / "prefix/share/intake", "second.yml", yaml_of("mine"))
        put(here / "home/.local/share/intake", "new.yml", "sources: {new: {driver: bluesky-nowhere-catalog}}")
        assert main(["catalogs"]) == 1
        out, err = capsys.readouterr()
        assert out.endswith("3 catalogs\n")
        assert "bluesky-nowhere-catalog (not installed)" in out
        user = here / "home/.local/share/intake/user.yml"
        assert err.splitlines() == [
            f"intake-bluesky: 'mine' of {hidden} is hidden by that of {user}",
            f"intake-bluesky: {broken}: {NOT_YAML}",
        ]
        broken.unlink()
        assert main(["catalogs"]) == 0

    def test_json(self, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
        broken = put(here / "home/.local/share/intake", "broken.yml", "")
        second = put(here / "prefix/share/intake", "second.yml", yaml_of("mine"))
        assert main(["catalogs", "--json"]) == 1
        out, err = capsys.readouterr()
        observed = json.loads(out)
        assert err == ""
        assert observed["catalogs"][0] == {
            "name": "mine",
            "driver": JSONL,
            "installed": True,
            "where": str(here / "home/.local/share/intake/user.yml"),
            "description": None,
        }
        assert [one["where"] for one in observed["hidden"]] == [str(second)]
        assert observed["problems"] == [{"where": str(broken), "message": "it is empty"}]

    def test_without_rich(
        self, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "rich", None)
        assert main(["catalogs"]) == 2
        assert 'pip install "rich>=13.7"' in capsys.readouterr().err
        assert main(["catalogs", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["catalogs"][0]["name"] == "mine"

    def test_none(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["catalogs"]) == 0
        assert capsys.readouterr().out.endswith("0 catalogs\n")

    def test_a_name_where_a_catalog_is_asked_for(self, here: Path) -> None:
        assert len(find_catalog("mine")) == len(find_catalog("x-ray")) == 2
        put(
            here / "home/.local/share/intake",
            "facility.yml",
            "sources:\n  facility: {driver: yaml_file_cat, args: {path: '{{ CATALOG_DIR }}/user.yml'}}\n"
            "  notes: {driver: textfiles, args: {urlpath: '{{ CATALOG_DIR }}/*.txt'}}\n",
        )
        assert len(find_catalog("facility.mine")) == 2
        for name, words in {
            "facility": "choose one of its entries, facility.mine, facility.x-ray",
            "notes": "'notes' is a TextFilesSource, not a catalog of Bluesky runs",
            "gone": "gone is no catalog: no YAML file, no folder, .* there are: mine, x-ray, facility, notes|facility",
            "facility.gone": "'facility' has no entry 'gone'",
        }.items():
            with pytest.raises(StoreUnavailable, match=words):
                find_catalog(name)

    def test_what_is_here_comes_before_names(self, here: Path) -> None:
        (here / "mine").mkdir()
        with pytest.raises(StoreUnavailable, match="mine is no catalog: it has no files of"):
            find_catalog("mine")
