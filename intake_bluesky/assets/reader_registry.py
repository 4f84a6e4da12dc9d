"""Which reader a resource gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from intake_bluesky.assets.handlers import GROUP as HANDLERS
from intake_bluesky.assets.handlers import HandlerReader, find_handler
from intake_bluesky.assets.hdf5.area_detector import HDF5SequenceReader, TimestampReader
from intake_bluesky.assets.hdf5.eiger import EigerReader
from intake_bluesky.assets.hdf5.reader import HDF5Reader, TimepixReader
from intake_bluesky.assets.hdf5.xspress import Xspress3Reader
from intake_bluesky.assets.images.cbf import CbfReader
from intake_bluesky.assets.images.jpeg import JpegReader
from intake_bluesky.assets.images.npy import NpySequenceReader
from intake_bluesky.assets.images.spe import SpeReader
from intake_bluesky.assets.images.tiff import TiffReader
from intake_bluesky.assets.location import Location, locate
from intake_bluesky.assets.options import AssetOptions
from intake_bluesky.assets.reader import AssetReader, UnreadableReader
from intake_bluesky.assets.text.reader import CSVReader
from intake_bluesky.assets.zarr_arrays import ZarrReader
from intake_bluesky.errors import AssetUnavailable, IntakeBlueskyError, PluginError, UntrustedName
from intake_bluesky.runtime.plugins import Registry

__all__ = ["GROUP", "datum_readers", "native_reader", "stream_reader"]

GROUP = "intake_bluesky.assets"

BUILT_IN: tuple[type[AssetReader], ...] = (
    CSVReader,
    CbfReader,
    EigerReader,
    HDF5Reader,
    HDF5SequenceReader,
    JpegReader,
    NpySequenceReader,
    SpeReader,
    TiffReader,
    TimepixReader,
    TimestampReader,
    Xspress3Reader,
    ZarrReader,
)

_INSTALLED: Registry[type[AssetReader]] = Registry(GROUP)
_BY_NAME = {name: reader for reader in BUILT_IN for name in (*reader.mimetypes, *reader.specs)}


def native_reader(name: str) -> type[AssetReader] | None:
    """The reader of a mimetype or spec: one that an installed package announces under that name, else one built in.

    In the name of an entry point ``=`` is written ``%3D``, as in ``multipart/related;type%3Dimage/tiff``.

    Examples
    --------
    >>> native_reader("application/x-hdf5").__name__
    'HDF5Reader'
    """
    return _INSTALLED.get(name) or _BY_NAME.get(name)


def known_names() -> str:
    """Every mimetype and spec that is read natively, for messages."""
    return ", ".join(sorted({*_BY_NAME, *_INSTALLED.names()}))


def stream_reader(resource: Mapping[str, Any], options: AssetOptions) -> AssetReader:
    """The reader of a stream resource; one that raises when it comes to reading where there is none."""
    mimetype = str(resource.get("mimetype") or resource.get("spec") or "")
    parameters = {**(resource.get("resource_kwargs") or {}), **(resource.get("parameters") or {})}
    try:
        reader = native_reader(mimetype)
    except PluginError as error:
        return _unreadable(resource, PluginError, str(error))
    if reader is None:
        return _unreadable(
            resource,
            AssetUnavailable,
            f"nothing installed reads the mimetype {mimetype!r}; those read are {known_names()}. "
            f"Install a package that offers a reader for it under the entry point group {GROUP!r}",
        )
    return _made(reader, resource, parameters, options)


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
        return [_handler_reader(name, resource, datums, spec, options)], [0] * len(datums), list(range(len(datums)))
    try:
        events = [native.event_of(own) for own in datums]
        added = [native.parameters_of(own) for own in datums] or [{}]
        kinds = [tuple(own.items()) for own in added]
        places = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
    except (KeyError, TypeError, ValueError) as error:
        message = f"a datum of spec {name!r} does not say what {native.__name__} needs: {error!r}"
        return [_unreadable(resource, AssetUnavailable, message)], [0] * len(datums), [0] * len(datums)
    readers = [_made(native, resource, {**kwargs, **dict(kind)}, options) for kind in places]
    return readers, [places[kind] for kind in kinds[: len(datums)]], events


def _native_of_spec(spec: str, options: AssetOptions) -> type[AssetReader] | None:
    if spec in (options.handlers or {}):
        return None
    try:
        return native_reader(spec)
    except PluginError:
        return None


def _handler_reader(
    name: str,
    resource: Mapping[str, Any],
    datums: Sequence[Mapping[str, Any]],
    spec: Mapping[str, Any],
    options: AssetOptions,
) -> AssetReader:
    kwargs = dict(resource.get("resource_kwargs") or {})
    try:
        handler = find_handler(name, options)
        if handler is not None:
            return HandlerReader(handler, locate(resource, options), kwargs, tuple(datums), dict(spec))
    except IntakeBlueskyError as error:
        return _unreadable(resource, type(error), str(error))
    return _unreadable(
        resource,
        AssetUnavailable,
        f"nothing installed reads the spec {name!r}; those read are {known_names()}. Install a package that "
        f"offers a handler for it under the entry point group {HANDLERS!r}, or give one as "
        f"handler_registry={{{name!r}: ...}}",
    )


def _made(
    reader: type[AssetReader],
    resource: Mapping[str, Any],
    parameters: Mapping[str, Any],
    options: AssetOptions,
) -> AssetReader:
    try:
        return reader.of(locate(resource, options), parameters)
    except UntrustedName as error:
        return _unreadable(resource, UntrustedName, str(error))
    except (KeyError, TypeError, ValueError) as error:
        return _unreadable(
            resource,
            AssetUnavailable,
            f"{reader.__name__} cannot make sense of the parameters {dict(parameters)}: {error}",
        )


def _unreadable(resource: Mapping[str, Any], error: type[IntakeBlueskyError], message: str) -> UnreadableReader:
    path = str(resource.get("uri") or resource.get("resource_path") or "")
    return UnreadableReader(Location(path).path, error, message)
