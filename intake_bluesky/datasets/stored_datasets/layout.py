"""What the field `dataset` of a descriptor says: all of a Dataset that its events do not. See docs/reference."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from intake_bluesky.datasets.options import DatasetOptions
from intake_bluesky.datasets.stored_datasets.dtypes import dtype_of, is_text
from intake_bluesky.documents.model import ODD_DOCUMENT, Document, StreamLayout, to_plain
from intake_bluesky.errors import DamagedRun

__all__ = [
    "CONFIGURATION", "DEVICE", "EVENTS", "FIELD", "VERSION", "DatasetLayout", "StoredVariable", "layout_of",
    "restored_layout", "shown_layout", "warn_of_version",
]  # fmt: skip

FIELD: Final = "dataset"
"""The field of a descriptor that has it."""
DEVICE: Final = "dataset"
"""The device whose configuration has what does not change from event to event."""
VERSION: Final = 1
EVENTS: Final = "events"
CONFIGURATION: Final = "configuration"


@dataclass(frozen=True, slots=True)
class StoredVariable:
    """One variable of a Dataset.

    Attributes
    ----------
    name : str
    key : str
        The data key that has its values.
    dims : tuple of str
    dtype : str
        As `intake_bluesky.datasets.stored_datasets.dtypes.dtype_name` names it.
    shape : tuple of int
    coordinate : bool
    place : str
        Where its values are: ``"events"``, ``"configuration"``, or the name of a stream of one event.
    attrs : list of dict
        As `intake_bluesky.datasets.stored_datasets.attributes.attribute_entries` lists them.
    """

    name: str
    key: str
    dims: tuple[str, ...]
    dtype: str
    shape: tuple[int, ...]
    coordinate: bool
    place: str
    attrs: list[Document] = field(default_factory=list)

    def to_document(self) -> Document:
        """As the descriptor has it."""
        found: Document = {
            "name": self.name, "dims": list(self.dims), "dtype": self.dtype, "shape": list(self.shape),
            "coordinate": self.coordinate, "in": self.place, "attrs": self.attrs,
        }  # fmt: skip
        return found if self.key == self.name else {**found, "key": self.key}

    @classmethod
    def of(cls, doc: Mapping[str, Any]) -> StoredVariable:
        """Rebuild what `to_document` gave."""
        name, dims, shape = str(doc["name"]), tuple(map(str, doc["dims"])), tuple(map(int, doc["shape"]))
        if len(dims) != len(shape) or len({*dims}) != len(dims) or any(n < 0 for n in shape):
            raise ValueError(f"{name!r} has dimensions {dims} and the shape {shape}")
        dtype_of(str(doc["dtype"]))
        return cls(
            name, str(doc.get("key", name)), dims, str(doc["dtype"]), shape,
            bool(doc["coordinate"]), str(doc["in"]), list(doc.get("attrs", ())),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class DatasetLayout:
    """A Dataset but for the values of its variables.

    Attributes
    ----------
    dimension : str or None
        The dimension of which each position is an event; None where the Dataset is one event.
    variables : tuple of StoredVariable
        In the Dataset's order.
    attrs : list of dict
    """

    dimension: str | None
    variables: tuple[StoredVariable, ...]
    attrs: list[Document] = field(default_factory=list)

    @property
    def events(self) -> int:
        """How many events the Dataset has."""
        sizes = (n for v in self.variables for dim, n in zip(v.dims, v.shape, strict=True) if dim == self.dimension)
        return next(sizes, 1)

    def to_document(self) -> Document:
        """As the descriptor has it."""
        variables = [variable.to_document() for variable in self.variables]
        return {"version": VERSION, "dimension": self.dimension, "attrs": self.attrs, "variables": variables}

    @classmethod
    def of(cls, doc: Mapping[str, Any]) -> DatasetLayout:
        """Rebuild what `to_document` gave.

        Raises
        ------
        DamagedRun
        """
        try:
            plain, dimension = to_plain(doc), doc["dimension"]
            variables = tuple(map(StoredVariable.of, plain["variables"]))
            for own in variables if dimension is not None else ():
                if own.place == EVENTS and dimension not in own.dims:
                    raise ValueError(f"{own.name!r} is in events, and has no dimension {dimension!r}")
            return cls(None if dimension is None else str(dimension), variables, list(plain["attrs"]))
        except ODD_DOCUMENT as error:
            raise DamagedRun(f"the descriptor's `dataset` cannot be read: {type(error).__name__}: {error}") from error


def layout_of(stream: StreamLayout) -> DatasetLayout | None:
    """The layout that the one descriptor of a stream has; None for events like any others, or of an unknown version.

    Raises
    ------
    DamagedRun
    """
    found = _described(stream)
    return None if found is None or to_plain(found["version"]) != VERSION else DatasetLayout.of(found)


def restored_layout(stream: StreamLayout, options: DatasetOptions) -> DatasetLayout | None:
    """The layout of the Dataset that a stream is given as; None where it is given as events.

    Raises
    ------
    DamagedRun
    """
    if options.as_events or options.portable or options.sub_dict != "data":
        return None
    return layout_of(stream)


def shown_layout(stream: StreamLayout, dataset: DatasetLayout) -> StreamLayout:
    """The stream with the variables of its Dataset in the place of data keys, for whoever lists these."""
    keys: Document = {}
    for own in dataset.variables:
        dtype = dtype_of(own.dtype)
        units = [entry["value"] for entry in own.attrs if entry.get("name") == "units" and "dtype" not in entry]
        keys[own.name] = {"dtype": "string", "shape": list(own.shape), "units": units[0] if units else None}
        keys[own.name] |= {} if is_text(dtype) else {"dtype_numpy": dtype.str}
    [descriptor] = stream.descriptors
    object_keys = {DEVICE: list(keys)}
    return replace(stream, descriptors=({**descriptor, "data_keys": keys, "object_keys": object_keys},), observed=None)


def warn_of_version(stream: StreamLayout) -> None:
    """Say so where a stream is a Dataset of a version that is not known.

    Warns
    -----
    UserWarning
    """
    found = _described(stream)
    if found is not None and to_plain(found["version"]) != VERSION:
        warnings.warn(
            f"stream {stream.name!r} is a Dataset in the layout of version {found['version']!r:.40}, and this program "
            f"knows version {VERSION}: it is given as events. A newer intake-bluesky gives it as it was",
            stacklevel=2,
        )


def _described(stream: StreamLayout) -> Mapping[str, Any] | None:
    if len(stream.descriptors) != 1:
        return None
    found = stream.descriptors[0].get(FIELD)
    return found if isinstance(found, Mapping) and "version" in found else None
