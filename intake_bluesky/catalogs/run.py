"""One run as an Intake catalog of its streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self

from intake.catalog.base import Catalog

from intake_bluesky.assets import AssetOptions
from intake_bluesky.catalogs.display.completion import OffersNames
from intake_bluesky.catalogs.display.displayed import Displayed
from intake_bluesky.catalogs.display.files import seen_files
from intake_bluesky.catalogs.display.run import run_html, run_line, run_text
from intake_bluesky.catalogs.entries import IntakeObject, StreamEntry, shown_documents
from intake_bluesky.catalogs.intake_readers.methods import reader_of_run
from intake_bluesky.catalogs.plots.methods import plot_run
from intake_bluesky.catalogs.run_export import run_to_datatree, run_to_zarr
from intake_bluesky.catalogs.simulations.model_links import run_experiments, run_simulations
from intake_bluesky.catalogs.stream import BlueskyStream
from intake_bluesky.documents.dimensions import Dimension, dimensions
from intake_bluesky.documents.model import Document, ReadOnlyDocument, RunHeader, RunSummary
from intake_bluesky.errors import StreamNotFound, UnsupportedOperation
from intake_bluesky.storage.contract import RunStore
from intake_bluesky.storage.origin import Origin

if TYPE_CHECKING:
    import pandas as pd

    from intake_bluesky.assets import AssetFile
    from intake_bluesky.datasets.filled_documents import Fill

__all__ = ["BlueskyRun", "Dimension"]


class StreamEntries(Mapping[str, StreamEntry]):
    """The streams of a run, each opened on access."""

    def __init__(self, run: BlueskyRun) -> None:
        self._run = run

    def __getitem__(self, name: str) -> StreamEntry:
        if name not in self._run.header.streams:
            raise self._run._no_stream(name)
        return StreamEntry(self._run, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._run.header.streams)

    def __len__(self) -> int:
        return len(self._run.header.streams)


class BlueskyRun(Displayed, OffersNames, IntakeObject, Catalog):  # type: ignore[misc]  # Intake ships no types
    """One run: a catalog of streams, with the run's documents.

    It shows the run as it was when it was opened; `refresh` reads it again.

    Parameters
    ----------
    store : RunStore
    header : RunHeader or RunSummary
        With a summary, as listings give it, the header is read when more than run start and stop is needed.
    assets : AssetOptions, optional
        Where and how to read external files.
    **intake_kwargs
        Of `intake.catalog.Catalog`: ``name``, ``description``, ``metadata`` ...

    Examples
    --------
    >>> from intake_bluesky.testing.memory import MemoryStore
    >>> from intake_bluesky.testing.runs import EXAMPLES
    >>> store = MemoryStore([EXAMPLES["scan"](None)])
    >>> run = BlueskyRun(store, store.header(next(store.find()).uid))
    >>> list(run), run.start["plan_name"], run.stop["exit_status"]
    (['baseline', 'ring_current_monitor', 'primary'], 'scan', 'success')
    >>> run.dimensions
    (Dimension(fields=('theta',), stream='primary'),)
    >>> run.primary.read()["theta"].sizes
    Frozen({'time': 11})
    """

    name = "bluesky-run"
    _not_offered = frozenset({"read", "to_dask"})  # which name what to call instead

    def __init__(
        self,
        store: RunStore,
        header: RunHeader | RunSummary,
        *,
        assets: AssetOptions | None = None,
        **intake_kwargs: Any,
    ) -> None:
        self._store, self._assets = store, assets or AssetOptions()
        self._uid, self._source_name = header.uid, header.origin.source if header.origin else ""
        self._header = header if isinstance(header, RunHeader) else None
        self._documents = shown_documents(header)
        # No `ttl`: Intake would reload on access, and a run is to stay as it was opened.
        intake_kwargs = {"name": header.uid, "ttl": None, **intake_kwargs}
        super().__init__(**intake_kwargs)
        given = intake_kwargs.get("metadata") or {}
        self.metadata: dict[str, Any] = {**given, **self._documents}

    def _look(self) -> RunHeader:
        """Read the header, and show the run as it is now."""
        self._header = header = self._store.header(self.uid)
        self._documents = shown_documents(header)
        self.metadata.update(self._documents)
        return header

    def _make_entries_container(self) -> StreamEntries:
        return StreamEntries(self)

    @property
    def header(self) -> RunHeader:
        """All of the run but its events and datums."""
        return self._header or self._look()

    @property
    def origin(self) -> Origin:
        """Where the run comes from, and how its files are found and read."""
        return Origin(self._store, self._assets, self._source_name)

    @property
    def start(self) -> ReadOnlyDocument:
        """The run start document."""
        return self._documents["start"]  # type: ignore[return-value]  # which every run has

    @property
    def stop(self) -> ReadOnlyDocument | None:
        """The run stop document; None while the run goes on, or where it was cut off."""
        return self._documents["stop"]

    @property
    def descriptors(self) -> tuple[ReadOnlyDocument, ...]:
        """The event descriptors of all streams."""
        return tuple(map(ReadOnlyDocument, self.header.descriptors))

    @property
    def uid(self) -> str:
        """The run's uid."""
        return self._uid

    @property
    def scan_id(self) -> int | None:
        """The run's scan_id, if it has a proper one."""
        return RunSummary.of(self.start, None).scan_id

    @property
    def is_complete(self) -> bool:
        """Whether the run has its stop document."""
        return self.stop is not None

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """The dimensions of the scan, slowest first, as the plan's hints name them.

        Their fields are coordinates of the stream's Dataset: ``ds["det"].plot(x="theta")``.
        """
        return dimensions(self.header.start)

    def _no_stream(self, name: object) -> StreamNotFound:
        return StreamNotFound(
            f"run {self.uid} has no stream {name!r}; it has {', '.join(self.header.streams) or 'none'}"
        )

    def _open(self, name: str, **options: Any) -> BlueskyStream:
        options = {"assets": self._assets, **options}
        stream = BlueskyStream(self._store, self.header, name, **options)
        stream.cat = self
        return stream

    def __getitem__(self, key: Any) -> BlueskyStream:
        """One stream by name."""
        if isinstance(key, (tuple, list)) and len(key) == 1:
            return self[key[0]]
        if not isinstance(key, str) or key not in self.header.streams:
            raise self._no_stream(key)
        return self._open(key)

    def __getattr__(self, name: str) -> BlueskyStream:
        # Intake's own message would not name the streams there are.
        if name.startswith("_") or name in self.header.streams:
            return super().__getattr__(name)  # type: ignore[no-any-return]  # Intake has no types
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}, and {self._no_stream(name)}")

    def _more_names(self) -> Iterable[str]:
        return self.header.streams

    def configure_new(self, **kwargs: Any) -> Self:
        """The run itself, or with arguments of the constructor a copy that has them."""
        if not kwargs:
            return self
        new: Self = type(self)(self._store, self.header, **{"assets": self._assets, "name": self.name, **kwargs})
        new.cat = self.cat
        return new

    __call__ = get = configure_new

    def refresh(self) -> Self:
        """Read the run again, if it was still going on; streams opened before stay as they were."""
        self._store.refresh()
        self._look()
        return self

    def documents(self, *, fill: Fill = "no", strict_order: bool = True) -> Iterator[tuple[str, Document]]:
        """Yield (name, document) of the run in the order stored, up to now.

        Parameters
        ----------
        fill : {"no", "yes", "delayed"}
            ``"no"``: as stored. ``"yes"``: events that refer to external data hold the values, numpy arrays;
            ``"delayed"``: dask arrays of them. Values that came by stream resources are in no event: those
            documents pass through.
        strict_order : bool
            The order is strict in any case.

        Raises
        ------
        AssetUnavailable
            With ``fill="yes"``, when a file is missing.
        """
        from intake_bluesky.datasets.filled_documents import filled_documents

        return filled_documents(self._store, self.uid, self._assets, fill)

    canonical = documents

    def files(self) -> list[AssetFile]:
        """The files that the run refers to: path (after `root_map`), whether it exists, size in bytes, any problem."""
        from intake_bluesky.datasets.run_files import run_files  # late, as all that reads arrays

        return run_files(self._store, self.header, self._assets)

    def get_file_list(self, resource: Mapping[str, Any] | str) -> list[str]:
        """The paths of the files of one resource or stream resource, given as document or uid.

        Raises
        ------
        KeyError
            When the run has no resource of that uid.
        """
        from intake_bluesky.datasets.run_files import resource_files, stream_resource_files

        uid = resource if isinstance(resource, str) else resource.get("uid")
        for own in self.header.resources:
            if own["uid"] == uid:
                return [file.path for file in resource_files(self._store, self.header, own, self._assets)]
        streamed = [a.resource for a in self.header.stream_assets if a.resource["uid"] == uid]
        if not streamed:
            raise KeyError(f"run {self.uid} has no resource {uid!r}")
        return [file.path for file in stream_resource_files(self.header, streamed[0], self._assets)]

    simulations = run_simulations
    experiments = run_experiments
    to_datatree = run_to_datatree
    to_zarr = run_to_zarr

    def table(self, stream: str = "primary", *, decode_times: bool = True) -> pd.DataFrame:
        """One stream in pandas, a row an event: `BlueskyStream.to_dataframe` of it."""
        return self[stream].to_dataframe(decode_times=decode_times)

    plot = plot_run
    reader = reader_of_run

    def read(self) -> NoReturn:
        """Not for a run: it holds several streams.

        Raises
        ------
        UnsupportedOperation
            Always; the message names what to call instead.
        """
        raise UnsupportedOperation(
            f"a run has several streams ({', '.join(self.header.streams) or 'this one none'}): read one of them, "
            "run['primary'].read(), or take all with run.to_datatree()"
        )

    to_dask = read

    def _yaml(self) -> dict[str, Any]:
        if self.cat is None or not hasattr(type(self.cat), "selection"):
            raise UnsupportedOperation("this run was not opened from a catalog that YAML can name")
        data: dict[str, Any] = self.cat.search({"uid": self.uid})._yaml()
        (source,) = data["sources"].values()
        return {"sources": {self.uid: source}}

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, BlueskyRun) and self.uid == other.uid
        return same and self.header.version == other.header.version  # type: ignore[attr-defined]  # a run, if the same

    def __hash__(self) -> int:
        return hash(self.uid)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__name__, self._store, self.uid, self.header.version

    def _line(self) -> str:
        return run_line(self.header)

    def _lines(self, width: int) -> str:
        return run_text(self.header, seen_files(self.header, self._assets), width)

    def _html(self) -> str:
        return run_html(self.header, seen_files(self.header, self._assets))
