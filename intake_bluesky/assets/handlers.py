"""Third parties' handlers, the fallback: a class per spec, called once per datum."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

import numpy as np

from intake_bluesky.assets.declared import declared_dtype, declared_shape, explicit_dtype
from intake_bluesky.assets.location import Location
from intake_bluesky.assets.options import HANDLERS, AssetOptions, Handler
from intake_bluesky.assets.reader import FrameStructure, LocatedReader
from intake_bluesky.assets.region import WHOLE, Region
from intake_bluesky.documents.columns import TEXT, Array
from intake_bluesky.errors import AssetUnavailable, DamagedRun, PluginError, UntrustedName
from intake_bluesky.runtime.plugins import Registry

__all__ = ["HandlerReader", "discover_handlers", "find_handler"]

MOST_TRIED: Final = 8
"""Datums that are read, one after the other, to find one that a handler can read."""

_INSTALLED: Registry[Handler] = Registry(HANDLERS)


def discover_handlers() -> Mapping[str, Handler]:
    """The handlers that installed packages offer, by spec; each is loaded on first use."""
    return _INSTALLED


def find_handler(spec: str, options: AssetOptions) -> Handler | None:
    """The handler of a spec: of those given, or if none were given of the installed ones.

    Raises
    ------
    PluginError
        When it cannot be imported.
    UntrustedName
        When it is a dotted name and the options are not trusted.
    """
    # `handlers={}` is a choice, too: none of the installed ones, whose code a user may not want to run.
    known = discover_handlers() if options.handlers is None else options.handlers
    if spec not in (known.names() if isinstance(known, Registry) else known):
        return None
    handler = known[spec]
    return _imported(handler, options) if isinstance(handler, str) else handler


def _imported(name: str, options: AssetOptions) -> Handler:
    if not options.trusted:
        raise UntrustedName(
            f"the handler {name!r} is a dotted name, which is imported only for trusted catalogs; register the class, "
            "or trust the catalog"
        )
    module, _, attribute = name.replace(":", ".").rpartition(".")
    try:
        handler: Handler = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise PluginError(f"the handler {name!r} cannot be imported: {error}") from error
    return handler


@dataclass(frozen=True, slots=True)
class HandlerReader(LocatedReader):
    """Reads the datums of one resource with a third party's handler; frame ``i`` is the datum ``i``.

    A handler has no header to look at: dtype and shape are those of the data key, and values that are not what it
    declares raise `DamagedRun` (axes of length one come and go). Where the data key has no numpy dtype, or its shape a
    null, the handler is called for one datum, the first that it can read, to find them.

    Attributes
    ----------
    location : Location
        Its path is what the handler is given.
    handler : callable
    kwargs : mapping
        The resource's.
    datums : tuple of mapping
        ``datum_kwargs`` of each datum used, in the order used.
    spec : mapping
        The data key.
    """

    frame_by_frame: ClassVar[bool] = True

    handler: Handler
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    datums: tuple[Mapping[str, Any], ...] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, location: Location, parameters: Mapping[str, Any]) -> Self:
        """Not the way to make one: a handler is needed."""
        raise TypeError("a HandlerReader is made with its handler")

    def files(self) -> Sequence[Location]:
        """The files that the handler lists, if it can list any; else its path."""
        try:
            self.location.check()
            listed = self.handler(self.path, **self.kwargs).get_file_list(iter(self.datums))  # type: ignore[attr-defined]
        except Exception:  # noqa: BLE001  # a third party's code: whatever it raises, the path is what is known
            return [self.location]
        return [self.location.with_path(str(path)) for path in listed]

    def structure(self, first: int = 0) -> FrameStructure:
        """As the data key declares, and where it does not, as the first value is."""
        shape, dtype = self._declared, explicit_dtype(self.spec)
        if self.datums and (shape is None or dtype is None):
            value = self._first_value(first)
            shape = value.shape if shape is None else shape
            dtype = _dtype_of(value, self.spec) if dtype is None else dtype
        return FrameStructure(len(self.datums), shape or (), declared_dtype(self.spec) if dtype is None else dtype)

    def _first_value(self, first: int) -> Array:
        """The value of the first datum that the handler can read, of a few."""
        refused: AssetUnavailable | None = None
        for number in range(first, min(first + MOST_TRIED, len(self.datums))):
            try:
                return np.asarray(next(self._values(number, number + 1)))
            except AssetUnavailable as error:
                refused = refused or error
        raise refused or AssetUnavailable(f"{self.path} has {len(self.datums)} datums, datum {first} was asked")

    @property
    def _declared(self) -> tuple[int, ...] | None:
        """Shape as declared; None where it has a null."""
        shape = declared_shape(self.spec)
        known = tuple(n for n in shape if n is not None)
        return known if len(known) == len(shape) else None

    def read_into(self, start: int, stop: int, out: Array, region: Region = WHOLE) -> None:
        """Call the handler for each datum."""
        for row, value in enumerate(self._values(start, stop)):
            part = self._conform(np.asarray(value), out.dtype)[region.slices]
            if part.shape != out.shape[1:]:
                raise DamagedRun(f"{self.path} gave a value of shape {np.shape(value)}, others are {out.shape[1:]}")
            out[row] = part

    def _values(self, start: int, stop: int) -> Iterator[Any]:
        name = getattr(self.handler, "__name__", str(self.handler))
        self.location.check()
        try:
            handler = self.handler(self.path, **self.kwargs)
            try:
                for kwargs in self.datums[start:stop]:
                    yield handler(**kwargs)
            finally:
                # Handlers of areaDetector have `close`, others do not; `bool` is a call that does nothing.
                getattr(handler, "close", bool)()
        except Exception as error:  # a third party's code raises whatever it likes
            raise AssetUnavailable(
                f"the handler {name} failed on {self.path}: {type(error).__name__}: {error}"
            ) from error

    def _conform(self, value: Array, dtype: np.dtype[Any]) -> Array:
        shape = self._declared
        if shape is not None and value.shape != shape:
            if [n for n in value.shape if n != 1] != [n for n in shape if n != 1]:
                raise DamagedRun(f"{self.path} gave a value of shape {value.shape} where {shape} was declared")
            value = value.reshape(shape)
        if np.can_cast(value.dtype, dtype, "safe"):
            return value
        # NaN cast to integers warns; the comparison below finds it.
        with np.errstate(invalid="ignore"):
            cast = value.astype(dtype)
        # There and back: what the declared dtype cannot hold would be another number, and nobody would notice.
        back = cast.astype(value.dtype)
        if not np.array_equal(back, value, equal_nan=value.dtype.kind in "fc"):
            raise DamagedRun(
                f"{self.path} gave {value.dtype} values that {dtype} cannot hold, which was declared or is of others"
            )
        return cast


def _dtype_of(value: Array, spec: Mapping[str, Any]) -> np.dtype[Any]:
    """The dtype of all values, by that of one: words may be longer in others."""
    if value.dtype.kind == "U":
        return TEXT
    return declared_dtype(spec) if value.dtype.hasobject else value.dtype
