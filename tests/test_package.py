"""The package as a whole: what it offers, what importing it costs, and what it announces to Intake."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from importlib.metadata import EntryPoint, distribution, entry_points
from pathlib import Path

import pytest

import intake_bluesky
from intake_bluesky.assets.reader_registry import BUILT_IN
from intake_bluesky.catalogs.file_catalog import FileCatalog
from tests.packaging.check_distribution import lines_of_the_readme

HEAVY = {"dask", "h5py", "numpy", "pandas", "pymongo", "sqlalchemy", "xarray"}

PUBLIC = [
    "BlueskyCatalog",
    "BlueskyRun",
    "BlueskyStream",
    "Comparison",
    "Config",
    "Contains",
    "Data",
    "DataKey",
    "Device",
    "Eq",
    "Exists",
    "FullText",
    "Fuzzy",
    "In",
    "Key",
    "NotEq",
    "NotIn",
    "PartialUID",
    "RawMongo",
    "Regex",
    "ScanID",
    "ScanIDRange",
    "Start",
    "Stop",
    "Stream",
    "TextQuery",
    "TimeRange",
    "__version__",
    "catalog",
    "errors",
    "ingest",
    "open_catalog",
    "query",
    "validate",
]

NAMES = {
    "bucket": "intake_bluesky_bucket:BlueskyBucketCatalog",
    "federated": "intake_bluesky.catalogs.federated:BlueskyFederatedCatalog",
    "jsonl": "intake_bluesky_jsonl:BlueskyJSONLCatalog",
    "msgpack": "intake_bluesky_msgpack:BlueskyMsgpackCatalog",
    "simulation": "intake_bluesky_simulation:BlueskySimulationCatalog",
    "sql": "intake_bluesky_sql:BlueskySQLCatalog",
    "zarr": "intake_bluesky_zarr:BlueskyZarrCatalog",
    "mongo-normalized": "intake_bluesky_mongo:BlueskyMongoNormalizedCatalog",
    "mongo-embedded": "intake_bluesky_mongo:BlueskyMongoEmbeddedCatalog",
}
DRIVERS = {f"bluesky-{name}-catalog": place for name, place in NAMES.items()}
DRIVERS |= {name.replace("-", "_"): place for name, place in DRIVERS.items()}
DRIVERS |= {
    f"{package}.{module}.{name}": DRIVERS[f"bluesky-{driver}-catalog"]
    for package in ("databroker._drivers", "intake_bluesky")
    for module, name, driver in (
        ("jsonl", "BlueskyJSONLCatalog", "jsonl"),
        ("msgpack", "BlueskyMsgpackCatalog", "msgpack"),
        ("mongo_normalized", "BlueskyMongoCatalog", "mongo-normalized"),
        ("mongo_embedded", "BlueskyMongoCatalog", "mongo-embedded"),
        ("mongo_layout1", "BlueskyMongoCatalog", "mongo-normalized"),
    )
}


def modules_of(statement: str) -> set[str]:
    """Names of the modules that a fresh interpreter holds after `statement`."""
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def loaded_by(statement: str) -> set[str]:
    """Names of the top-level modules among them."""
    return {name.partition(".")[0] for name in modules_of(statement)}


def driver_entry_points() -> dict[str, EntryPoint]:
    announced = distribution("bluesky-intake").entry_points.select(group="intake.drivers")
    return {each.name: each for each in announced}


def test_the_public_names_are_these() -> None:
    assert intake_bluesky.__all__ == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_can_be_had_and_is_listed(name: str) -> None:
    assert getattr(intake_bluesky, name) is not None
    assert name in dir(intake_bluesky)


def test_type_checkers_are_told_the_same_names() -> None:
    tree = ast.parse(Path(intake_bluesky.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]

    observed = {alias.name for node in imports for alias in node.names}

    assert observed == set(PUBLIC) - {"__version__"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'BlueskyTable'"):
        _ = intake_bluesky.BlueskyTable


def test_open_catalog_is_that_of_intake_with_an_environment_kept_to_itself(tmp_path: Path) -> None:
    import intake

    from intake_bluesky.catalogs.run_catalog import open_catalog

    (tmp_path / "empty.yml").write_text("sources: {}", encoding="utf-8")
    assert intake_bluesky.open_catalog is open_catalog
    path = str(tmp_path / "empty.yml")
    assert isinstance(intake_bluesky.open_catalog(path), type(intake.open_catalog(path)))


def test_the_version_is_that_of_the_installed_distribution() -> None:
    assert distribution("bluesky-intake").version == intake_bluesky.__version__


def test_importing_loads_nothing_heavy_that_intake_does_not_load() -> None:
    observed = loaded_by("import intake, intake_bluesky") & HEAVY
    expected = loaded_by("import intake") & HEAVY

    assert observed == expected


@pytest.mark.parametrize("place", sorted(NAMES.values()))
def test_a_driver_loads_nothing_that_reads_runs(place: str) -> None:
    package, _, catalog = place.partition(":")
    observed = modules_of(f"import intake, {package}; {package}.{catalog}") - modules_of("import intake")

    readers = {f"intake_bluesky.assets.{place.partition(':')[0]}" for place in BUILT_IN}
    late = {f"intake_bluesky.{name}" for name in ("assets.array", "files", "index", "query.text_form")}
    late |= {"intake_bluesky.search.residual", "intake_bluesky.search.statistics_cache"}
    others = {"dask", "event_model", "h5py", "platformdirs", "pymongo", "sqlalchemy", "tqdm", "xarray"}
    assert observed & {*readers, *late, *others} == set()
    assert package in observed


def test_catalogs_of_files_announce_the_suffix_of_their_format() -> None:
    catalogs = [entry.load() for entry in driver_entry_points().values()]
    observed = {each.suffixes: each.store_class().codec.suffixes for each in catalogs if issubclass(each, FileCatalog)}
    endings = {(".jsonl", ".ndjson", ".json"), (".msgpack",)}
    assert observed == {each: each for each in endings}


@pytest.mark.parametrize("module", ["errors", "query", "runtime.plugins"])
def test_the_light_modules_load_nothing_heavy(module: str) -> None:
    assert loaded_by(f"import intake_bluesky.{module}") & HEAVY == set()


def test_intake_is_told_of_each_driver_by_name_and_by_identifier() -> None:
    assert {name: each.value for name, each in driver_entry_points().items()} == DRIVERS


def test_each_driver_knows_the_name_by_which_yaml_files_name_it() -> None:
    classes = {entry.load() for entry in driver_entry_points().values()}
    assert {each.name for each in classes} == {f"bluesky-{name}-catalog" for name in NAMES}


def test_a_file_lists_and_opens_its_catalogs_where_the_packages_of_others_are_missing(tmp_path: Path) -> None:
    page = "sources:\n" + "".join(
        f"  {name}: {{driver: bluesky-{name}-catalog, args: {{paths: .}}}}\n" for name in NAMES
    )
    (tmp_path / "facility.yml").write_text(page, encoding="utf-8")
    program = f"""
import sys
sys.modules.update(dict.fromkeys(["sqlalchemy", "pymongo", "bson"]))
import intake
facility = intake.open_catalog({str(tmp_path / "facility.yml")!r})
print(*facility, len(facility.jsonl))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == [*NAMES, "0"]


@pytest.mark.parametrize("name", sorted(DRIVERS))
def test_each_announced_driver_can_be_loaded(name: str) -> None:
    assert issubclass(driver_entry_points()[name].load(), intake_bluesky.BlueskyCatalog)


def test_no_other_package_takes_our_driver_names() -> None:
    owners = {
        each.dist.name
        for each in entry_points(group="intake.drivers")
        if each.name in DRIVERS and each.dist is not None
    }
    assert owners == {"bluesky-intake"}


def test_the_source_folder_of_the_drivers_is_not_a_package() -> None:
    installed = distribution("bluesky-intake").read_text("top_level.txt") or ""
    assert "drivers" not in installed.split()


def test_every_installed_package_says_that_it_is_typed() -> None:
    installed = (distribution("bluesky-intake").read_text("top_level.txt") or "").split()
    assert "intake_bluesky" in installed
    for name in installed:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        assert (Path(spec.origin).parent / "py.typed").is_file(), name


def test_six_lines_of_the_readme_lead_to_a_picture() -> None:
    typed, lines = lines_of_the_readme()  # which `make distribution` types
    assert lines <= 6
    assert typed.startswith("git clone")
    assert ".plot()" in typed
