"""The values of a plot, read from a stream: only the keys that it shows, and of images one frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from intake_bluesky.catalogs.display.values import plain_text
from intake_bluesky.catalogs.plots.choice import OWN, Panel
from intake_bluesky.datasets.variables import RESERVED
from intake_bluesky.documents.columns import Array
from intake_bluesky.errors import AssetUnavailable, UnsupportedOperation

if TYPE_CHECKING:
    import xarray as xr

    from intake_bluesky.catalogs.stream import BlueskyStream

__all__ = ["PlottedValues", "plotted_values"]

PLAIN: Final[Mapping[str, Any]] = {
    "exclude": (), "as_events": True, "sub_dict": "data", "on_missing": "raise", "portable": False,
    "decode_times": False, "text_dtype": "object",
}  # fmt: skip
"""Whatever else a stream was opened with: what is missing is drawn as a gap, never as zeros."""
COLOURS: Final = (3, 4)
"""Lengths of the last axis of a colour image: red, green, blue, and of bytes how opaque."""


@dataclass(frozen=True, slots=True)
class PlottedValues:
    """What a panel shows, in memory.

    Attributes
    ----------
    panel : Panel
    x, y : numpy.ndarray
        Positions of points; of a map, those along its two axes, rising. Empty for an image.
    values : numpy.ndarray
        Of a map and an image of shape (rows, columns), else one for each point.
    labels : mapping of "x", "y" and "values" to str
        Names and units.
    run : str
        The run's scan_id, or the beginning of its uid.
    note : str
        Which frame it is.
    """

    panel: Panel
    x: Array
    y: Array
    values: Array
    labels: Mapping[str, str]
    run: str
    note: str = ""


def plotted_values(stream: BlueskyStream, panel: Panel, index: int) -> PlottedValues:
    """Read what a panel shows.

    Raises
    ------
    UnsupportedOperation
        When there are no events, or values that cannot be drawn in this way.
    AssetUnavailable
        When a file is missing.
    IndexError
        When there is no event of this index.
    """
    if panel.kind in ("image", "spectrum"):
        return _of_one_event(stream, panel, index)
    return _map(stream, panel) if panel.kind == "map" else _points(stream, panel)


def _events(stream: BlueskyStream, keys: Sequence[str]) -> xr.Dataset:
    plain = stream(**PLAIN, include=tuple(dict.fromkeys(keys)))
    try:
        dataset = plain.read()
    except AssetUnavailable as lacking:
        # The last rows of a run that goes on may have no frames yet; where there are none at all, a file is missing.
        dataset = plain(trim=True).read()
        if not dataset.sizes["time"]:
            raise lacking from None
    if not dataset["seq_num"].size:
        raise _no_events(stream)
    return dataset


def _no_events(stream: BlueskyStream) -> UnsupportedOperation:
    return UnsupportedOperation(f"{stream._where} has no events to draw")


def _variable(dataset: xr.Dataset, key: str) -> xr.Variable:
    """The variable of a key, which may be called as a coordinate of the Dataset's own."""
    own = ((name, v) for name, v in dataset.variables.items() if name not in RESERVED)
    return next(v for name, v in own if v.attrs.get("key", name) == key)


def _axis(dataset: xr.Dataset, name: str) -> tuple[xr.Variable, str]:
    """What lines are drawn against, and its label: the time of events, where they have any, their number, or a key."""
    if name not in OWN:
        variable = _variable(dataset, name)
        return variable, _label(variable, name)
    variable = dataset.variables["time" if name == "time" and "time" in dataset.coords else "seq_num"]
    return variable, str(variable.attrs["long_name"])


def _label(variable: xr.Variable, key: str) -> str:
    units = variable.attrs.get("units")
    return f"{key} ({units})" if units else key


def _numbers(variable: xr.Variable, key: str, *, text: bool = False) -> Array:
    """One number an event, NaN where there is none; text, where it may be drawn, as it is."""
    values = np.asarray(variable.values)
    values = values.reshape(values.shape[:1]) if values.size == len(values) else values
    if values.ndim != 1 or variable.dims[0] != "time":
        raise UnsupportedOperation(f"{key!r} has values of shape {values.shape[1:]} an event, and not one number")
    if values.dtype.kind in "iuf":
        return values
    if values.dtype.kind == "b":
        return values.astype(np.int64)
    if text and all(isinstance(value, str) for value in values):
        return values
    numbers = np.full(len(values), np.nan)
    for place, value in enumerate(values):
        try:
            numbers[place] = np.nan if value is None else float(value)
        except (TypeError, ValueError, OverflowError):  # of an integer past what a float holds
            told = f"{plain_text(value):.60}"
            raise UnsupportedOperation(f"{key!r} has values that are no numbers to draw, such as {told!r}") from None
    return numbers


def _points(stream: BlueskyStream, panel: Panel) -> PlottedValues:
    places = [place for place in (panel.x, panel.y) if place and place not in OWN]
    dataset = _events(stream, [panel.key, *places])
    x, against = _axis(dataset, panel.x)
    value = _variable(dataset, panel.key)
    y = _variable(dataset, panel.y) if panel.y else value
    labels = {"x": against, "y": _label(y, panel.y or panel.key), "values": _label(value, panel.key)}
    return PlottedValues(
        panel,
        _numbers(x, panel.x, text=panel.kind == "line"),
        _numbers(y, panel.y or panel.key),
        _numbers(value, panel.key),
        labels,
        _run(stream),
    )


def _run(stream: BlueskyStream) -> str:
    start = stream._header.start
    return str(start["scan_id"]) if isinstance(start.get("scan_id"), int) else str(start["uid"])[:8]


def _map(stream: BlueskyStream, panel: Panel) -> PlottedValues:
    dataset = _events(stream, [panel.key])
    value = _variable(dataset, panel.key)
    grid = stream(**PLAIN, include=()).to_grid()
    # The values of events, placed by their numbers: a grid of integers in files has no value for what was not measured.
    row = {number: n for n, number in enumerate(dataset["seq_num"].values.tolist())}
    rows = np.array([row.get(number, -1) for number in grid["seq_num"].values.ravel().tolist()])
    readings = _numbers(value, panel.key).astype(np.float64)
    values = np.where(rows < 0, np.nan, readings[rows]).reshape(grid["seq_num"].shape)
    axes, labels = [], {"values": _label(value, panel.key)}
    for number, (key, dim, side) in enumerate(zip((panel.y, panel.x), grid["seq_num"].dims, "yx", strict=True)):
        if dim not in grid.coords:
            raise UnsupportedOperation(f"{key!r} has no numbers for positions along the axis of a map")
        positions = grid[dim].values
        order = np.argsort(positions)
        order = order[np.isfinite(positions[order])]  # where nothing was measured, and nothing is known of the plan
        values = np.take(values, order, axis=number)
        if len(np.unique(positions[order])) < len(order):
            raise UnsupportedOperation(f"the scan came to a position of {key!r} twice, which a map shows once")
        axes.append(positions[order])
        labels[side] = _label(grid[dim].variable, key)
    return PlottedValues(panel, axes[1], axes[0], values, labels, _run(stream))


def _of_one_event(stream: BlueskyStream, panel: Panel, index: int) -> PlottedValues:
    plain = stream(**PLAIN, include=(panel.key,))
    dataset = plain.to_dask()
    if not dataset["seq_num"].size:
        raise _no_events(stream)
    if index < 0:
        # Counted from the last frame that there is: the last events of a run that goes on may have none yet.
        trimmed = plain(trim=True).to_dask()
        dataset = trimmed if trimmed["seq_num"].size else dataset
    events = _variable(dataset, panel.key)
    number = len(events)
    if not -number <= index < number:
        raise IndexError(f"{stream._where} has {number} events of {panel.key!r}: there is none of index {index}")
    note = f"{index % number + 1} of {number}" if number > 1 else ""
    array, more = _frame(events[index], 2 if panel.kind == "image" else 1)
    if array is None or array.dtype.kind not in "biuf":
        raise UnsupportedOperation(
            f"{panel.key!r} has values of shape {events.shape[1:]} and type {events.dtype} an event: no {panel.kind}"
        )
    label, values = _label(array, panel.key), np.asarray(array.values)
    names = ["" if str(dim).startswith("dim_") else str(dim) for dim in array.dims]
    if panel.kind == "spectrum":
        labels = {"x": names[0] or "channel", "y": label, "values": label}
        return PlottedValues(
            panel, np.arange(len(values)), values, values, labels, _run(stream), note and f"event {note}"
        )
    labels = {"x": names[1] or "column", "y": names[0] or "row", "values": label}
    empty: Array = np.empty(0)
    told = ", ".join(text for text in (note and f"image {note}", more) if text)
    return PlottedValues(panel, empty, empty, values, labels, _run(stream), told)


def _frame(array: xr.Variable, axes: int) -> tuple[xr.Variable | None, str]:
    """What of one event is drawn: of several frames the last, a colour image whole; None where it has no such thing."""
    single = [dim for dim, length in array.sizes.items() if length == 1][: max(array.ndim - axes, 0)]
    array = array.isel(dict.fromkeys(single, 0))
    colours = COLOURS if array.dtype == np.uint8 else COLOURS[:1]
    coloured = axes == 2 and array.ndim > 2 and array.shape[-1] in colours
    if array.ndim < axes or 0 in array.shape:
        return None, ""
    notes = [f"frame {length} of {length}" for length in array.shape[: array.ndim - axes - coloured]]
    return array[(-1,) * len(notes)], ", ".join(notes)
