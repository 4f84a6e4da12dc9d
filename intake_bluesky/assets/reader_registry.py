"""Which reader a resource gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Any, Final, TypeVar

from intake_bluesky.assets.handlers import HandlerReader, find_handler
from intake_bluesky.assets.location import Location, locate
from intake_bluesky.assets.options import HANDLERS, AssetOptions, JoinMethod
from intake_bluesky.assets.reader import AssetReader, FrameStructure, UnreadableReader
from intake_bluesky.assets.region import WHOLE, Region
from intake_bluesky.documents.columns import Array
from intake_bluesky.documents.model import CONTRADICTED
from intake_bluesky.errors import AssetUnavailable, DamagedRun, IntakeBlueskyError, PluginError
from intake_bluesky.runtime.plugins import Registry

__all__ = ["GROUP", "datum_readers", "native_reader", "stream_reader", "with_copies"]

T = TypeVar("T")

GROUP = "intake_bluesky.assets"

BUILT_IN: Final[Mapping[str, tuple[str, ...]]] = {
    "hdf5.area_detector:HDF5SequenceReader": ("multipart/related;type=application/x-hdf5", "AD_HDF5_SINGLE"),
    "hdf5.area_detector:TimestampReader": ("AD_HDF5_TS", "AD_HDF5_SWMR_TS"),
    "hdf5.bulk:ColumnReader": ("PANDA", "ROI_HDF5_FLY", "SIS_HDF51", "ZEBRA_HDF51"),
    "hdf5.bulk:ColumnStreamReader": ("SIS_HDF51_FLY_STREAM_V1", "ZEBRA_HDF51_FLY_STREAM_V1"),
    "hdf5.bulk:FrameReader": ("AD_HDF5_GERM", "BASLER_CAM_HDF5", "DEX_HDF5", "HDF5", "VIDEO_STREAM_HDF5"),
    "hdf5.bulk:Pilatus100kReader": ("PIL100k_HDF5",),
    "hdf5.bulk:WholeReader": ("MERLIN_HDF5_BULK",),
    "hdf5.bulk:XspressBulkReader": (
        "DEXELA_FLY_V1", "MERLIN_FLY", "MERLIN_FLY_STREAM_V1", "XPS3_FLY", "XSP3_BULK", "XSP3_FLY"
    ),
    "hdf5.eiger:EigerReader": ("AD_EIGER", "AD_EIGER2", "AD_EIGER_SLICE"),
    "hdf5.reader:HDF5Reader": (
        "application/x-hdf5", "AD_HDF5", "AD_HDF5_RGB", "AD_HDF5_STREAM", "AD_HDF5_SWMR", "AD_HDF5_SWMR_SLICE",
        "AD_HDF5_SWMR_STREAM", "EIGER2_STREAM", "MERLIN_FLY_STREAM_V2", "TPX3", "TPX_HDF5",
    ),
    "hdf5.xspress:Xspress3Reader": ("XSP3", "XSP3_STEP"),
    "images.cbf:CbfReader": ("AD_CBF",),
    "images.imm:ImmReader": ("IMM",),
    "images.jpeg:JpegReader": ("multipart/related;type=image/jpeg", "image/jpeg", "AD_JPEG"),
    "images.npy:NpyFileReader": ("npy",),
    "images.npy:NpyFramesReader": ("application/x-npy", "npy_FRAMEWISE"),
    "images.npy:NpySequenceReader": ("multipart/related;type=application/x-npy", "NPY_SEQ"),
    "images.spe:SpeReader": ("AD_SPE",),
    "images.tiff:TiffFileReader": ("SINGLE_TIFF",),
    "images.tiff:TiffReader": ("multipart/related;type=image/tiff", "image/tiff", "AD_TIFF"),
    "text.reader:CSVReader": ("text/csv;header=absent",),
    "text.reader:HeadedCSVReader": ("text/csv;header=present",),
    "text.reader:UnsaidCSVReader": ("text/csv",),
    "untyped:UntypedReader": ("application/octet-stream",),
    "zarr_arrays:ZarrReader": ("application/x-zarr",),
}  # fmt: skip
"""The mimetypes and specs that each reader of this package is for; its class is imported on first use."""

MOST_EVENTS: Final = 2**62
"""In one resource: a number beyond is none of a file."""

DETECTOR: Final = "/entry/instrument/detector/data"
DATASETS: Final[Mapping[str, str]] = {
    "BASLER_CAM_HDF5": "/entry/averaged",
    "HDF5": "/entry/image",
    "VIDEO_STREAM_HDF5": "/entry/averaged",
} | dict.fromkeys(
    (
        "DEXELA_FLY_V1", "DEX_HDF5", "MERLIN_FLY", "MERLIN_FLY_STREAM_V1", "MERLIN_FLY_STREAM_V2", "MERLIN_HDF5_BULK",
        "TPX_HDF5", "XPS3_FLY", "XSP3", "XSP3_BULK", "XSP3_FLY", "XSP3_STEP",
    ),
    DETECTOR,
)  # fmt: skip
"""The HDF5 dataset that a spec means where its documents name none, if it is not areaDetector's /entry/data/data."""

_INSTALLED: Registry[type[AssetReader]] = Registry(GROUP)
_PLACE_OF: Final = {name: place for place, names in BUILT_IN.items() for name in names}


def native_reader(name: str) -> type[AssetReader] | None:
    """The reader of a mimetype or spec: one that an installed package announces under that name, else one built in.

    In the name of an entry point ``=`` is written ``%3D``, as in ``multipart/related;type%3Dimage/tiff``. Capitals and
    spaces of a mimetype do not count.

    Examples
    --------
    >>> native_reader("application/x-hdf5").__name__
    'HDF5Reader'
    """
    if "/" in name:
        name = "".join(name.split()).lower()
    # Installed ones first: a facility can replace a reader of ours without a change here.
    installed = _INSTALLED.get(name)
    if installed is not None or name not in _PLACE_OF:
        return installed
    # Imported here, not above: a stream of TIFF files should not wait for the import of h5py.
    reader: type[AssetReader] = resolve_name(f"intake_bluesky.assets.{_PLACE_OF[name]}")
    return reader


def known_names() -> str:
    """Every mimetype and spec that is read natively, for messages."""
    return ", ".join(sorted({*_PLACE_OF, *_INSTALLED.names()}))


def stream_reader(resource: Mapping[str, Any], options: AssetOptions) -> AssetReader:
    """The reader of a stream resource; where there is none, one that raises on reading."""
    spec = str(resource.get("spec") or "")
    kind, name = ("mimetype", str(resource["mimetype"])) if resource.get("mimetype") else ("spec", spec)
    try:
        given = {**_mapping(resource, "resource_kwargs"), **_mapping(resource, "parameters")}
        reader = native_reader(name)
    except (DamagedRun, PluginError) as error:
        return _unreadable(resource, error)
    if reader is not None:
        return _made(reader, resource, _with_dataset(spec, given), options)
    lacking = (
        f"nothing installed reads the {kind} {name!r}; those read are {known_names()}. "
        f"Install a package that offers a reader for it under the entry point group {GROUP!r}"
    )
    return _unreadable(resource, AssetUnavailable(lacking), known=False)


def datum_readers(
    resource: Mapping[str, Any],
    datums: Sequence[Mapping[str, Any]],
    spec: Mapping[str, Any],
    options: AssetOptions,
) -> tuple[list[AssetReader], list[int], list[int]]:
    """The readers of a legacy resource, and for each of its datums the place of its reader and its index in events.

    Handlers given by the user come first, then the readers of this package, then installed handlers.
    """
    name = str(resource.get("spec") or "")
    try:
        kwargs = _mapping(resource, "resource_kwargs")
    except DamagedRun as error:
        return [_unreadable(resource, error)], [0] * len(datums), list(range(len(datums)))
    native = _native_of_spec(name, options)
    if native is None:
        known = True
        try:
            handler = find_handler(name, options)
            if handler is None:
                known = False
                raise AssetUnavailable(
                    f"nothing installed reads the spec {name!r}; those read are {known_names()}. Install a package "
                    f"that offers a handler for it under the entry point group {HANDLERS!r}, or give one as "
                    f"handler_registry={{{name!r}: ...}}"
                )
            reader: AssetReader = HandlerReader(locate(resource, options), handler, kwargs, tuple(datums), dict(spec))
        except IntakeBlueskyError as error:
            reader = _unreadable(resource, error, known=known)
        return [reader], [0] * len(datums), list(range(len(datums)))
    if not datums:  # one reader all the same, which lists the files of the resource
        return [_made(native, resource, _with_dataset(name, kwargs), options)], [], []
    readers: list[AssetReader] = []
    made: dict[Any, int] = {}
    places, events = [], []
    for own in datums:
        kind: Any
        try:
            event, kind = native.event_of(own), tuple(native.parameters_of(own).items())
            if not 0 <= event < MOST_EVENTS:
                raise ValueError(f"{event} is the number of no event")
            if kind not in made:
                made[kind] = len(readers)
                readers.append(_made(native, resource, _with_dataset(name, {**kwargs, **dict(kind)}), options))
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
            # A datum that says too little costs its own row; those that lack the same share what raises it.
            event, kind = 0, f"a datum of spec {name!r} does not say what {native.__name__} needs: {error!r}"
            if kind not in made:
                made[kind] = len(readers)
                readers.append(_unreadable(resource, AssetUnavailable(kind)))
        places.append(made[kind])
        events.append(event)
    return readers, places, events


def _with_dataset(spec: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"path": DATASETS[spec], **parameters} if spec in DATASETS else parameters


def _native_of_spec(spec: str, options: AssetOptions) -> type[AssetReader] | None:
    given = options.handlers or {}
    # A handler that the user gave is wanted, even where this package reads the spec; it may be a reader, too.
    if spec in given:
        with suppress(IntakeBlueskyError):  # `find_handler` raises it again, to be said when it is read
            handler = given[spec]
            return handler if isinstance(handler, type) and issubclass(handler, AssetReader) else None
        return None
    try:
        return native_reader(spec)
    except PluginError:
        return None  # a reader that is installed and broken: a handler may still read the spec


def _mapping(resource: Mapping[str, Any], name: str) -> dict[str, Any]:
    if CONTRADICTED in resource:
        raise DamagedRun(f"{resource[CONTRADICTED]}: which file holds the values is in run.documents()")
    found = resource.get(name)
    if found is not None and not isinstance(found, Mapping):
        raise DamagedRun(f"the {name} of resource {resource.get('uid')!r} is {repr(found)[:60]}, not a mapping")
    return dict(found or {})


def _made(
    reader: type[AssetReader],
    resource: Mapping[str, Any],
    parameters: Mapping[str, Any],
    options: AssetOptions,
) -> AssetReader:
    try:
        return reader.of(locate(resource, options), parameters)
    except IntakeBlueskyError as error:
        return _unreadable(resource, error)
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        wrong = f"{reader.__name__} cannot make sense of the parameters {dict(parameters)}: {error}"
        return _unreadable(resource, AssetUnavailable(wrong))


def _unreadable(resource: Mapping[str, Any], error: IntakeBlueskyError, *, known: bool = True) -> UnreadableReader:
    path = str(resource.get("uri") or resource.get("resource_path") or "")
    return UnreadableReader(Location(path), type(error), str(error), known=known)


def with_copies(make: Callable[[AssetOptions], AssetReader], options: AssetOptions) -> AssetReader:
    """Make the reader of a resource; one that knows of other places of its file, where the options name any."""
    found = make(options)
    return found if options.copies is None else _CopiesReader(found, make, options.copies)


@dataclass(frozen=True, slots=True)
class _CopiesReader(AssetReader):
    """Reads from the first copy that can be read.

    Attributes
    ----------
    first : AssetReader
    make : callable
        Makes the reader of another copy by its options; it pickles.
    copies : callable
        Gives the options of the other copies; it pickles.
    known : tuple or None
        What was told by `knowing`.
    frames : dict
        Shape and dtype of frames, once a header was read: copies of the file have the same.
    """

    first: AssetReader
    make: Callable[[AssetOptions], AssetReader]
    copies: Callable[[], Iterator[AssetOptions]]
    known: tuple[Any, bool] | None = None
    frames: dict[str, Any] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:  # by which dask tells it from others: not by the addresses of functions
        return str(self.first)

    @classmethod
    def of(cls, location: Location, parameters: Any) -> Any:
        """Refuse: it is made of other readers."""
        raise NotImplementedError("a reader of copies is made of other readers: with_copies")

    def _others(self) -> Iterator[AssetReader]:
        for options in self.copies():
            found = self.make(options)
            yield found if self.known is None else found.knowing(self.known[0], finished=self.known[1])

    def _from_others(self, ask: Callable[[AssetReader], T], error: Exception) -> T:
        """What the first of the others gives that can; the error of the preferred copy where none can."""
        for reader in self._others():
            with suppress(OSError, IntakeBlueskyError):
                return ask(reader)
        raise error

    def structure(self, first: int = 0) -> FrameStructure:
        """Read the header of the first file that has one."""
        try:
            found = self.first.structure(first)
        except (OSError, IntakeBlueskyError) as error:
            found = self._from_others(lambda reader: self._checked(reader, first), error)
        self.frames.setdefault("shape", found.frame_shape)
        self.frames.setdefault("dtype", found.dtype)
        return found

    def _checked(self, reader: AssetReader, first: int) -> FrameStructure:
        """The header of another copy, whose frames are as those that are known."""
        found = reader.structure(first)
        told = self.frames.get("shape", found.frame_shape), self.frames.get("dtype", found.dtype)
        if told != (found.frame_shape, found.dtype):
            raise OSError(f"{reader.path} has other frames than {self.path}: it is no copy of it")
        return found

    def read_into(self, start: int, stop: int, out: Array, region: Region = WHOLE) -> None:
        """Read frames of the first file that has them."""
        try:
            self.first.read_into(start, stop, out, region)
        except (OSError, IntakeBlueskyError) as error:

            def read(reader: AssetReader) -> None:
                self._checked(reader, start)
                reader.read_into(start, stop, out, region)

            self._from_others(read, error)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Keep the first file open, if it can be opened."""
        with ExitStack() as stack:
            with suppress(OSError, IntakeBlueskyError):
                stack.enter_context(self.first.session())
            yield

    @property
    def frame_by_frame(self) -> bool:  # type: ignore[override]  # as the first
        """Whether each frame may be missing on its own."""
        return self.first.frame_by_frame

    @property
    def path(self) -> str:
        """That of the first."""
        return self.first.path

    def files(self) -> Sequence[Location]:
        """The files of the preferred copy, whether they exist or not."""
        return self.first.files()

    def lost_files(self, start: int, stop: int) -> Iterator[str]:
        """Those of the preferred copy."""
        return self.first.lost_files(start, stop)

    @property
    def frames_per_event(self) -> int | None:
        """The number that the resource gives, or None."""
        return self.first.frames_per_event

    @property
    def join_method(self) -> JoinMethod | None:
        """As the resource gives it, or None."""
        return self.first.join_method

    def knowing(self, spec: Any, *, finished: bool) -> AssetReader:
        """The same of readers that know it."""
        first = self.first.knowing(spec, finished=finished)
        return type(self)(first, self.make, self.copies, (dict(spec), finished))
