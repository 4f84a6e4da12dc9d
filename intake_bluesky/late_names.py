"""Names of a package that are imported when they are first used, so that importing the package costs little."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def late_names(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Make the `__getattr__` of a package whose names are those of `homes`, each with the module that defines it."""

    def late_attribute(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        # From now on an attribute like others: this is only called for names that are lacking.
        setattr(import_module(package), name, value)
        return value

    return late_attribute
