"""The catalog of a federation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Self, get_args

from intake.catalog.local import YAMLFileCatalog

from intake_bluesky.catalogs.argument_checks import WrongArgument
from intake_bluesky.catalogs.arguments import plain_argument, whole_places
from intake_bluesky.catalogs.display.listing import RunsListing
from intake_bluesky.catalogs.federated.given_sources import GivenSource
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import UnsupportedOperation
from intake_bluesky.runtime.secrets import without_secrets
from intake_bluesky.search.federated_sources import OnError
from intake_bluesky.search.federated_store import FederatedStore
from intake_bluesky.storage.contract import RunStore

__all__ = ["BlueskyFederatedCatalog", "FederationSources"]

OF_SOURCES: Final = ("handler_registry", "root_map", "transforms", "data_roots")
"""Arguments that each source has for itself."""


def _without_secrets(sources: Mapping[str, Any]) -> dict[str, Any]:
    # By source: one may have a name that would be that of a secret.
    return {name: without_secrets(given) for name, given in sources.items()}


class FederationSources(Mapping[str, Any]):
    """The sources of a federation by name, each opened as it is asked for; the repr tells their states."""

    def __init__(self, store: FederatedStore) -> None:
        self._store = store

    def __getitem__(self, name: str) -> Any:
        if name not in self._store.sources.openers:
            raise KeyError(f"no source is called {name!r}: there are {', '.join(self)}")
        return self._store.sources.open(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._store.sources.openers)

    def __len__(self) -> int:
        return len(self._store.sources.openers)

    @property
    def states(self) -> dict[str, str]:
        """Of each, in words, whether it was opened, or why it could not be asked last; asks nothing."""
        return self._store.sources.states()

    def counts(self) -> dict[str, int]:
        """How many runs each has, of those that can be asked; opens all."""
        failed: dict[str, Exception] = {}
        ask = self._store.sources.each(
            lambda _, runs: runs.selection.count(), failed=lambda source, error: failed.update({source.name: error})
        )
        return dict(ask)

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        return "\n".join(f"{name:{width}}  {state}" for name, state in self.states.items())


class BlueskyFederatedCatalog(BlueskyCatalog):
    """The runs of several catalogs as one: searched beside each other, listed in one order, each run once.

    Each source keeps its own options: where data moved, handlers, credentials, how far its documents are trusted. Runs
    are read as their source reads them; ``run.origin.source`` names it. Nothing is opened until it is asked.

    Parameters
    ----------
    sources : mapping of name to source
        A source is one as in a YAML file, with ``driver`` and ``args``; the name of another source of the same file;
        another YAML file and, after a colon, the name of its source, ``"lab.yml:runs"``; the name of an installed
        catalog; or, in Python, a catalog. Of several copies of a run, by its uid, that of the first source counts.
    write_to : str, optional
        The source that runs are written to.
    on_error : {"raise", "warn", "skip"}
        What becomes of a source that cannot be opened or asked: an error, or it is left out for half a minute, with a
        `SourceLeftOutWarning` or without. What is left out is in `problems`, in the repr, and in `explain`.
    timeout : float, optional
        Seconds in which a source has to give its next results; it is then one that cannot be asked.
    parameters : mapping of str to value, optional
        Values of parameters, such as ``site``, for the sources that are named: each file that declares a parameter of
        this name for all of its sources has this value as its default.
    read_at_most : int or str, optional
        How much data a search may read in each source, in the place of the source's own limit.
    **kwargs
        Of `BlueskyCatalog`, but for what each source has for itself.

    Examples
    --------
    >>> from intake_bluesky import BlueskyCatalog
    >>> from intake_bluesky.testing import EXAMPLES, MemoryStore
    >>> lab = BlueskyCatalog(MemoryStore([EXAMPLES["count"](None)]))
    >>> beamline = BlueskyCatalog(MemoryStore([EXAMPLES["scan"](None), EXAMPLES["count"](None)]))
    >>> both = BlueskyFederatedCatalog({"lab": lab, "beamline": beamline})
    >>> [(run.start["plan_name"], run.origin.source) for run in both.values()]
    [('scan', 'beamline'), ('count', 'lab')]
    """

    name = "bluesky-federated-catalog"
    WITHOUT_SECRETS = {**BlueskyCatalog.WITHOUT_SECRETS, "sources": _without_secrets}
    _forgotten = BlueskyCatalog._forgotten - {"_secrets"}  # those with which sources are opened

    def __init__(
        self,
        sources: Mapping[str, Any],
        *,
        write_to: str | None = None,
        on_error: OnError = "raise",
        timeout: float | None = None,
        parameters: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        _check(sources, write_to, on_error, timeout)
        for name in OF_SOURCES:
            if kwargs.get(name) is not None:
                raise WrongArgument(f"{name} is for each source of a federation: give it among the args of a source")
        self._given, self._parameters = sources, dict(parameters or {})
        openers = {name: GivenSource(name, given) for name, given in sources.items()}
        super().__init__(FederatedStore(openers, write_to=write_to, on_error=on_error, timeout=timeout), **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_checked_store": self.store}

    @property
    def store(self) -> FederatedStore:
        """The sources as one store, none of them opened."""
        if self._checked_store is None:
            # Now, for Intake tells a catalog only after it was made from which file it comes.
            source, parent = self._source, getattr(self._entry, "_catalog", None) or self.cat
            options: dict[str, Any] = {
                "parent": parent if isinstance(parent, YAMLFileCatalog) else None,
                "folder": source.folder,
                "trusted": source.trusts("sources"),
                "said": source.said,
                "parameters": self._parameters,
            }
            openers = {name: GivenSource(name, given, **options) for name, given in self._given.items()}
            made = self._made_store
            assert isinstance(made, FederatedStore)
            self._checked_store = made.with_openers(openers)
        assert isinstance(self._checked_store, FederatedStore)
        return self._checked_store

    @property
    def _view(self) -> RunStore:
        return self.store.reading_at_most(self._read_at_most)

    @property
    def sources(self) -> FederationSources:
        """The sources by name, with their states and counts."""
        return FederationSources(self.store)

    def refresh(self, *, deep: bool = False) -> Self:
        """Look for new and grown runs in all sources now; sources that were left out are asked again."""
        self.store.sources.try_again()
        for _ in self.store.sources.each(lambda _, runs: runs.refresh(deep=deep), opened=True):
            pass
        return self

    def _changed(self, **changes: Any) -> Self:
        _ = self.store  # which a search shares, and does not open again
        return super()._changed(**changes)

    def _check_removal(self) -> None:
        """Refuse: another copy might show in the place of a run."""
        raise UnsupportedOperation(
            f"nothing is removed from {self!r}: remove the run from the sources that have it, cat.sources[name].remove"
            f"(...), of {', '.join(self.sources)}"
        )

    def _yaml(self) -> dict[str, Any]:
        data = super()._yaml()
        (source,) = data["sources"].values()
        openers = self.store.sources.openers
        lasting = {name: opener.lasting() for name, opener in openers.items() if isinstance(opener, GivenSource)}
        source["args"] = whole_places({**source["args"], "sources": plain_argument(_without_secrets(lasting))})
        return data

    def _listing(self, *, read: bool = True) -> RunsListing:
        found = super()._listing(read=read)
        left = self.store.sources.failures() if read else {}
        return found.with_notes(f"left out: {name}, {why}" for name, why in left.items())


def _check(sources: Any, write_to: Any, on_error: Any, timeout: Any) -> None:
    kinds = (str, Mapping, BlueskyCatalog)
    if not isinstance(sources, Mapping) or not sources:
        given = "an empty one" if isinstance(sources, Mapping) else f"a {type(sources).__name__}"
        raise WrongArgument(f"sources is a mapping of names to sources, sources: {{lab: ..., group: ...}}, not {given}")
    for name, given in sources.items():
        if not isinstance(name, str) or not name or not isinstance(given, kinds):
            raise WrongArgument(
                f"source {name!r} is given as a {type(given).__name__}: it is a mapping with driver and args, or the "
                f"name of a catalog"
            )
    if write_to is not None and write_to not in sources:
        raise WrongArgument(f"write_to is one of {', '.join(sources)}, not {write_to!r}")
    if on_error not in get_args(OnError):
        raise WrongArgument(f"on_error is {', '.join(map(repr, get_args(OnError)))}, not {on_error!r}")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0):
        raise WrongArgument(f"timeout is a number of seconds above 0, not {timeout!r}")
