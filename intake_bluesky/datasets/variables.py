"""Names, dimensions and attributes of a Dataset's variables, from the data keys of its descriptors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from intake_bluesky.documents.model import Document

__all__ = ["RESERVED", "Dimensions", "attributes", "variable_names"]

RESERVED = frozenset({"time", "seq_num"})
"""Names of the Dataset's own coordinates; a key of that name gets a trailing underscore."""


def variable_names(keys: Mapping[str, Any]) -> dict[str, str]:
    """Name the variable of each key.

    Examples
    --------
    >>> variable_names({"time": {}, "det/image": {}, "x": {}})
    {'time': 'time_', 'det/image': 'det_image', 'x': 'x'}
    """
    # A slash separates groups in netCDF, Zarr and DataTree. Keys that need no change have their names first, so that
    # whether a key keeps its name does not depend on the order of keys.
    unchanged = {key for key in keys if key not in RESERVED and "/" not in key}
    taken, names = set(unchanged) | RESERVED, {}
    for key in keys:
        name = key.replace("/", "_")
        while key not in unchanged and name in taken:
            name += "_"
        taken.add(name)
        names[key] = name
    return names


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
            self._sizes.update(zip(given, shape, strict=True))  # type: ignore[arg-type]
            return tuple(given)  # type: ignore[arg-type]
        return tuple(self._next() for _ in shape)

    def _usable(self, given: Any, shape: tuple[int, ...]) -> bool:
        """Whether the names fit: as many as dimensions, distinct, and nowhere else of another size."""
        if not isinstance(given, (list, tuple)) or len(given) != len(shape) or len(set(given)) != len(given):
            return False
        return all(
            isinstance(name, str) and name not in self._taken and self._sizes.get(name, size) == size
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


def attributes(key: str, name: str, spec: Document, *, device: str | None = None) -> dict[str, Any]:
    """Attributes of one variable, all of a form that netCDF and Zarr take: text, numbers, lists of them.

    ``object`` (the device), ``source``, ``units``, ``precision``, ``choices`` and limits as
    ``limits_control_low`` ..., where known; ``key`` where the variable could not have the key's name.
    """
    found: dict[str, Any] = {"object": spec.get("object_name") or device}
    for field in ("source", "units", "precision", "lower_ctrl_limit", "upper_ctrl_limit"):
        found[field] = spec.get(field)
    for kind, limits in (spec.get("limits") or {}).items():
        for side, value in (limits or {}).items() if isinstance(limits, Mapping) else ():
            found[f"limits_{kind}_{side}"] = value
    if spec.get("choices"):
        found["choices"] = [str(choice) for choice in spec["choices"]]
    if name != key:
        found["key"] = key
    return {
        field: value for field, value in found.items() if isinstance(value, (str, int, float, list)) and value != ""
    }
