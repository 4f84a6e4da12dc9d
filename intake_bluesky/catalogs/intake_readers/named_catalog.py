"""A catalog of runs as a reader names it: a source of a YAML file, or a driver and its arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from intake.catalog.local import YAMLFileCatalog

from intake_bluesky.catalogs.drivers import DRIVERS
from intake_bluesky.catalogs.intake_readers.secret_arguments import secret_arguments
from intake_bluesky.catalogs.yaml_files.catalog import open_catalog
from intake_bluesky.catalogs.yaml_files.named_entry import named_entry
from intake_bluesky.errors import MissingDependency, StoreUnavailable, UnsupportedOperation
from intake_bluesky.runtime.secrets import shown
from intake_bluesky.runtime.trust import import_dotted, is_local

if TYPE_CHECKING:
    from intake_bluesky.catalogs.run_catalog import BlueskyCatalog

__all__ = ["catalog_name", "open_named", "with_order"]

OF_A_SEARCH: Final = frozenset({"query", "sort", "read_at_most"})
"""Arguments that choose among runs, of which a reader has one by its uid: all searches give the same reader."""


def catalog_name(catalog: BlueskyCatalog) -> dict[str, Any]:
    """Name the catalog so that another process opens it.

    The source of a YAML file is named where the file gives this catalog: what that has of credentials stays there.

    Raises
    ------
    UnsupportedOperation
        When the catalog was made of a store object, or with credentials, which a reader does not hold.
    """
    file = _file_with(catalog)
    if file is not None:
        return file
    driver, args = _driver_and_args(catalog)
    if secret := secret_arguments(catalog):
        raise UnsupportedOperation(
            f"{catalog!r} was opened with credentials in {', '.join(secret)}, which a reader does not hold: write a "
            "YAML file with this catalog, in which {{ env(NAME) }} stands for them, and open it by that"
        )
    return {"args": args, "driver": driver}


def _driver_and_args(catalog: BlueskyCatalog) -> tuple[str, dict[str, Any]]:
    (source,) = catalog._yaml()["sources"].values()
    return source["driver"], {name: value for name, value in source["args"].items() if name not in OF_A_SEARCH}


def _file_with(catalog: BlueskyCatalog) -> dict[str, Any] | None:
    """The source of a YAML file that gives this catalog, or None."""
    parent, name = catalog.cat, catalog.name
    path = getattr(parent, "path", None)
    if not isinstance(parent, YAMLFileCatalog) or not isinstance(path, (str, os.PathLike)) or not name or "." in name:
        return None
    place = os.fspath(path)
    if shown(place) != place or name not in parent._entries:
        return None
    # A user may have passed other arguments than those of the file.
    found = parent[name]
    if not hasattr(type(found), "selection") or _identity(found) != _identity(catalog):
        return None
    is_path = is_local(place) and "://" not in place
    return {"entry": name, "file": os.path.abspath(os.path.expanduser(place)) if is_path else place}


def _identity(catalog: BlueskyCatalog) -> tuple[Any, ...]:
    return *_driver_and_args(catalog), {name: catalog._secrets.get(name) for name in secret_arguments(catalog)}


def open_named(name: Mapping[str, Any]) -> BlueskyCatalog:
    """Open the catalog that a reader names.

    Raises
    ------
    StoreUnavailable
        When it is not there, or is no catalog of runs.
    MissingDependency
        When its driver is not installed.
    UnsupportedOperation
        When the name is not of one of the two forms.
    """
    if name.keys() == {"file", "entry"}:
        where = f"{name['file']}:{name['entry']}"
        found = named_entry(open_catalog(name["file"]), name["entry"], where)
    elif name.keys() == {"driver", "args"}:
        where = name["driver"]
        found = _made(where, _with_mappings(name["args"]))
    else:
        raise UnsupportedOperation(
            "a reader names its catalog by file and entry, or by driver and args, not by "
            f"{', '.join(name) or 'nothing'}"
        )
    if not hasattr(type(found), "selection"):
        raise StoreUnavailable(f"{shown(where)} is a {type(found).__name__}, and no catalog of runs")
    return found  # type: ignore[no-any-return]  # Intake has no types


def _made(driver: str, args: Mapping[str, Any]) -> Any:
    announced = DRIVERS.get(driver)
    if announced is not None:
        return announced(**args)
    if "." not in driver:
        raise MissingDependency(f"a reader needs the driver {driver!r}, which no installed package announces")
    # Of this process's own file, or of one that Intake opened: that imports what it names.
    return import_dotted(driver, purpose="the driver of a reader", trusted=True)(**args)


def with_order(value: Any) -> Any:
    """The sources of federations as lists: in YAML Intake sorts mappings, and the first source has precedence."""
    if isinstance(value, Mapping):
        ordered = {name: with_order(one) for name, one in value.items()}
        sources = ordered.get("sources")
        if isinstance(sources, Mapping):
            ordered["sources"] = [{name: one} for name, one in sources.items()]
        return ordered
    return [with_order(one) for one in value] if isinstance(value, (list, tuple)) else value


def _with_mappings(value: Any) -> Any:
    if isinstance(value, Mapping):
        named = {name: _with_mappings(one) for name, one in value.items()}
        sources = named.get("sources")
        if isinstance(sources, list) and all(isinstance(one, dict) and len(one) == 1 for one in sources):
            named["sources"] = {name: one for source in sources for name, one in source.items()}
        return named
    return [_with_mappings(one) for one in value] if isinstance(value, (list, tuple)) else value
