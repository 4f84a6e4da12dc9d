"""Sources of YAML files: those of files from elsewhere run nothing, and name registered drivers alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any, Final

import intake
from intake.catalog.entry import CatalogEntry
from intake.catalog.local import CatalogParser, LocalCatalogEntry, YAMLFileCatalog, YAMLFilesCatalog
from intake.catalog.utils import expand_defaults

from intake_bluesky.catalogs.drivers import DriverCatalog
from intake_bluesky.catalogs.older_packages import PACKAGES, without_older_plugins
from intake_bluesky.catalogs.yaml_files.templates import render
from intake_bluesky.errors import IntakeBlueskyError, StoreUnavailable, UntrustedName
from intake_bluesky.runtime.secrets import names_secret
from intake_bluesky.runtime.trust import TRUST, check_remote, origin_of, without_credentials

__all__ = ["RefusedEntry", "SourceParser", "YAMLEntry"]

# Intake warns so of each default of a parameter that is a text, whether or not it names a command.
warnings.filterwarnings("ignore", "Shell command not executed due to getshell=False")

NESTED: Final = frozenset(
    {"path", "flatten", "name", "description", "metadata", "ttl", "autoreload", "storage_options"}
)
"""Arguments that a file from elsewhere may give another file: not ``getenv``, ``getshell``, ``trust``, ``text``."""


class RefusedEntry(CatalogEntry):  # type: ignore[misc]  # Intake ships no types
    """A source that is listed and not opened, because of what it names."""

    _container = None

    def __init__(self, name: str, why: str) -> None:
        super().__init__()
        self.name, self._why = name, why
        self._user_parameters: list[Any] = []

    def describe(self) -> dict[str, Any]:
        """Describe it by its name and the reason."""
        return {
            "name": self.name, "container": None, "plugin": [], "driver": [], "description": self._why,
            "direct_access": "forbid", "user_parameters": [], "metadata": {}, "args": {},
        }  # fmt: skip

    def get(self, **kwargs: Any) -> Any:
        """Raise `UntrustedName`, with the reason."""
        raise UntrustedName(f"{self.name!r} of a catalog from elsewhere {self._why}")


class YAMLEntry(LocalCatalogEntry):  # type: ignore[misc]  # Intake has no types
    """A source of a YAML file.

    Parameters
    ----------
    *args, **kwargs
        Of Intake's entry.
    trusted : bool
        Whether Intake fills in the templates, and arguments are taken as they are.
    trust : bool
        Whether the user said so.
    """

    passed_wins = True
    """What the user passes to an entry of a file from elsewhere replaces what the file gives, in every case."""

    def __init__(self, *args: Any, trusted: bool, trust: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.trusted, self.trust = trusted, trust

    def _create_open_args(self, user_parameters: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if not self._plugin:
            raise StoreUnavailable(f"{self._name!r} needs the driver {self._driver!r}, {_lacking_driver(self._driver)}")
        given, said = dict(user_parameters), self.trust or bool(user_parameters.get("trust"))
        try:
            plugin, args = super()._create_open_args(user_parameters) if self.trusted else self._rendered(given)
        except IntakeBlueskyError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever templates and parameters raise
            # Not as a cause: a traceback of jinja shows the lines of the template.
            told = f"{type(error).__name__}: {self._without_values(str(error), given)}"
            raise StoreUnavailable(f"the arguments of {self._name!r} cannot be made: {told}") from None
        nested = _NESTED.get(plugin)
        if nested is None:
            return plugin, args
        if not self.trusted:
            args = {name: value for name, value in args.items() if name in NESTED or name in given}
            _check_nested(self._name, args, given)
            if self.getenv and _stays_at(origin_of(self._catalog_dir), args.get("path")):
                args["getenv"] = True  # which the user said of a file of the same server
        return nested, {**args, "trust": said}

    def _rendered(self, given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The class and its arguments, templates filled in from the declared parameters alone."""
        plugin = given.pop("plugin", None) or next(iter(self._plugin))
        more: Mapping[str, Any] = {}
        if isinstance(self._plugin, dict):
            more, plugin = self._driver[plugin].get("args", {}), self._plugin[plugin]
        declared = {one.name: one for one in self._user_parameters}
        folder = _without_user(self._catalog_dir)
        context = {"CATALOG_DIR": folder}
        for name, one in declared.items():
            value = given.get(name, one.default)
            if isinstance(value, str) and name not in given and self.getenv:
                value = expand_defaults(value, getenv=True)
            if value is not None:
                context[name] = one.validate(value)
        args = render({**self._open_args, **more}, context, getenv=self.getenv)
        if folder != self._catalog_dir:
            args = _with_user(args, origin_of(folder), origin_of(self._catalog_dir))
        args |= {name: value for name, value in given.items() if name not in declared or name in args}
        args |= {name: one.validate(args[name]) for name, one in declared.items() if name in args}
        metadata = {**render(self._metadata, context, getenv=self.getenv), **(args.get("metadata") or {})}
        args["metadata"] = {**metadata, "catalog_dir": self._catalog_dir}
        own = getattr(self._filesystem, "storage_options", None)
        if own and "storage_options" not in args and _stays_at(origin_of(self._catalog_dir), args):
            args["storage_options"] = own
        return plugin, args

    def _without_values(self, told: str, given: Mapping[str, Any]) -> str:
        """A message without the values of parameters that are secrets by their names."""
        values = {one.name: one.default for one in self._user_parameters} | dict(given)
        for name, value in values.items():
            if value and names_secret(name):
                told = told.replace(str(value), "...")
        return told


def _without_user(url: str) -> str:
    """A URL without user and password: a template could put them into the address of another server."""
    scheme, mark, rest = url.partition("://")
    server, slash, path = rest.partition("/")
    return f"{scheme}{mark}{server.rpartition('@')[2]}{slash}{path}"


def _with_user(value: Any, origin: str, full: str) -> Any:
    """Arguments whose URLs of one server have the user and password by which the file was opened."""
    if isinstance(value, dict):
        return {key: _with_user(item, origin, full) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_with_user(item, origin, full) for item in value)
    return full + value.removeprefix(origin) if isinstance(value, str) and origin_of(value) == origin else value


def _stays_at(origin: str, value: Any) -> bool:
    """Whether all URLs in an argument are of one server: the user's options for the file are for no other."""
    if isinstance(value, Mapping):
        return all(_stays_at(origin, item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(_stays_at(origin, item) for item in value)
    return not isinstance(value, str) or "://" not in value or origin_of(value) == origin


def _check_nested(name: str, args: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse another YAML file that is on this machine; send this user's credentials to no other."""
    if "path" in given:
        return
    paths = args.get("path")
    several = [str(path) for path in ([paths] if isinstance(paths, str) else paths or ())]
    for path in several:
        check_remote(path, f"the file of {name!r}")
    if len({path.partition("://")[0] for path in several}) > 1:  # one set of options cannot keep all kinds from it
        raise UntrustedName(f"{name!r} of a catalog from elsewhere names files on servers of several kinds. {TRUST}")
    if several and "storage_options" not in given:
        args["storage_options"] = without_credentials(several[0], args.get("storage_options"))


def _lacking_driver(driver: Any) -> str:
    known = sorted(name for name in intake.registry if "bluesky" in name and "_" not in name)
    near = get_close_matches(str(driver), known, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"which no installed package has: {meant}Those of Bluesky runs are {', '.join(known)}"


_NESTED: Final[dict[type, type]] = {}
"""Intake's catalogs of YAML files, and those of this package in their place."""


def opens_nested(catalog: type, in_place_of: type) -> None:
    """Open a kind of YAML catalog that a source names by a class of this package."""
    _NESTED[in_place_of] = _NESTED[catalog] = catalog


class SourceParser(CatalogParser):  # type: ignore[misc]  # Intake has no types
    """Intake's reader of the sources of a file; entries are `YAMLEntry`, or `RefusedEntry` with the reason."""

    def __init__(self, data: Any, *, trusted: bool, trust: bool, **kwargs: Any) -> None:
        self._marks = {"trusted": trusted, "trust": trust}
        reduced = without_older_plugins if trusted or not isinstance(data, dict) else _without_plugins
        super().__init__(reduced(data), **kwargs)

    def _parse_data_source(self, name: str, data: dict[str, Any]) -> Any:
        if not self._marks["trusted"]:
            why = _refused(data)
            if why:
                return RefusedEntry(name, f"{why}. {TRUST}")
        entry = super()._parse_data_source(name, data)
        if type(entry) is not LocalCatalogEntry:  # `cls` makes a source at once, `remote` none
            return entry
        return YAMLEntry(*entry._captured_init_args, **entry._captured_init_kwargs, **self._marks)


def _without_plugins(data: dict[str, Any]) -> dict[str, Any]:
    """A file that imports nothing: of packages of Bluesky, drivers are found by their names."""
    plugins = data.get("plugins", {})
    sources = plugins.get("source") if isinstance(plugins, dict) else None
    modules = [one.get("module") if isinstance(one, dict) else None for one in sources or [plugins] if one]
    if any(str(module).partition(".")[0] not in PACKAGES for module in modules):
        raise UntrustedName(f"a catalog from elsewhere imports modules of its choice, by 'plugins'. {TRUST}")
    return {name: value for name, value in data.items() if name != "plugins"}


def _refused(source: dict[str, Any]) -> str | None:
    """Why a source is not opened; the names of drivers become those that are registered."""
    if "cls" in source:
        return f"is of the Python class {source['cls']!r}, by 'cls'"
    drivers = source.get("driver")
    if isinstance(drivers, dict):
        several = [each.get("class") if isinstance(each, dict) else None for each in drivers.values()]
    else:
        several = list(drivers) if isinstance(drivers, list) else [drivers]
    for driver in several:
        if not isinstance(driver, str):
            return "names a driver that is no text"
        known = _registered(driver)
        if known is None and "." in driver:
            return f"names the Python object {driver!r} as its driver, which no installed package has registered"
        if known is not None and not _is_known(intake.registry[known]):
            return f"is opened by the driver {driver!r}, which is neither of Bluesky runs nor of YAML files"
    if isinstance(drivers, str):
        source["driver"] = _registered(drivers) or drivers
    elif isinstance(drivers, list):
        source["driver"] = [_registered(each) or each for each in drivers]
    return None


def _is_known(driver: Any) -> bool:
    return isinstance(driver, type) and issubclass(driver, (DriverCatalog, YAMLFileCatalog, YAMLFilesCatalog))


def _registered(driver: str) -> str | None:
    """The name under which a driver is registered, of its name or the dotted name of its class; imports nothing."""
    if driver in intake.registry:
        return driver
    dotted = {one.value.replace(":", "."): one.name for one in entry_points(group="intake.drivers")}
    return dotted.get(driver.replace(":", "."))
