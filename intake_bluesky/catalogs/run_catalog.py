"""A store of runs as an Intake catalog."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self

from intake.catalog.base import Catalog

from intake_bluesky.assets import AssetOptions
from intake_bluesky.catalogs.argument_source import KnowsItsSource
from intake_bluesky.catalogs.arguments import KeepsArguments
from intake_bluesky.catalogs.display.completion import OffersNames
from intake_bluesky.catalogs.display.displayed import Displayed
from intake_bluesky.catalogs.display.listing import RunsListing, catalog_line, listing_html, listing_text
from intake_bluesky.catalogs.drivers import DriverCatalog
from intake_bluesky.catalogs.reading_options import CatalogHandlers, Settings
from intake_bluesky.catalogs.removal import RemovesRuns
from intake_bluesky.catalogs.results import Results
from intake_bluesky.catalogs.run import BlueskyRun
from intake_bluesky.catalogs.run_entries import RunEntries, as_key
from intake_bluesky.catalogs.simulations.comparison import compare_catalog
from intake_bluesky.catalogs.yaml_files.catalog import open_catalog
from intake_bluesky.documents.model import RunHeader, RunSummary
from intake_bluesky.errors import RunNotFound
from intake_bluesky.query import Query, documents_needed
from intake_bluesky.runtime.secrets import shown
from intake_bluesky.runtime.sizes import byte_count
from intake_bluesky.runtime.trust import import_dotted
from intake_bluesky.search.given_queries import lasting_query
from intake_bluesky.search.ordering import Arrangement, Sorting
from intake_bluesky.search.selection import Selection
from intake_bluesky.search.unknown_keys import UnknownKeys
from intake_bluesky.storage.contract import Problem, RunStore
from intake_bluesky.storage.origin import Origin

__all__ = ["BlueskyCatalog", "open_catalog"]

SHOWN: Final = 10  # runs in a table
COMPLETED: Final = 100  # runs offered by tab completion


def _shown_targets(root_map: Mapping[str, Any]) -> dict[str, str]:
    return {str(root): shown(str(target)) for root, target in root_map.items()}


def _shown_roots(data_roots: Sequence[Any]) -> list[str]:
    return [shown(str(root)) for root in data_roots]


class BlueskyCatalog(
    Displayed,
    OffersNames,
    DriverCatalog,
    Results,
    RemovesRuns,
    KnowsItsSource,
    KeepsArguments,
    Catalog,  # type: ignore[misc]  # Intake has no types
):
    """The runs of a store; drivers subclass it to make the store of a YAML file's arguments.

    ``cat[uid]`` (or the beginning of a uid), ``cat[scan_id]`` (the newest of that scan_id) and ``cat[-1]``
    (the newest) open a run; ``cat[uid, "primary"]`` a stream. ``cat[-5:]`` and ``cat[[uid, scan_id, -1]]``
    give a narrowed catalog; slices count places from the oldest run at 0 to the newest at -1, and take the
    runs that are there at that moment. Iteration gives uids, the newest first, or in the order of `sort`, in
    which places count then.

    Parameters
    ----------
    store : RunStore
    handler_registry : mapping of spec to class or dotted name, optional
        Handlers of legacy resources. Given: those come before the readers of this package, and installed ones
        are not used. Not given: those that packages offer under the entry point group
        ``databroker.handlers``.
    root_map : mapping of str to str, optional
        Where data moved, see `AssetOptions`; relative values are relative to the YAML file.
    data_roots : list of str, optional
        Folders, or beginnings of URLs, in which documents of a store on another machine may name files; relative ones
        as in `root_map`.
    transforms : mapping of str to callable or dotted name, optional
        Functions that mend documents as they are read; keys ``start``, ``stop``, ``resource``,
        ``descriptor``, ``datum``.
    query : Query, dict in MongoDB's form or str, optional
        Show only the runs that match.
    sort : str or list of str, optional
        The order in which runs are shown: see `Results.sort`.
    read_at_most : int or str, optional
        About how much data one search may read, in bytes or as ``"10 GiB"``, where it asks about data of which there
        are no statistics; past that it raises `SearchTooLarge`. By default whatever it takes.
    filler_class : optional
        Taken so that YAML files written for databroker open, and never used: the readers of assets fill.
    trust : bool
        Whether a YAML file from elsewhere may name Python objects to import, and places on this machine, and its
        servers are sent credentials of this user. It counts only when the user passes it,
        ``cat["name"](trust=True)``: in a YAML file it does nothing. What else the user passes,
        ``cat["name"](root_map={"/old": "/mine"})``, is the user's own, and needs no trust.
    **intake_kwargs
        Of `intake.catalog.Catalog`: ``name``, ``description``, ``metadata``, ``ttl`` (seconds after which an
        access looks for new runs, by default what the store needs: 1, or 10 of a bucket), ``storage_options`` ...

    Examples
    --------
    >>> from intake_bluesky.testing.memory import MemoryStore
    >>> from intake_bluesky.testing.runs import EXAMPLES
    >>> cat = BlueskyCatalog(MemoryStore([EXAMPLES["count"](None), EXAMPLES["scan"](None)]), name="examples")
    >>> cat
    <BlueskyCatalog examples>
    >>> len(cat), cat[-1].start["plan_name"], cat[1].start["plan_name"]
    (2, 'scan', 'count')
    >>> [cat[uid].scan_id for uid in cat.search({"plan_name": "count"})]
    [1]
    """

    container = "catalog"
    name = "bluesky-catalog"
    WITHOUT_SECRETS = {**KeepsArguments.WITHOUT_SECRETS, "root_map": _shown_targets, "data_roots": _shown_roots}
    _servers: tuple[str, ...] = ()  # those that `storage_options` are meant for
    # Without `_secrets`: a pickle has only those with which its store connects.
    _forgotten: ClassVar[frozenset[str]] = KeepsArguments._forgotten | {"cat", "_seen", "_secrets"}

    def __init__(  # noqa: PLR0913  # databroker's, and ours
        self,
        store: RunStore,
        *,
        handler_registry: Mapping[str, Any] | None = None,
        root_map: Mapping[str, Any] | None = None,
        transforms: Mapping[str, Any] | None = None,
        data_roots: Sequence[str] | None = None,
        query: Query | Mapping[str, Any] | str | None = None,
        sort: str | Sequence[str] | None = None,
        read_at_most: int | str | None = None,
        filler_class: Any = None,
        trust: bool = False,
        **intake_kwargs: Any,
    ) -> None:
        self._keep_arguments()
        self._made_store = store
        self._settings = Settings(handler_registry, root_map, transforms, data_roots)
        self._stages: tuple[Query, ...] = Selection(store).narrowed(lasting_query(query)).stages
        self._sorting = Sorting.of(sort)
        self._read_at_most = None if read_at_most is None else byte_count(read_at_most)
        self._trust = trust
        self._unknown_keys = UnknownKeys()
        self._is_open = False
        super().__init__(**{"ttl": store.ttl, **intake_kwargs})
        self._is_open = True

    def __getstate__(self) -> dict[str, Any]:
        # The entry of the YAML file is not pickled, so the trust that follows from it is decided now.
        checked = {} if self._source.trusted else {"_made_store": self.store, "_checked_store": self.store}
        return {**super().__getstate__(), "_source_kept": self._source, **checked}

    def _make_entries_container(self) -> RunEntries:
        return RunEntries(self)

    def _load(self) -> None:
        if self._is_open:  # making a catalog touches no store
            self.store.refresh()

    @property
    def _view(self) -> RunStore:
        """The store as users see it, through the transforms."""
        if "_seen" not in self.__dict__:
            self._seen = self._settings.view(self.store, self._source)
        return self._seen

    @property
    def selection(self) -> Selection:
        """The runs this catalog shows."""
        # Only then: making the options resolves folders, which a catalog that is not trusted may not name.
        looks_into_data = any("data" in documents_needed(stage) for stage in self._stages)
        assets = self._assets() if looks_into_data else None
        return Selection(self._view, self._stages, assets, self._read_at_most, self._unknown_keys)

    @property
    def arrangement(self) -> Arrangement:
        """The runs this catalog shows, in the order in which it does."""
        return Arrangement(self.selection, self._sorting)

    @property
    def query(self) -> Query:
        """The query that the runs shown match; `ALL` where nothing was searched."""
        return Selection(self._made_store, self._stages).query

    @property
    def root_map(self) -> Mapping[str, str]:
        """Where data moved, read-only; relative values resolved."""
        return MappingProxyType(self._settings.root_map(self._source))

    @property
    def handler_registry(self) -> Mapping[str, Any]:
        """Handlers of legacy resources by spec, read-only: see `register_handler`."""
        return MappingProxyType(CatalogHandlers(self._settings.registry, self._source.trusts("handler_registry")))

    def register_handler(self, spec: str, handler: Any, overwrite: bool = False) -> None:
        """Add a handler for runs opened from now on; a catalog and its searches share their handlers.

        Raises
        ------
        PluginError
            When there is another for this spec and `overwrite` is false.
        """
        if isinstance(handler, str) and not self._source.trusts("handler_registry"):
            # Now, since the names that the file gave are never imported.
            handler = import_dotted(handler, purpose=f"handler of {spec!r}", trusted=True)
        self._settings.register_handler(spec, handler, overwrite=overwrite)

    def deregister_handler(self, spec: str) -> None:
        """Take a handler out.

        Raises
        ------
        PluginError
            When there is none for this spec.
        """
        self._settings.deregister_handler(spec)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What could not be read so far, and why."""
        return tuple(self.store.problems())

    def refresh(self, *, deep: bool = False) -> Self:
        """Look for new and grown runs now; `deep` looks at all runs again."""
        (self._view if deep else self.store).refresh(deep=deep)  # deep: statistics are checked, too
        # Intake's time of the last look: the next access within `ttl` looks no more.
        self.updated = time.time()
        return self

    compare = compare_catalog

    def writer(self, **options: Any) -> Any:
        """A callable for ``RunEngine.subscribe`` that writes into this catalog's store; see `DocumentWriter`.

        Raises
        ------
        UnsupportedOperation
            When the store cannot be written.
        """
        from intake_bluesky.storage.writer import DocumentWriter

        return DocumentWriter(self.store, **options)

    def _changed(self, **changes: Any) -> Self:
        changed = {f"_{name}": value for name, value in changes.items()}
        if changed.items() <= self.__dict__.items():
            return self
        # Not by the constructor: that makes a new store, which connects and lists anew; a search shares the store.
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__ | changed)
        asked: dict[str, Any] = {
            "query": new.query if new._stages else None,
            "sort": new._sorting.texts if new._sorting else None,
            "read_at_most": new._read_at_most,
        }
        # What Intake captured is what it pickles and writes as YAML, so a search has to be among the arguments.
        kept = {name: value for name, value in self._captured_init_kwargs.items() if name not in asked}
        new._captured_init_kwargs = kept | {name: value for name, value in asked.items() if value is not None}
        # Without its entry, or `configure_new` would make the catalog of the file again, and the search would be lost.
        new._source_kept, new._entry = self._source, None
        new._entries = new._make_entries_container()
        return new

    def _assets(self) -> AssetOptions:
        """How files of runs are found and read."""
        source = self._source
        trusted = source.said or (source.trusted and self.store.trusts_paths)
        return self._settings.assets(source, self._servers, trusted=trusted, storage_options=self.storage_options)

    @property
    def origin(self) -> Origin:
        """Where the runs of this catalog come from, and how their files are found and read."""
        return Origin(self._view, self._assets())

    def _opened(self, header: RunHeader | RunSummary) -> BlueskyRun:
        # A run of a federation is read by the store, and with the trust, of the catalog that it comes from.
        origin = (header.origin or self.origin).of_run(header)
        run = BlueskyRun(origin.store, header, assets=origin.assets, getenv=self.getenv, getshell=self.getshell)
        run.cat = self
        return run

    def _found(self, run: RunSummary) -> BlueskyRun:
        """Open a run of a listing; of a federation from where it was found, without asking the others again."""
        if run.origin is None:
            return self._opened(self._view.header(run.uid))
        origin = run.origin.of_run(run)
        return self._opened(replace(origin.store.header(run.uid), origin=origin))

    def _item(self, key: Any) -> Any:
        self.reload()  # which looks for new runs, if Intake did so more than `ttl` ago
        if isinstance(key, slice):
            return self._narrowed(self.arrangement.cut(key))
        if isinstance(key, tuple):
            if not key:
                raise RunNotFound("an empty tuple names no run: give (uid, stream)")
            first, *rest = key
            found = self[first]
            return (found[rest[0] if len(rest) == 1 else tuple(rest)]) if rest else found
        if not isinstance(key, str) and isinstance(key, Iterable):
            return self._narrowed(self.selection.listed(map(self._placed, key)))
        key = self._placed(key)
        if not isinstance(key, str):
            return self._found(self.selection.at(key))
        try:
            return self._opened(self.selection.header(key))
        except RunNotFound:
            # Intake's dotted access, `cat["<uid>.primary"]`.
            uid, dot, stream = key.partition(".")
            if not dot:
                raise
            return self[uid][stream]

    def _placed(self, key: object) -> str | int:
        """A key of one run, a place in the order of a sort as the uid of the run there."""
        found = as_key(key)
        return self.arrangement.uid_at(found) if self._sorting and isinstance(found, int) and found < 0 else found

    def __getattr__(self, name: str) -> Any:
        # By full uid only: ``cat.add`` must not be the run whose uid begins so.
        if name.startswith("_") or name == "entry":
            return super().__getattr__(name)
        try:
            return self._opened(self.selection.exact(name))
        except RunNotFound:
            raise AttributeError(f"{type(self).__name__} has no attribute and no run {name!r}") from None

    def walk(
        self, sofar: dict[str, Any] | None = None, prefix: list[str] | None = None, depth: int = 1
    ) -> dict[str, Any]:
        """Entries by dotted name: of runs, which opens none; with ``depth=2`` of streams too, which opens all."""
        return super().walk(sofar, prefix, depth)  # type: ignore[no-any-return]  # Intake has no types

    def _ipython_key_completions_(self) -> list[str]:
        self.reload()
        return list(self.arrangement.uids(limit=COMPLETED))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BlueskyCatalog) or type(self) is not type(other):
            return False
        if (self._stages, self._sorting) != (other._stages, other._sorting):
            return False
        return self._made_store is other._made_store or bool(super().__eq__(other))

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__name__, self._made_store, repr(self.query), *self._sorting.texts

    def _listing(self, *, read: bool = True) -> RunsListing:
        """What there is to show; without `read` only what is known without asking the store."""
        found = RunsListing(
            type(self).__name__, self.name or "", self.query if self._stages else None, ", ".join(self._sorting.texts)
        )
        if not read:
            return found
        self.reload()
        # Where the query has to be tested run by run, counting all would read all.
        counted = self.selection.plan().whole is not None
        runs = list(self.arrangement.runs(limit=SHOWN if counted else SHOWN + 1))
        total = self.selection.count() if counted else len(runs) if len(runs) <= SHOWN else None
        return replace(found, runs=runs[:SHOWN], total=total)

    def _line(self) -> str:
        return catalog_line(self._listing(read=False))

    def _lines(self, width: int) -> str:
        return listing_text(self._listing(), width)

    def _html(self) -> str:
        return listing_html(self._listing())
