"""Configuration files of databroker 0.x and 1, ``metadatastore`` and ``assets``: opened, or as Intake's YAML."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import intake
import yaml

from intake_bluesky.catalogs.databroker.mongo_address import DatabrokerAddress, mongo_address
from intake_bluesky.catalogs.offered import Offered
from intake_bluesky.errors import (
    DISTRIBUTION,
    IntakeBlueskyError,
    MissingDependency,
    StoreUnavailable,
    UnsupportedOperation,
)

__all__ = ["Configuration", "is_configuration", "read_configuration"]

MONGO: Final = "bluesky-mongo-normalized-catalog"
MSGPACK: Final = "bluesky-msgpack-catalog"
MODULES: Final = ("databroker.headersource.mongo", "databroker.assets.mongo")
FILES: Final[Mapping[str, str]] = {
    "databroker.headersource.sqlite": "SQLite files",
    "databroker.headersource.hdf5": "HDF5 files",
    "databroker.headersource.mongoquery": "JSON files",
}


def is_configuration(data: Mapping[Any, Any]) -> bool:
    """Whether a YAML file is databroker's, not Intake's."""
    return "sources" not in data and ("metadatastore" in data or "assets" in data)


@dataclass(frozen=True, slots=True, eq=False)
class Configuration(Offered):
    """A configuration file of databroker, as a catalog by the file's name.

    Attributes
    ----------
    root_map : mapping
    data_roots : tuple of str
    transforms : mapping
    handlers : mapping of spec to dotted name
    """

    root_map: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    data_roots: tuple[str, ...] = field(default=(), kw_only=True)
    transforms: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    handlers: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def yaml(self) -> str:
        arguments = {**self._shown(), "root_map": dict(self.root_map), "data_roots": list(self.data_roots)}
        arguments["transforms"] = dict(self.transforms)
        arguments["handler_registry"] = dict(self.handlers)
        source = {
            "driver": self.driver,
            "container": "catalog",
            "description": self.description,
            "args": {name: value for name, value in arguments.items() if value},
        }
        source = {name: value for name, value in source.items() if value}
        return yaml.safe_dump({"sources": {self.name: source}}, sort_keys=False, width=1000)

    @abstractmethod
    def _shown(self) -> dict[str, Any]:
        """The arguments of the driver that locate the runs."""


@dataclass(frozen=True, slots=True, eq=False)
class InMongo(Configuration):
    """Runs in MongoDB, which a driver opens as they are."""

    runs: DatabrokerAddress = field(kw_only=True, repr=False)
    assets: DatabrokerAddress = field(kw_only=True, repr=False)

    def open(self) -> Any:
        if not self.installed:
            raise MissingDependency(
                f"{self.name!r} is a configuration file of databroker ({self.where}) for MongoDB, and its driver, "
                f"{self.driver}, is not installed: install {DISTRIBUTION} again, in a version that has this driver. "
                f"{self._advice()}:\n{self.yaml()}"
            )
        given = {
            "description": self.description,
            "root_map": dict(self.root_map),
            "data_roots": list(self.data_roots),
            "transforms": dict(self.transforms),
        }
        options = {name: value for name, value in given.items() if value}
        try:
            catalog = intake.registry[MONGO](self.runs.uri, self.assets.uri, name=self.name, **options)
            for spec, handler in self.handlers.items():  # added to those that are installed, as databroker did
                catalog.register_handler(spec, handler, overwrite=True)
        except IntakeBlueskyError:
            raise
        except Exception as error:  # noqa: BLE001 - a driver may raise anything, with the URI in it
            told = f"{type(error).__name__}: {self._without_secrets(str(error))}"
            # `from None`: a traceback would show the driver's message, with the URI in it.
            raise StoreUnavailable(f"{self.name!r} of {self.where} cannot be opened: {told}") from None
        return catalog

    def _advice(self) -> str:
        if not (self.runs.secret or self.assets.secret):
            return "The same in Intake's YAML, to stand in its place"
        return (
            "The same in Intake's YAML, to stand in its place; user and password are left out: set the environment "
            "variables that it names (percent-encoded), and fill in what is '...'"
        )

    def _shown(self) -> dict[str, Any]:
        same = (self.runs.user, self.runs.password) == (self.assets.user, self.assets.password)
        return {
            "metadatastore_db": self.runs.shown("MONGO"),
            "asset_registry_db": self.assets.shown("MONGO" if same else "MONGO_ASSETS"),
        }

    def _without_secrets(self, text: str) -> str:
        for address in (self.runs, self.assets):
            text = address.secrets.hide(text.replace(address.uri, address.shown("MONGO")))
        return text


@dataclass(frozen=True, slots=True, eq=False)
class InFiles(Configuration):
    """Runs in files of databroker 0.x, which nothing else reads."""

    kind: str = field(kw_only=True)
    folder: str = field(kw_only=True)

    def open(self) -> Any:
        raise UnsupportedOperation(
            f"{self.name!r} is a configuration file of databroker ({self.where}) for runs in {self.kind} in "
            f"{self.folder}, which databroker 0.x wrote and only its code reads: export them once, in an environment "
            "with databroker 1 and suitcase-msgpack, by "
            f"suitcase.msgpack.export(run.documents(), {self._exported()!r}) for each run in "
            f"databroker.Broker.named({self.name!r})(). Then, in Intake's YAML, to stand in its place:\n"
            f"{self.yaml()}"
        )

    def _exported(self) -> str:
        return os.path.join(self.folder, "msgpack")

    def _shown(self) -> dict[str, Any]:
        return {"paths": [os.path.join(self._exported(), "*.msgpack")]}


@dataclass(frozen=True, slots=True, eq=False)
class Unknown(Configuration):
    """Runs stored by a class that is not known here."""

    classes: tuple[str, str] = field(kw_only=True)

    def open(self) -> Any:
        raise UnsupportedOperation(
            f"{self.name!r} is a configuration file of databroker ({self.where}) for {' and '.join(self.classes)}, "
            f"which have no driver here: known are {' with '.join(MODULES)}, and {', '.join(FILES)}"
        )

    def _shown(self) -> dict[str, Any]:
        self.open()  # raises: without a driver there is no YAML
        return {}


def read_configuration(name: str, path: str, data: Mapping[str, Any]) -> Configuration:
    """Read a configuration file's content; imports nothing that it names.

    Raises
    ------
    ValueError
        When parts are missing or wrong.

    Examples
    --------
    >>> part = {"class": "MDS", "config": {"host": "localhost", "port": 27017, "database": "runs"}}
    >>> found = read_configuration("hx", "hx.yml", {
    ...     "metadatastore": {"module": "databroker.headersource.mongo", **part},
    ...     "assets": {"module": "databroker.assets.mongo", **part, "class": "Registry"},
    ... })
    >>> print(found.yaml())
    sources:
      hx:
        driver: bluesky-mongo-normalized-catalog
        container: catalog
        args:
          metadatastore_db: mongodb://localhost:27017/runs
          asset_registry_db: mongodb://localhost:27017/runs
    <BLANKLINE>
    """
    runs, assets = _part(data, "metadatastore"), _part(data, "assets")
    description = data.get("description")
    facts: dict[str, Any] = {
        "description": None if description is None else str(description),
        "root_map": _mapping(data, "root_map"),
        "data_roots": _roots(data),  # of this package: databroker has no such key
        "transforms": _mapping(data, "transforms"),
        "handlers": {spec: _handler(spec, handler) for spec, handler in _mapping(data, "handlers").items()},
    }
    modules = (runs["module"], assets["module"])
    if modules == MODULES:
        databases = mongo_address(runs["config"], "metadatastore"), mongo_address(assets["config"], "assets")
        return InMongo(name, path, MONGO, **facts, runs=databases[0], assets=databases[1])
    if runs["module"] in FILES:
        folder = str(runs["config"].get("directory") or os.path.dirname(path))
        return InFiles(name, path, MSGPACK, **facts, kind=FILES[runs["module"]], folder=folder)
    classes = (f"{runs['module']}.{runs['class']}", f"{assets['module']}.{assets['class']}")
    return Unknown(name, path, **facts, classes=classes)


def _part(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = _mapping(data, name)
    if not isinstance(part.get("module"), str) or not isinstance(part.get("class"), str):
        raise ValueError(f"it is a configuration file of databroker whose {name!r} names no module and class")
    return {**part, "config": _mapping(part, "config")}


def _mapping(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"it is a configuration file of databroker whose {name!r} is no mapping")
    return value


def _roots(data: Mapping[str, Any]) -> tuple[str, ...]:
    roots = data.get("data_roots") or []
    if not isinstance(roots, list) or not all(isinstance(root, str) for root in roots):
        raise ValueError("it is a configuration file of databroker whose 'data_roots' is no list of folders")
    return tuple(roots)


def _handler(spec: str, handler: Any) -> str:
    if not isinstance(handler, dict) or not {"module", "class"} <= handler.keys():
        raise ValueError(
            f"it is a configuration file of databroker whose handler of {spec!r} names no module and class"
        )
    return f"{handler['module']}.{handler['class']}"
