"""Names, dimensions and attributes of a Dataset's variables, from the data keys of its descriptors."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from intake_bluesky.documents.columns import Array
from intake_bluesky.documents.exact_json import json_text
from intake_bluesky.documents.model import Document, to_plain
from intake_bluesky.errors import DamagedRun
from intake_bluesky.integers import INT64_END

__all__ = [
    "EPOCH", "MEANINGS", "RESERVED", "Dimensions", "agreed", "attribute", "attributes", "datetimes", "in_turn",
    "storable", "variable_names",
]  # fmt: skip

RESERVED = frozenset({"time", "seq_num"})
"""Names of the Dataset's own coordinates; a key of that name gets a trailing underscore."""
EPOCH: Final = "seconds since 1970-01-01 00:00:00"
"""The units of times, as CF's conventions have them."""
MEANINGS: Final = ("units", "choices")
"""What of a data key says what its numbers mean."""

UNWRITABLE: Final = re.compile("[\0\ud800-\udfff]")
"""What no text in files holds."""
NO_NAME: Final = re.compile(r"[/\\\x00-\x1f\x7f\ud800-\udfff]")
"""What no name holds: what separates groups, the slash in netCDF, Zarr and DataTree, the backslash in Zarr; control
characters in netCDF."""
BEGINNING: Final = re.compile(r"[A-Za-z0-9_]|[^\x00-\x7f]")
"""How names begin in netCDF (the User's Guide, "Permitted characters in netCDF names")."""
FILES_OF_ZARR: Final = frozenset({"zarr.json"})  # others begin with a dot
LONGEST: Final = 200  # bytes; Zarr makes a folder for each name, which most file systems give 255


def variable_names(keys: Iterable[str], reserved: Collection[str] = RESERVED) -> dict[str, str]:
    """Name the variable of each key, or the group: as the key, wherever netCDF and Zarr can have such a name.

    Examples
    --------
    >>> variable_names({"time": {}, "det/image": {}, "x": {}})
    {'time': 'time_', 'det/image': 'det_image', 'x': 'x'}
    """
    nearest = {key: storable(key) for key in keys}
    # Keys that need no change have their names first, so that whether a key keeps its name does not depend on the
    # order of keys.
    unchanged = {key for key, name in nearest.items() if name == key and key not in reserved}
    taken, names = unchanged | set(reserved), {}
    for key, name in nearest.items():
        while key not in unchanged and name in taken:
            name += "_"
        taken.add(name)
        names[key] = name
    return names


def storable(key: str) -> str:
    """The name nearest to a key that netCDF and Zarr can have.

    Examples
    --------
    >>> storable("det/image"), storable("motor.user_readback"), storable(".."), storable("(x)")
    ('det_image', 'motor.user_readback', '_..', '_(x)')
    """
    if len(key) * 4 <= LONGEST and key.isidentifier():  # as nearly all are, and a small run is read as fast as named
        return key
    name = NO_NAME.sub("_", key)
    if not BEGINNING.match(name):
        name = f"_{name}"
    name = name.encode()[:LONGEST].decode(errors="ignore")
    return f"{name}_" if name in FILES_OF_ZARR or name.endswith(" ") else name


class Dimensions:
    """Gives names to the dimensions of one stream: those of a data key, else ``dim_0``, ``dim_1`` ...

    Examples
    --------
    >>> dimensions = Dimensions(taken={"image"})
    >>> dimensions.of({"dims": ["y", "x"]}, (4, 4)), dimensions.of({}, (4,))
    (('y', 'x'), ('dim_0',))
    """

    def __init__(self, taken: set[str]) -> None:
        self._sizes: dict[str, int] = {}
        self._taken = taken | RESERVED
        self._count = 0

    def of(self, spec: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[str, ...]:
        """Names for the dimensions of one event's value of that shape."""
        given = spec.get("dims")
        if self._usable(given, shape) and not _reordered(spec.get("shape"), shape):
            # Remembered: two keys share a dimension only where it has one size, which xarray insists on.
            self._sizes.update(zip(given, shape, strict=True))  # type: ignore[arg-type]  # a list
            return tuple(given)  # type: ignore[arg-type]  # if usable
        return tuple(self._next() for _ in shape)

    def _usable(self, given: Any, shape: tuple[int, ...]) -> bool:
        """Whether the names fit: as many as dimensions, distinct, and nowhere else of another size."""
        if not isinstance(given, (list, tuple)) or not all(isinstance(name, str) for name in given):
            return False
        if len(given) != len(shape) or len(set(given)) != len(given):
            return False
        return all(
            name not in self._taken and storable(name) == name and self._sizes.get(name, size) == size
            for name, size in zip(given, shape, strict=True)
        )

    def _next(self) -> str:
        name = f"dim_{self._count}"
        self._count += 1
        return self._next() if name in self._taken or name in self._sizes else name


def _reordered(declared: Any, shape: tuple[int, ...]) -> bool:
    """Whether a file has the declared lengths in another order, so that the names would be those of other axes."""
    if not isinstance(declared, (list, tuple)) or list(declared) == list(shape):
        return False
    return sorted(map(str, declared)) == sorted(map(str, shape))


def agreed(specs: Sequence[Document]) -> Document:
    """One data key for all values, of those that the descriptors of a stream give in turn; the last one's counts.

    Units and choices that change would be wrong of some values: all are told, in the words of no unit.

    Examples
    --------
    >>> agreed([{"source": "a", "units": "mm"}, {"source": "b", "units": "um"}])
    {'source': 'b', 'units': 'mm, then um'}
    """
    if len(specs) == 1:
        return specs[0]
    spec = dict(specs[-1]) if specs else {}
    for field in MEANINGS:
        told = in_turn(specs, field)
        if len(told) > 1:
            spec[field] = ", then ".join(told)
    return spec


def in_turn(specs: Sequence[Document], field: str) -> list[str]:
    """What several data keys say in a field, as text, each once."""
    found = [spec.get(field) for spec in specs]
    texts = [", ".join(map(str, v)) if isinstance(v, (list, tuple)) else "none" if v is None else str(v) for v in found]
    return list(dict.fromkeys(texts))


def attributes(key: str, name: str, spec: Document, *, device: str | None = None) -> dict[str, Any]:
    """Attributes of one variable, all of a form that netCDF and Zarr take: text, numbers, lists of them.

    ``object`` (the device), ``source``, ``units``, ``precision``, ``choices`` and limits as
    ``limits_control_low`` ..., where known; ``key`` where the variable could not have the key's name. What
    netCDF cannot hold is JSON text.
    """
    found: dict[str, Any] = {"object": spec.get("object_name") or device}
    for field in ("source", "units", "precision", "lower_ctrl_limit", "upper_ctrl_limit"):
        found[field] = spec.get(field)
    limits = spec.get("limits")
    for kind, sides in limits.items() if isinstance(limits, Mapping) else ():
        for side, value in sides.items() if isinstance(sides, Mapping) else ():
            found[f"limits_{kind}_{side}"] = value
    if isinstance(choices := spec.get("choices"), (list, tuple, str)) and choices:
        found["choices"] = choices if isinstance(choices, str) else [str(choice) for choice in choices]
    known = {field: attribute(value) for field, value in found.items() if value is not None and value != ""}
    return known if name == key else {**known, "key": attribute(key)}


def attribute(value: Any) -> Any:
    """The value of an attribute as netCDF and Zarr can hold it, else as JSON text.

    Examples
    --------
    >>> attribute(1.5), attribute(["a", "b"]), attribute({"a": None}), attribute(True)
    (1.5, ['a', 'b'], '{"a": null}', 'true')
    """
    if type(value) is str and not UNWRITABLE.search(value):
        return value
    plain = to_plain(value)
    values = plain if isinstance(plain, list) else [plain]
    kinds = set(map(type, values))
    if kinds <= {str}:
        held = not any(UNWRITABLE.search(text) for text in values)
    else:
        held = kinds <= {int, float} and all(isinstance(v, float) or -INT64_END <= v < INT64_END for v in values)
    return plain if held else json_text(plain)


def datetimes(seconds: Array) -> Array:
    """Float seconds to datetime64[ns], to the microsecond that a float of today's epoch holds; NaN to NaT.

    Raises
    ------
    DamagedRun
        Where one is out of the years 1677 to 2262 that 64 bits of nanoseconds hold: of milliseconds, numpy makes a date
        that looks right.
    """
    out = np.full(len(seconds), np.datetime64("NaT", "ns"), dtype="datetime64[ns]")
    known = ~np.isnan(seconds)
    if (odd := seconds[known][~(np.abs(seconds[known]) < INT64_END / 1e9)]).size:
        raise DamagedRun(
            f"an event's time is {float(odd[0])!r}, as seconds since 1970 no date between the years 1677 and 2262: ask "
            "for decode_times=False, which gives times as they are recorded, or draw against another key"
        )
    out[known] = np.round(seconds[known] * 1e6).astype("datetime64[us]").astype("datetime64[ns]")
    return out
