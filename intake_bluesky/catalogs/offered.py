"""A catalog in a listing: its name, its origin, and the way to open it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import intake

from intake_bluesky.catalogs.run_catalog import open_catalog
from intake_bluesky.errors import (
    IntakeBlueskyError,
    MissingDependency,
    PluginError,
    StoreUnavailable,
    UnsupportedOperation,
)
from intake_bluesky.runtime.plugins import origin

__all__ = ["Installed", "Offered", "YamlSource", "installed"]


@dataclass(frozen=True, slots=True, eq=False)
class Offered(ABC):
    """A catalog by name; making it opens and imports nothing.

    Attributes
    ----------
    name : str
    where : str
        The YAML file, or the package and its entry point.
    driver : str or None
        Name of the driver; None where it is known only after opening.
    description : str or None
    """

    name: str
    where: str
    driver: str | None = None
    description: str | None = None

    @property
    def installed(self) -> bool | None:
        """Whether Intake knows the driver; None where that cannot be found out without importing."""
        # A dotted driver is a class: whether it is there is known by importing it, which a listing does not do.
        if self.driver is None or ("." in self.driver and self.driver not in intake.registry):
            return None
        return self.driver in intake.registry

    @abstractmethod
    def open(self) -> Any:
        """Open it.

        Raises
        ------
        StoreUnavailable, PluginError, MissingDependency, UnsupportedOperation
        """

    def yaml(self) -> str:
        """A configuration file of databroker in Intake's YAML, passwords left out.

        Raises
        ------
        UnsupportedOperation
            When it is no such file, or no driver can open what it names.
        """
        raise UnsupportedOperation(f"{self.name!r} of {self.where} is no configuration file of databroker")


@dataclass(frozen=True, slots=True, eq=False)
class Installed(Offered):
    """A catalog that an installed package announces; opening it imports that package."""

    entry_point: EntryPoint = field(kw_only=True)

    def open(self) -> Any:
        try:
            return self.entry_point.load()
        except Exception as error:
            raise PluginError(
                f"the catalog {self.name!r} is installed and broken: {self.where} raised {type(error).__name__}: "
                f"{error}. Repair that package"
            ) from error


def installed(group: str) -> list[Installed]:
    """The catalogs that packages announce, those that win first; imports none of them.

    >>> installed("no_such_group")
    []
    """
    return [Installed(each.name, origin(each), entry_point=each) for each in entry_points(group=group)]


@dataclass(frozen=True, slots=True, eq=False)
class YamlSource(Offered):
    """A source of one of Intake's YAML files."""

    def open(self) -> Any:
        if self.installed is False:
            raise MissingDependency(
                f"{self.name!r} of {self.where} needs the driver {self.driver!r}, which no installed package "
                "announces: install the package that has it"
            )
        try:
            catalog = open_catalog(self.where)
        except IntakeBlueskyError as error:
            raise type(error)(f"{self.name!r} of {self.where} cannot be opened: {error}") from None
        try:
            return catalog[self.name]
        except (IntakeBlueskyError, OSError):
            raise
        except Exception as error:  # Intake and drivers raise whatever they do
            raise StoreUnavailable(
                f"{self.name!r} of {self.where} cannot be opened: {type(error).__name__}: {error}"
            ) from error
