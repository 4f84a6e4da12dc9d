"""The arguments of a catalog as Intake stores and shows them: by name, in forms that YAML takes, without secrets."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import yaml
from intake.catalog.base import Catalog

from intake_bluesky.catalogs.argument_checks import check_arguments
from intake_bluesky.catalogs.argument_source import ArgumentSource
from intake_bluesky.catalogs.drivers import DRIVERS
from intake_bluesky.catalogs.entries import IntakeObject
from intake_bluesky.catalogs.older_packages import OLDER_HANDLERS
from intake_bluesky.errors import UnsupportedOperation, UntrustedName
from intake_bluesky.query import Query, to_json
from intake_bluesky.runtime.secrets import without_secrets
from intake_bluesky.storage.contract import RunStore

__all__ = ["KeepsArguments", "plain_argument", "whole_places"]

PLACES: Final = frozenset({"paths", "directory", "urlpath", "uri"})
"""Arguments that name files."""


class KeepsArguments(IntakeObject):
    """A catalog that describes itself, and makes another like it, by its arguments.

    Intake remembers every argument, and pickles, compares and shows what it remembers. Here that is the form without
    secrets; the arguments as they were given stay in this process, for `configure_new`.
    """

    WITHOUT_SECRETS: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"storage_options": without_secrets}
    """Arguments that may hold secrets, and what makes of each the form that is shown; a driver adds its own."""

    root_map: Any
    _entry: Any
    _captured_init_args: Any
    _captured_init_kwargs: Any
    _secrets: Mapping[str, Any] = {}  # arguments as given, of those that are shown otherwise

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # Before any driver makes its store of them.
        names = list(signature(cls.__init__).parameters)[1:]
        check_arguments(cls, {**dict(zip(names, args, strict=False)), **kwargs})
        return super().__new__(cls, *args, **kwargs)

    def _keep_arguments(self) -> None:
        """Take the secrets out of what Intake captured."""
        # By name, whether given by place or not: what is hidden is found by its name, and YAML has names alone.
        _, *names = signature(type(self).__init__).parameters
        given = {**dict(zip(names, self._captured_init_args, strict=False)), **self._captured_init_kwargs}
        kept = {
            name: self.WITHOUT_SECRETS[name](value) if name in self.WITHOUT_SECRETS and value is not None else value
            for name, value in given.items()
        }
        self._secrets = {name: given[name] for name in kept.keys() & self.WITHOUT_SECRETS if kept[name] != given[name]}
        self._captured_init_args, self._captured_init_kwargs = (), kept

    def configure_new(self, **kwargs: Any) -> Any:
        """The catalog itself, or with arguments a new one that has them."""
        if not kwargs:
            return self
        # Intake would pass on what it captured, without secrets. A catalog of a YAML file is made again from its entry,
        # which has its own secrets; then only those that the user passed are missing.
        again = self._secrets if self._entry is None else self._secrets.keys() & self.__dict__.get("_passed_kwargs", ())
        given = {**{name: self._secrets[name] for name in again}, **kwargs}
        # Past Intake's own, which takes a parameter of the whole file for one of this catalog, and leaves it out.
        new = super(Catalog, self).configure_new(**given)  # type: ignore[misc]
        source: ArgumentSource = self._source  # type: ignore[attr-defined]  # of `KnowsItsSource`
        if self._entry is None and not source.trusted:  # of a search, or unpickled: the arguments are of a file
            new._source_kept = source.passing(kwargs)
        return new

    __call__ = get = configure_new

    def describe(self) -> dict[str, Any]:
        """Describe the catalog as Intake does, without secrets that its YAML file may give; reads nothing."""
        if self._entry is None:
            return super().describe()
        told: dict[str, Any] = self._entry.describe()
        hidden = {name: self._captured_init_kwargs[name] for name in self._secrets if name in told["args"]}
        return {**told, "args": {**told["args"], **hidden}}

    def _yaml(self) -> dict[str, Any]:
        data: dict[str, Any] = super()._yaml()  # type: ignore[misc]  # Intake's
        (source,) = data["sources"].values()
        if any(isinstance(value, RunStore) for value in source["args"].values()):
            raise UnsupportedOperation(
                f"{self!r} was made of a store object, which YAML cannot name: open it by a driver"
            )
        if not self._source.trusted:  # type: ignore[attr-defined]  # of `KnowsItsSource`
            source["args"] |= self._of_this_machine(source["args"])
        if "root_map" in source["args"]:  # resolved: relative values are of the file that it was read from
            source["args"]["root_map"] = self.WITHOUT_SECRETS["root_map"](self.root_map)
        if "data_roots" in source["args"]:
            roots = self._settings.data_roots(self._source)  # type: ignore[attr-defined]  # of the catalog
            source["args"]["data_roots"] = self.WITHOUT_SECRETS["data_roots"](roots)
        source["args"] = {name: plain_argument(value) for name, value in source["args"].items() if name != "metadata"}
        source["args"] = whole_places(source["args"])
        name = type(self).name
        if DRIVERS.get(name) is type(self):  # of what no package announces, as a subclass, the class is named
            source["driver"] = name
        # `catalog_dir` is added by Intake when it opens the file, and would be of another place in a saved one.
        source["metadata"] = plain_argument({k: v for k, v in source["metadata"].items() if k != "catalog_dir"})
        return {"sources": {self.name or type(self).name: source}}

    def _of_this_machine(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """What a file from elsewhere gave, as a file of this machine may have it, which will be trusted."""
        source: ArgumentSource = self._source  # type: ignore[attr-defined]  # of `KnowsItsSource`
        given = {name: value for name, value in args.items() if name not in source.users}
        for name in ("handler_registry", "transforms"):
            objects = [one for one in (given.get(name) or {}).values() if isinstance(one, str)]
            unknown = [one for one in objects if one.replace(":", ".") not in OLDER_HANDLERS]
            if unknown:
                raise UntrustedName(
                    f"a catalog from elsewhere names {', '.join(map(repr, unknown))} in {name}, which would run once "
                    f"saved in a file of this machine: pass {name} yourself, or open the catalog with trust=True"
                )
        return dict(type(self).from_elsewhere(given))  # type: ignore[attr-defined]  # of the driver

    def serialize(self) -> str:
        """YAML of a file with this catalog as its one source, query included, secrets left out: `save` writes it."""
        return yaml.safe_dump({"metadata": {}, **self._yaml()}, sort_keys=False)


def whole_places(args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with whole paths, also of the sources of a federation.

    Relative ones are so to the working directory, and what is saved may be opened in another.

    Examples
    --------
    >>> whole_places({"paths": ["s3://bucket/runs", "/data"], "name": "x"})
    {'paths': ['s3://bucket/runs', '/data'], 'name': 'x'}
    """
    whole = {name: _from_anywhere(value) if name in PLACES else value for name, value in args.items()}
    sources = args.get("sources")
    if isinstance(sources, Mapping):
        whole["sources"] = {
            name: {**one, "args": whole_places(one["args"])}
            if isinstance(one, Mapping) and isinstance(one.get("args"), Mapping)
            else one
            for name, one in sources.items()
        }
    return whole


def _from_anywhere(place: Any) -> Any:
    if isinstance(place, list):
        return [_from_anywhere(one) for one in place]
    if not isinstance(place, str):
        return place
    scheme, slashes, file = place.partition(":///") if place.startswith("sqlite") else ("", "", place)
    if not file or ":" in file:  # a URL, a disk of Windows
        return place
    return f"{scheme}{slashes}{os.path.abspath(os.path.expanduser(file))}"


def plain_argument(value: Any) -> Any:
    """An argument in a form that YAML takes and the constructor too."""
    if isinstance(value, Query):
        return json.loads(to_json(value))
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain_argument(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_argument(item) for item in value]
    # Handlers and transforms may be given as dotted names, too, so this is how the constructor takes them back.
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return value
