"""One stream of a run as an Intake source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final, Self

from intake.source.base import DataSource

from intake_bluesky.assets import AssetOptions
from intake_bluesky.cached import cached_property
from intake_bluesky.catalogs.argument_checks import check_keys
from intake_bluesky.catalogs.display.completion import OffersNames
from intake_bluesky.catalogs.display.displayed import Displayed
from intake_bluesky.catalogs.display.stream import StreamView
from intake_bluesky.catalogs.entries import IntakeObject, shown_documents
from intake_bluesky.catalogs.intake_readers.methods import reader_of_stream
from intake_bluesky.catalogs.plots.methods import plot_stream
from intake_bluesky.datasets.options import DatasetOptions, checked_options
from intake_bluesky.datasets.stored_datasets.layout import restored_layout, shown_layout
from intake_bluesky.documents.model import ReadOnlyDocument, RunHeader, is_external
from intake_bluesky.errors import StreamNotFound, UnsupportedOperation
from intake_bluesky.storage.contract import RunStore

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from intake_bluesky.catalogs.configurations import Configurations

__all__ = ["BlueskyStream"]

OF_DATASET: Final = frozenset(f.name for f in fields(DatasetOptions)) - {"assets"}
OF_ASSETS: Final = frozenset({"join_method", "squeeze"})
SHOWN_OTHERWISE: Final = frozenset({"assets", "configuration_for", "exclude", "include", "sub_dict"})
"""Arguments that a repr does not list: it has the keys, and says that they are timestamps or configuration."""
OPTIONS: Final = OF_DATASET | OF_ASSETS | {"configuration_for"}


class BlueskyStream(Displayed, OffersNames, IntakeObject, DataSource):  # type: ignore[misc]  # Intake ships no types
    """One stream of a run: `read` and `to_dask` give an `xarray.Dataset`.

    Calling it with options gives a copy that has them: ``stream(include=["det"])``.

    Parameters
    ----------
    store : RunStore
    header : RunHeader
        The run as it was when it was opened; the stream does not grow by itself.
    stream : str
    assets : AssetOptions, optional
        Where and how to read external files.
    configuration_for : str, optional
        Give the configuration of this device instead of the events: a row a descriptor.
    metadata : dict, optional
        Joins ``start``, ``stop`` and ``descriptors`` in `metadata`.
    **options
        ``include``, ``exclude`` (keys), ``sub_dict="timestamps"``, ``on_missing="fill"``, ``on_mismatch="object"``,
        ``trim``, ``text_dtype="string"``, ``portable``, ``decode_times``, ``as_events``, ``target_chunk``: see
        `DatasetOptions`; ``join_method`` and ``squeeze``: see `AssetOptions`.

    Raises
    ------
    StreamNotFound
        When the run has no such stream.
    KeyError
        When a key or a device in the options is not one of the stream.
    TypeError, ValueError
        For an option that there is not, or a value that it cannot have.

    Examples
    --------
    >>> from intake_bluesky.testing.memory import MemoryStore
    >>> from intake_bluesky.testing.runs import EXAMPLES
    >>> store = MemoryStore([EXAMPLES["count"](None)])
    >>> stream = BlueskyStream(store, store.header(next(store.find()).uid), "primary")
    >>> stream.read()["det"].values
    array([0.5, 1.5, 2.5])
    >>> list(stream(include=["counts"]).to_dask())
    ['counts']
    """

    container = "xarray"
    name = "bluesky-stream"
    partition_access = True

    def __init__(
        self,
        store: RunStore,
        header: RunHeader,
        stream: str = "primary",
        *,
        assets: AssetOptions | None = None,
        configuration_for: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(metadata=dict(metadata or {}))
        if stream not in header.streams:
            raise StreamNotFound(
                f"run {header.uid} has no stream {stream!r}; it has {', '.join(header.streams) or 'none'}"
            )
        self._store, self._header, self._stream = store, header, stream
        self._layout = header.streams[stream]
        self._given = {"assets": assets, "configuration_for": configuration_for, **options}
        self._options = self._checked(options, assets or AssetOptions())
        self._device = configuration_for
        if configuration_for is not None:
            check_keys([configuration_for], self._devices, what="device", where=self._where)
        self.name = stream
        self.metadata |= {**shown_documents(header), "descriptors": list(self.descriptors)}

    @property
    def _where(self) -> str:
        return f"stream {self._stream!r} of run {self._header.uid}"

    def _checked(self, options: Mapping[str, Any], assets: AssetOptions) -> DatasetOptions:
        if unknown := ", ".join(map(repr, sorted(options.keys() - OF_DATASET - OF_ASSETS))):
            raise TypeError(f"a stream has no option {unknown}; it has {', '.join(sorted(OPTIONS))}")
        found = checked_options(options)
        assets = replace(assets, **{name: found.pop(name) for name in OF_ASSETS & found.keys()})
        checked = DatasetOptions(**found, assets=assets)
        self._dataset = restored_layout(self._layout, checked)
        if self._layout.observed is not None or self._dataset:  # else events may have keys that are not known yet
            check_keys((*(checked.include or ()), *checked.exclude), self.keys, what="key", where=self._where)
        return checked

    @property
    def keys(self) -> list[str]:
        """Every key: those of the descriptors, then those that only events have. Of a Dataset, every variable."""
        if self._dataset:
            return [variable.name for variable in self._dataset.variables]
        return list(dict.fromkeys([*self._layout.data_keys, *(self._layout.observed or ())]))

    @property
    def _devices(self) -> list[str]:
        found = (d.get(field) or {} for d in self.descriptors for field in ("object_keys", "configuration"))
        return list(dict.fromkeys(device for devices in found for device in devices))

    @property
    def descriptors(self) -> tuple[ReadOnlyDocument, ...]:
        """The event descriptors, in the order they were emitted."""
        return tuple(map(ReadOnlyDocument, self._layout.descriptors))

    @cached_property
    def _reader(self) -> Any:  # a `StreamReader` of the form of events, as exports ask for it
        from intake_bluesky.datasets.stored_datasets.restore import reader_of

        return reader_of(self._store, self._header, self._stream, self._options, self._dataset)

    def configure_new(self, **options: Any) -> Self:
        """The stream itself, or with options a copy that has them as well."""
        if not options:
            return self
        new: Self = type(self)(self._store, self._header, self._stream, **{**self._given, **options})
        new.cat, new.description = self.cat, self.description
        return new

    __call__ = get = configure_new

    def to_dask(self) -> xr.Dataset:
        """Describe the Dataset lazily.

        Event times, seq_nums and the headers of asset files are read; event data and arrays when they are
        computed.

        Returns
        -------
        xarray.Dataset
            Variables have the dimension ``time`` first, one row a seq_num; coordinates are ``time`` (float64, seconds
            since 1970 UTC), ``seq_num`` (int64) and the motors of the scan's dimensions. Dtypes and shapes are those
            that computing gives.

        Raises
        ------
        DamagedRun
            When the run was replaced since it was opened. A missing file is an error when its array is computed.
        """
        return self._configuration() if self._device is not None else self._reader.to_dask()

    def read(self) -> xr.Dataset:
        """Read the Dataset of `to_dask` into memory, without dask; a new one each time.

        Raises
        ------
        AssetUnavailable
            When a file is missing or has too few frames; ``exclude`` leaves its key out.
        DamagedRun, MissingDependency
        """
        return self._configuration() if self._device is not None else self._reader.read()

    def _configuration(self) -> xr.Dataset:
        from intake_bluesky.datasets.configuration import configuration

        return configuration(self._header, self._stream, str(self._device), self._options)

    def to_grid(
        self,
        *,
        shape: Sequence[int] | None = None,
        axes: Sequence[str] | None = None,
        snaking: Sequence[bool] | None = None,
    ) -> xr.Dataset:
        """Describe lazily a scan over a grid of points (``grid_scan`` ...), or along a line, in the grid's shape.

        Reads what `to_dask` reads, and the positions of the motors: the first page of them, and where the first two
        passes of each axis begin and end; or all where the start document has no plan, or they are not as planned. The
        rest is read when it is computed. Readings decide whether lines were snaked.

        Parameters
        ----------
        shape : sequence of int, optional
            Points along each axis, slowest first. What is not given here is taken from the start document.
        axes : sequence of str, optional
            Key of the motor of each axis.
        snaking : sequence of bool, optional
            Whether the axis is passed in alternating directions.

        Returns
        -------
        xarray.Dataset
            In the place of ``time`` there is a dimension for each axis, with the motor's name. Its coordinate has the
            positions that were planned, or else the medians of those measured (setpoints, if the stream has them),
            float64. What the motor read at each point is in ``<motor>_readback``. ``time`` and ``seq_num`` are
            coordinates on the grid. What was not measured is NaN (NaT, ``""``, None), and integers of events are then
            float64; integers of files stay what they are, and raise `AssetUnavailable` when they are computed there,
            unless ``on_missing="fill"``.

        Raises
        ------
        UnsupportedOperation
            When the stream is no grid, plan and readings disagree, or a scan along a line came to a position twice.
        KeyError
            When an axis is no key of the stream.

        Examples
        --------
        >>> from intake_bluesky import BlueskyCatalog
        >>> from intake_bluesky.testing import MemoryStore, RunComposer, data_key
        >>> run = RunComposer("grid", shape=[2, 3], extents=[[0, 1], [0, 4]], snaking=[False, True], motors=["y", "x"],
        ...                   hints={"gridding": "rectilinear"})
        >>> primary = run.descriptor({key: data_key("number") for key in ("y", "x", "det")})
        >>> run.page(primary, {"y": [0, 0, 0, 1, 1, 1], "x": [0, 2, 4, 4, 2, 0], "det": [1, 2, 3, 4, 5, 6]})
        >>> grid = BlueskyCatalog(MemoryStore([run.documents]))[-1].primary.to_grid()
        >>> grid["det"].values
        array([[1, 2, 3],
               [6, 5, 4]])
        >>> grid["det"].sel(y=1, x=3.9, method="nearest").values
        array(4)
        """
        if self._device is not None:
            raise UnsupportedOperation(f"configuration is no grid: ask for that of the events of {self._where}")
        check_keys(axes or (), self.keys, what="key", where=self._where)
        from intake_bluesky.datasets.grids.fold import gridded
        from intake_bluesky.datasets.grids.positions import position_key
        from intake_bluesky.datasets.grids.scanned import scanned
        from intake_bluesky.datasets.presentation import present

        # Objects do not say that they are text, whose gaps are "".
        flat = self(text_dtype="string", as_events=True)
        points = int(flat._reader.rows.seq_num.max(initial=0))
        given: dict[str, Any] = {"shape": shape, "axes": axes, "snaking": snaking}
        grid = scanned(self._header, self._stream, flat.keys, **given, points=points)
        positions = [key for axis in grid.axes for key in (axis, position_key(axis, flat.keys))]
        # What the user excluded or trimmed is for the result; the grid needs all positions. `target_chunk=1` makes each
        # page a block, so that the first page alone is read to compare with the plan.
        plain = {"exclude": (), "sub_dict": "data", "on_missing": "fill", "trim": False, "decode_times": False}
        motors = flat(include=positions, target_chunk=1, **plain).to_dask()
        fill = self._options.on_missing == "fill"
        gridding = gridded(flat.to_dask(), grid, motors, files=flat._reader.assets, fill=fill)
        return present(gridding, self._options)

    def to_dataframe(self, *, decode_times: bool | None = None) -> pd.DataFrame:
        """Read into pandas, a row an event.

        Parameters
        ----------
        decode_times : bool, optional
            Whether ``time`` is datetime64[ns, UTC], or float64 seconds since 1970 UTC as in a Dataset. By default the
            former, unless the stream itself was given ``decode_times=False``.

        Returns
        -------
        pandas.DataFrame
            Index ``seq_num``, first column ``time``. In-line arrays are objects, one array a cell, which ``to_csv``
            writes whole, as JSON. External data (images) is left out, but for keys named in ``include``.
        """
        from intake_bluesky.datasets.presentation import columns
        from intake_bluesky.datasets.table_cells import data_frame

        # pandas takes numpy's variable-width strings only as objects.
        decoded = self._given.get("decode_times", True) if decode_times is None else decode_times
        source, asked = self(text_dtype="object", decode_times=False, as_events=True), self._options.include or ()
        if self._device is None:
            specs = self._layout.data_keys
            external = (key for key, spec in specs.items() if is_external(spec) and key not in asked)
            source = source(exclude=[*self._options.exclude, *external])
        return data_frame(columns(source.read()), decode_times=decoded)

    plot = plot_stream
    reader = reader_of_stream

    @property
    def timestamps(self) -> Self:
        """When each value was taken, as a source: ``.timestamps.read()``; streamed keys have none."""
        return self.configure_new(sub_dict="timestamps")

    @property
    def config(self) -> Configurations:
        """The configuration of each device, as sources: ``.config["det"].read()``."""
        return self._configurations("data")

    @property
    def config_timestamps(self) -> Configurations:
        """When each value of the configuration was taken: ``.config_timestamps["det"].read()``."""
        return self._configurations("timestamps")

    def _configurations(self, part: str) -> Configurations:
        from intake_bluesky.catalogs.configurations import Configurations

        return Configurations(self, self._devices, part)

    @property
    def npartitions(self) -> int:
        """Into how many parts `read_partition` splits the rows."""
        return 1 if self._device is not None else self._reader.npartitions

    def read_partition(self, i: int) -> xr.Dataset:
        """Read the rows of part `i` into memory.

        Raises
        ------
        IndexError
        """
        if not 0 <= i < self.npartitions:
            raise IndexError(f"{self._where} has {self.npartitions} partitions, counted from 0: there is no {i}")
        return self._configuration() if self._device is not None else self._reader.partition(i)

    def read_chunked(self) -> Iterator[xr.Dataset]:
        """Read part by part."""
        return (self.read_partition(i) for i in range(self.npartitions))

    def _load_metadata(self) -> None:
        """Nothing to load: the header was read when the run was opened."""

    def _close(self) -> None:
        self.__dict__.pop("_reader", None)

    def discover(self) -> dict[str, Any]:
        """Describe the result of `read`: dtype and shape by variable, number of partitions, and metadata."""
        from intake_bluesky.datasets.presentation import columns

        dataset = self.to_dask()
        found: Mapping[Any, Any] = dataset.variables if self._dataset else columns(dataset).data_vars
        return {
            "dtype": {str(name): str(v.dtype) for name, v in found.items()},
            "shape": {str(name): v.shape for name, v in found.items()},
            "npartitions": self.npartitions,
            "metadata": self.metadata | {"dims": dict(dataset.sizes), "coords": [str(c) for c in dataset.coords]},
        }

    def _yaml(self) -> dict[str, Any]:
        if self.cat is None:
            raise UnsupportedOperation("this stream was not opened from a catalog that YAML can name")
        data: dict[str, Any] = self.cat._yaml()
        for source in data["sources"].values():
            source["metadata"] = {**source["metadata"], "stream": self._stream}
        return data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BlueskyStream) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((self._header.uid, self._header.version, self._stream))

    def _identity(self) -> tuple[Any, ...]:
        return self._header.uid, self._header.version, self._stream, self._options, self._device

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__name__, self._store, *self._identity()

    @property
    def _view(self) -> StreamView:
        asked = self._options
        shown_keys = dict.fromkeys(self.keys)
        keys = [key for key in asked.include or shown_keys if key in shown_keys and key not in asked.exclude]
        shown = {name: value for name, value in self._given.items() if name not in SHOWN_OTHERWISE}
        layout = shown_layout(self._layout, self._dataset) if self._dataset else self._layout
        return StreamView(self._header, layout, keys, asked.sub_dict, self._device, shown)

    def _line(self) -> str:
        return self._view.line()

    def _lines(self, width: int) -> str:
        return self._view.text(width)

    def _html(self) -> str:
        return self._view.html()
