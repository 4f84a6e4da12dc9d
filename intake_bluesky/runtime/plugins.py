"""Plugins by name: what installed packages announce under one entry point group, and what is added by hand.

The entry points of a group are collected once and loaded on first use, so that an installed plugin costs
nothing until it is needed. A plugin that cannot be loaded becomes a warning and a line in ``problems``: it
never hides the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Final, TypeVar, overload
from urllib.parse import unquote

from intake_bluesky.errors import PluginError

__all__ = ["PluginWarning", "Registry", "origin"]

T = TypeVar("T")
D = TypeVar("D")


_ABSENT: Final[Any] = object()
"""Stands for "no such plugin, or none that works": None may be a plugin's value."""


class PluginWarning(UserWarning):
    """An installed plugin is broken and was left out."""


class Registry(Mapping[str, T]):
    """The plugins of one entry point group, as a mapping from name to loaded object.

    The mapping leaves out plugins that cannot be loaded: iterating, or asking for the length, loads them all;
    ``registry[name]`` and ``name in registry`` load that one. `names` lists what is announced and loads
    nothing.

    Parameters
    ----------
    group : str or None, optional
        Entry point group to collect from, ``"databroker.handlers"`` say. None collects nothing: the registry
        then holds only what is registered by hand.
    values : mapping of str to object, optional
        Registered by hand from the start; what is registered by hand wins over an installed plugin of that
        name.

    Raises
    ------
    PluginError
        From ``registry[name]``: the name is unknown, the plugin cannot be loaded, or several installed
        packages announce different objects under it. ``registry.get(name)`` gives the default in the first
        two cases.

    Notes
    -----
    The name of an entry point cannot contain ``=``, and mimetypes do: names are percent-decoded, so that
    ``multipart/related;type%3Dimage/tiff`` announces ``multipart/related;type=image/tiff``.

    A registry pickles: the installed plugins are collected anew where it is unpickled, what was registered or
    deregistered by hand travels.

    Examples
    --------
    >>> registry = Registry[type](values={"text/plain": str})
    >>> registry.register("application/octet-stream", bytes)
    >>> registry["application/octet-stream"]
    <class 'bytes'>
    >>> list(registry)
    ['application/octet-stream', 'text/plain']
    """

    def __init__(self, group: str | None = None, values: Mapping[str, T] | None = None) -> None:
        self._group = group
        self._by_hand: dict[str, T] = dict(values or {})
        self._deregistered: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Forget what was collected and loaded, so that packages installed since are seen at the next use."""
        self._collected: dict[str, list[EntryPoint]] | None = None
        self._loaded: dict[str, T] = {}
        self._broken: dict[str, str] = {}

    @property
    def problems(self) -> Mapping[str, str]:
        """What was found broken so far: name to reason, read-only."""
        return MappingProxyType(self._broken)

    def names(self) -> list[str]:
        """Every name announced or registered, sorted; nothing is loaded, so some may prove broken."""
        return sorted(self._by_hand.keys() | self._installed().keys() - self._deregistered)

    def register(self, name: str, value: T, overwrite: bool = False) -> None:
        """Add an object by hand.

        Parameters
        ----------
        name : str
            Name to register it under.
        value : object
            What ``registry[name]`` shall give.
        overwrite : bool, optional
            Whether it may replace another object of that name.

        Raises
        ------
        PluginError
            Another object has that name and `overwrite` is false.
        """
        if not overwrite:
            present = self.get(name)
            if present is not None and present is not value:
                raise PluginError(
                    f"{name!r} is registered already, as {present!r}; to replace it by {value!r} pass overwrite=True"
                )
        self._by_hand[name] = value
        self._deregistered.discard(name)

    def deregister(self, name: str) -> None:
        """Take a name out, whether it was registered by hand or installed.

        Raises
        ------
        PluginError
            There is no such name.
        """
        if name not in self.names():
            raise self._why_absent(name)
        self._by_hand.pop(name, None)
        self._deregistered.add(name)

    def copy(self) -> Registry[T]:
        """Return an independent registry that holds the same; changes to one do not reach the other."""
        duplicate = type(self)(self._group, self._by_hand)
        duplicate._deregistered = set(self._deregistered)
        # Shared: once collected it is not changed, only replaced.
        duplicate._collected = self._collected
        duplicate._loaded = dict(self._loaded)
        duplicate._broken = dict(self._broken)
        return duplicate

    def __getitem__(self, name: str) -> T:
        value: T = self._find(name)
        if value is _ABSENT:
            raise self._why_absent(name)
        return value

    @overload
    def get(self, name: str, /) -> T | None: ...
    @overload
    def get(self, name: str, /, default: T | D) -> T | D: ...
    def get(self, name: str, /, default: object = None) -> object:
        """Return the object of that name, or `default` if there is none that works.

        Raises
        ------
        PluginError
            Several installed packages announce different objects under that name.
        """
        value = self._find(name)
        return default if value is _ABSENT else value

    def __contains__(self, name: object) -> bool:
        try:
            return isinstance(name, str) and self._find(name) is not _ABSENT
        except PluginError:
            return True  # announced twice: asking for it says what is wrong

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.names() if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<Registry {self._group or 'by hand'}: {', '.join(self.names()) or 'empty'}>"

    def __getstate__(self) -> tuple[str | None, dict[str, T], list[str]]:
        # sorted: dask makes names from the pickle, which must not depend on the order of a set
        return self._group, self._by_hand, sorted(self._deregistered)

    def __setstate__(self, state: tuple[str | None, dict[str, T], list[str]]) -> None:
        self._group, self._by_hand, deregistered = state
        self._deregistered = set(deregistered)
        self.refresh()

    def _installed(self) -> dict[str, list[EntryPoint]]:
        if self._collected is None:
            collected: dict[str, list[EntryPoint]] = {}
            for announced in entry_points(group=self._group) if self._group else ():
                collected.setdefault(unquote(announced.name), []).append(announced)
            self._collected = collected
        return self._collected

    def _find(self, name: str) -> Any:
        if name in self._by_hand:
            return self._by_hand[name]
        # A broken plugin is not tried again, so there is one warning; `refresh` forgets it.
        if name in self._deregistered or name in self._broken or name not in self._installed():
            return _ABSENT
        if name not in self._loaded:
            self._load(name, self._installed()[name])
        return self._loaded.get(name, _ABSENT)

    def _load(self, name: str, announced: list[EntryPoint]) -> None:
        if len({each.value for each in announced}) > 1:
            raise PluginError(
                f"{name!r} of {self._group} is announced by {' and by '.join(map(origin, announced))}: "
                f"uninstall all but one, or choose with register({name!r}, ..., overwrite=True)"
            )
        try:
            self._loaded[name] = announced[0].load()
        except Exception as error:  # noqa: BLE001 - importing a plugin runs code that may raise anything
            self._broken[name] = f"{origin(announced[0])} raised {type(error).__name__}: {error}"
            message = f"plugin {name!r} of {self._group} is left out: {self._broken[name]}"
            warnings.warn(message, PluginWarning, stacklevel=4)

    def _why_absent(self, name: str) -> PluginError:
        if name in self._broken and name not in self._deregistered:
            return PluginError(
                f"{name!r} is installed and broken: {self._broken[name]}. "
                f"Repair that package, or register another object under this name"
            )
        known = ", ".join(self.names()) or "none"
        return PluginError(f"no plugin {name!r} in {self._group or 'this registry'}; there are: {known}")


def origin(announced: EntryPoint) -> str:
    """The package that announces an entry point, and what it announces."""
    distribution = announced.dist.name if announced.dist else "a package without a name"
    return f"{distribution} ({announced.value})"
