"""A catalog's options of reading its runs: handlers, moved folders, transforms; and where they come from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from intake_bluesky.assets.options import HANDLERS, AssetOptions, Handler
from intake_bluesky.catalogs.argument_source import ArgumentSource
from intake_bluesky.catalogs.older_packages import OLDER_HANDLERS
from intake_bluesky.errors import PluginError, UntrustedName
from intake_bluesky.runtime.data_roots import users_data_roots
from intake_bluesky.runtime.plugins import Registry
from intake_bluesky.runtime.trust import check_remote, import_dotted, resolve_against
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.storage.transformed import TransformedStore, check_transforms

__all__ = ["CatalogHandlers", "Settings"]


@dataclass(frozen=True, slots=True, eq=False)
class CatalogHandlers(Mapping[str, Handler]):
    """Handlers by spec, dotted names imported on first use.

    Attributes
    ----------
    registry : Registry
    trusted : bool
        Whether dotted names are imported.
    own : frozenset of str or None
        For the readers of assets: installed handlers of specs that this package reads itself are left out,
        unless they are among these, which the user registered. None leaves nothing out.
    """

    registry: Registry[Any]
    trusted: bool = True
    own: frozenset[str] | None = None

    def __contains__(self, spec: object) -> bool:
        if spec not in self.registry:
            return False
        if self.own is None or spec in self.own:
            return True
        from intake_bluesky.assets.reader_registry import native_reader  # late: when an array is read

        return native_reader(str(spec)) is None

    def __getitem__(self, spec: str) -> Any:
        if spec not in self:
            raise KeyError(spec)
        handler = self.registry[spec]
        return self._named(spec, handler) if isinstance(handler, str) else handler

    def _named(self, spec: str, name: str) -> Any:
        """The handler of a dotted name, or the reader that stands for it where it may not or cannot be imported."""
        older = OLDER_HANDLERS.get(name.replace(":", "."))
        try:
            return import_dotted(name, purpose=f"handler of {spec!r}", trusted=self.trusted)
        except (PluginError, UntrustedName):
            if older is None:
                raise
        from intake_bluesky.assets.reader_registry import native_reader  # late: when an array is read

        return native_reader(older)

    def __iter__(self) -> Iterator[str]:
        return (spec for spec in self.registry if spec in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return True  # for `handlers or default`: counting them would load them all

    def __repr__(self) -> str:
        return f"<handlers of {', '.join(self.registry.names()) or 'nothing'}>"


class Settings:
    """A catalog's options of reading its runs; nothing is imported before it is used.

    Parameters
    ----------
    handlers : mapping of spec to class or dotted name, or None
        None takes the installed ones.
    root_map : mapping of str to str, or None
    transforms : mapping of str to callable or dotted name, or None
    data_roots : sequence of str, or None
    """

    def __init__(
        self,
        handlers: Mapping[str, Any] | None = None,
        root_map: Mapping[str, Any] | None = None,
        transforms: Mapping[str, Any] | None = None,
        data_roots: Sequence[Any] | None = None,
    ) -> None:
        self.registry: Registry[Any] = Registry(HANDLERS) if handlers is None else Registry(values=dict(handlers))
        self._own: frozenset[str] | None = frozenset() if handlers is None else None
        self._root_map = dict(root_map or {})
        self._data_roots = tuple(map(str, data_roots or ()))
        self._transforms = check_transforms(transforms)
        self._searched: RunStore | None = None  # of a catalog and its searches, which share these settings

    def register_handler(self, spec: str, handler: Any, *, overwrite: bool) -> None:
        """Add a handler, which then comes before a reader of this package."""
        if isinstance(self.registry.get(spec), str) and not overwrite and self.registry[spec] == handler:
            return
        self.registry.register(spec, handler, overwrite=overwrite)
        # So that this handler wins over a reader of this package, as installed handlers do not.
        self._own = None if self._own is None else self._own | {spec}

    def deregister_handler(self, spec: str) -> None:
        """Take a handler out."""
        self.registry.deregister(spec)
        self._own = None if self._own is None else self._own - {spec}

    def root_map(self, source: ArgumentSource) -> dict[str, str]:
        """Where data moved, relative values resolved against the YAML file's folder.

        Raises
        ------
        UntrustedName
            When a YAML file from elsewhere names a folder of this machine.
        """
        resolved = {str(root): _resolved(source.folder, str(path)) for root, path in self._root_map.items()}
        if not source.trusts("root_map"):
            for root, path in resolved.items():
                check_remote(path, f"the place of {root!r} in root_map")
        return resolved

    def data_roots(self, source: ArgumentSource) -> tuple[str, ...]:
        """Folders that documents of another machine may name, as `root_map`; raises as it does."""
        resolved = tuple(_resolved(source.folder, root) for root in self._data_roots)
        if not source.trusts("data_roots"):
            for root in resolved:
                check_remote(root, "one of its data_roots")
        return resolved

    def assets(
        self,
        source: ArgumentSource,
        servers: tuple[str, ...],
        *,
        trusted: bool,
        storage_options: Mapping[str, Any] | None,
    ) -> AssetOptions:
        """How external files are found and read; `trusted`: whether documents may name any local file."""
        own = frozenset(self._own) if self._own is not None else None
        # Copies: a run that is open reads on with the handlers it was opened with, whatever is registered later.
        handlers = CatalogHandlers(self.registry.copy(), source.trusts("handler_registry"), own)
        return AssetOptions(
            root_map=self.root_map(source),
            handlers=handlers,
            trusted=trusted,
            # What the user's environment and configuration name is for the user's own catalogs.
            allowed_roots=()
            if trusted
            else (*self.data_roots(source), *(users_data_roots() if source.trusted else ())),
            storage_options=dict(storage_options or {}),
            servers=servers,
            anonymous=not source.trusts("storage_options"),
        )

    def view(self, store: RunStore, source: ArgumentSource) -> RunStore:
        """The store with statistics, and with the transforms before it, if there are any."""
        if self._searched is None:
            self._searched = store
            if store.statistics is None:
                from intake_bluesky.search.statistics_cache import with_statistics  # late: most stores keep their own

                self._searched = with_statistics(store)
        if not self._transforms:
            return self._searched
        functions = {
            name: import_dotted(function, purpose=f"transform of {name}", trusted=source.trusts("transforms"))
            if isinstance(function, str)
            else function
            for name, function in self._transforms.items()
        }
        return TransformedStore(self._searched, functions)


def _resolved(folder: str | None, path: str) -> str:
    """A place as seen from the YAML file's folder; one that was written on Windows with this machine's slashes."""
    place = resolve_against(folder, path)
    if "\\" not in path or not folder or os.path.exists(place):
        return place
    return resolve_against(folder, path.replace("\\", "/"))
