"""Which reader a resource gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pkgutil import resolve_name
from typing import Any, Final

from intake_bluesky.assets.handlers import HandlerReader, find_handler
from intake_bluesky.assets.location import Location, locate
from intake_bluesky.assets.options import HANDLERS, AssetOptions
from intake_bluesky.assets.reader import AssetReader, UnreadableReader
from intake_bluesky.errors import AssetUnavailable, IntakeBlueskyError, PluginError, UntrustedName
from intake_bluesky.runtime.plugins import Registry

__all__ = ["GROUP", "datum_readers", "native_reader", "stream_reader"]

GROUP = "intake_bluesky.assets"

BUILT_IN: Final[Mapping[str, tuple[str, ...]]] = {
    "hdf5.area_detector:HDF5SequenceReader": ("multipart/related;type=application/x-hdf5", "AD_HDF5_SINGLE"),
    "hdf5.area_detector:TimestampReader": ("AD_HDF5_TS", "AD_HDF5_SWMR_TS"),
    "hdf5.eiger:EigerReader": ("AD_EIGER", "AD_EIGER2", "AD_EIGER_SLICE"),
    "hdf5.reader:HDF5Reader": (
        "application/x-hdf5", "AD_HDF5", "AD_HDF5_SWMR", "AD_HDF5_STREAM", "AD_HDF5_SWMR_STREAM"
    ),
    "hdf5.reader:TimepixReader": ("TPX_HDF5",),
    "hdf5.xspress:Xspress3Reader": ("XSP3",),
    "images.cbf:CbfReader": ("AD_CBF",),
    "images.jpeg:JpegReader": ("multipart/related;type=image/jpeg",),
    "images.npy:NpySequenceReader": ("multipart/related;type=application/x-npy", "NPY_SEQ"),
    "images.spe:SpeReader": ("AD_SPE",),
    "images.tiff:TiffReader": ("multipart/related;type=image/tiff", "AD_TIFF"),
    "text.reader:CSVReader": ("text/csv;header=absent",),
    "zarr_arrays:ZarrReader": ("application/x-zarr",),
}  # fmt: skip
"""The mimetypes and specs that each reader of this package is for; its class is imported on first use."""

MOST_EVENTS: Final = 2**62
"""In one resource: a number beyond is none of a file."""

_INSTALLED: Registry[type[AssetReader]] = Registry(GROUP)
_PLACE_OF: Final = {name: place for place, names in BUILT_IN.items() for name in names}


def native_reader(name: str) -> type[AssetReader] | None:
    """The reader of a mimetype or spec: one that an installed package announces under that name, else one built in.

    In the name of an entry point ``=`` is written ``%3D``, as in ``multipart/related;type%3Dimage/tiff``.

    Examples
    --------
    >>> native_reader("application/x-hdf5").__name__
    'HDF5Reader'
    """
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
    mimetype = str(resource.get("mimetype") or resource.get("spec") or "")
    parameters = {**(resource.get("resource_kwargs") or {}), **(resource.get("parameters") or {})}
    try:
        reader = native_reader(mimetype)
    except PluginError as error:
        return _unreadable(resource, error)
    if reader is not None:
        return _made(reader, resource, parameters, options)
    lacking = (
        f"nothing installed reads the mimetype {mimetype!r}; those read are {known_names()}. "
        f"Install a package that offers a reader for it under the entry point group {GROUP!r}"
    )
    return _unreadable(resource, AssetUnavailable(lacking))


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
    kwargs = dict(resource.get("resource_kwargs") or {})
    native = _native_of_spec(name, options)
    if native is None:
        try:
            handler = find_handler(name, options)
            if handler is None:
                raise AssetUnavailable(
                    f"nothing installed reads the spec {name!r}; those read are {known_names()}. Install a package "
                    f"that offers a handler for it under the entry point group {HANDLERS!r}, or give one as "
                    f"handler_registry={{{name!r}: ...}}"
                )
            reader: AssetReader = HandlerReader(locate(resource, options), handler, kwargs, tuple(datums), dict(spec))
        except IntakeBlueskyError as error:
            reader = _unreadable(resource, error)
        return [reader], [0] * len(datums), list(range(len(datums)))
    if not datums:  # one reader all the same, which lists the files of the resource
        return [_made(native, resource, kwargs, options)], [], []
    readers: list[AssetReader] = []
    known: dict[Any, int] = {}
    places, events = [], []
    for own in datums:
        kind: Any
        try:
            event, kind = native.event_of(own), tuple(native.parameters_of(own).items())
            if not 0 <= event < MOST_EVENTS:
                raise ValueError(f"{event} is the number of no event")
            if kind not in known:
                known[kind] = len(readers)
                readers.append(_made(native, resource, {**kwargs, **dict(kind)}, options))
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
            # A datum that says too little costs its own row; those that lack the same share what raises it.
            event, kind = 0, f"a datum of spec {name!r} does not say what {native.__name__} needs: {error!r}"
            if kind not in known:
                known[kind] = len(readers)
                readers.append(replace(_unreadable(resource, AssetUnavailable(kind)), known=True))
        places.append(known[kind])
        events.append(event)
    return readers, places, events


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


def _made(
    reader: type[AssetReader],
    resource: Mapping[str, Any],
    parameters: Mapping[str, Any],
    options: AssetOptions,
) -> AssetReader:
    try:
        return reader.of(locate(resource, options), parameters)
    except UntrustedName as error:
        return _unreadable(resource, error)
    except (KeyError, TypeError, ValueError) as error:
        wrong = f"{reader.__name__} cannot make sense of the parameters {dict(parameters)}: {error}"
        return _unreadable(resource, AssetUnavailable(wrong))


def _unreadable(resource: Mapping[str, Any], error: IntakeBlueskyError) -> UnreadableReader:
    path = str(resource.get("uri") or resource.get("resource_path") or "")
    return UnreadableReader(Location(path), type(error), str(error))
