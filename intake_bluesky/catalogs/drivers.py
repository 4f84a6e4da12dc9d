"""What the installed drivers open: files by their endings and first bytes, URLs by their schemes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, Self, TypeVar

from intake_bluesky.errors import PluginError
from intake_bluesky.runtime.plugins import Registry

__all__ = ["DRIVERS", "DriverCatalog", "driver_of", "opened_by"]

T = TypeVar("T", str, bytes)


class DriverCatalog:
    """A catalog class that a package announces as a driver, and what it opens.

    Examples
    --------
    >>> class RunsCatalog(DriverCatalog):
    ...     suffixes = (".runs",)
    ...     def __init__(self, path):
    ...         self.path = path
    >>> RunsCatalog.from_location("all.runs").path
    'all.runs'
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Endings of files, that which it writes first, without that of a compression: ``(".jsonl", ".ndjson")``."""
    signatures: ClassVar[tuple[bytes, ...]] = ()
    """First bytes of files, where they identify a format better than an ending; up to 16."""
    url_schemes: ClassVar[tuple[str, ...]] = ()
    """Schemes of URLs: ``("mongodb", "mongodb+srv")``."""

    folder_schemes: ClassVar[tuple[str, ...]] = ()
    """Schemes of URLs of folders: ``("s3", "gs")``."""
    folder_marks: ClassVar[tuple[str, ...]] = ()
    """Names of what is in a folder of this machine that it opens as a whole: ``("_index",)``."""

    @classmethod
    def from_location(cls, location: str, **options: Any) -> Self:
        """Make the catalog of a path, a pattern or a URL; by default that is the first argument."""
        return cls(location, **options)  # type: ignore[call-arg]  # of the subclass


DRIVERS: Final[Registry[Any]] = Registry("intake.drivers")


def opened_by(claims: Callable[[type[DriverCatalog]], tuple[T, ...]]) -> dict[T, list[type[DriverCatalog]]]:
    """The drivers by what they claim to open: ``opened_by(lambda driver: driver.suffixes)``."""
    # Those that have "bluesky" in their names: loading all of Intake's would take long. Each has several names, since
    # `intake.open_<name>` needs an identifier, and older packages had others: it counts once.
    names = {name.replace("_", "-"): name for name in DRIVERS.names() if "bluesky" in name}
    found: dict[T, list[type[DriverCatalog]]] = {}
    for driver in dict.fromkeys(map(DRIVERS.get, names.values())):
        if isinstance(driver, type) and issubclass(driver, DriverCatalog):
            for claim in claims(driver):
                found.setdefault(claim, []).append(driver)
    return found


def driver_of(claim: T, opened: dict[T, list[type[DriverCatalog]]]) -> type[DriverCatalog]:
    """The one driver that opens something.

    Raises
    ------
    PluginError
        Where several do.
    """
    if len(opened[claim]) > 1:
        classes = " and by ".join(f"{driver.__module__}.{driver.__qualname__}" for driver in opened[claim])
        raise PluginError(
            f"{claim!r} is opened by {classes}: uninstall all but one of these drivers, or name one in a YAML file"
        )
    return opened[claim][0]
