"""Drawing what was read, with matplotlib, which is imported on first use."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

import numpy as np

from intake_bluesky.catalogs.display.values import on_one_line
from intake_bluesky.catalogs.plots.values import PlottedValues
from intake_bluesky.datasets.variables import datetimes
from intake_bluesky.documents.columns import Array
from intake_bluesky.runtime.optional import optional_import

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

STACKED: Final = 4
"""How many panels at most stand one above the other; more are drawn in several columns."""
LABELLED: Final = 3
"""How many lines at most an axis names; the legend names all."""
ROBUST: Final = (1, 99)
"""Percentiles of an image between which its colours are: one hot pixel does not make the rest of it dark."""
SIMILAR: Final = 2
"""How many times longer one axis of a map in equal units may be for both to have one scale."""


def draw(pictures: Sequence[PlottedValues], title: str, ax: Any, *, together: bool) -> Any:
    """Draw panels, or lines `together` in one; give the axes, an array of them where there are several panels.

    Raises
    ------
    ValueError
        When there are not as many axes in `ax` as panels.
    MissingDependency
        When matplotlib is not installed.
    """
    axes = _axes(ax, 1 if together else len(pictures), shared=_shared(pictures))
    for number, picture in enumerate(pictures):
        own = axes.flat[0 if together else number]
        _DRAWN[picture.panel.kind](own, picture)
        if _shows_several(own):
            if own.title.get_gid() == _title_id(own.get_title()):  # that of the first run would stand over all
                own.set_title("")
        elif not own.get_title():
            # The title once: of several panels over the first.
            words = [title if number == 0 else "", picture.panel.note, picture.note]
            text = "\n".join(on_one_line(text) for text in words if text)
            own.set_title(text, parse_math=False, fontsize="medium").set_gid(_title_id(text))
    for own in axes.flat:
        _legend(own)
    return axes.flat[0] if axes.size == 1 else axes


def _shared(pictures: Sequence[PlottedValues]) -> bool:
    """Whether all panels have one horizontal axis, and of maps one vertical axis."""
    return len({(p.panel.kind, p.panel.x, p.panel.y) for p in pictures}) == 1 and pictures[0].panel.x != ""


def _axes(ax: Any, panels: int, *, shared: bool) -> Array:
    pyplot = optional_import("matplotlib.pyplot", extra="plot", purpose="to draw plots", package="matplotlib")
    if ax is not None:
        given = np.atleast_1d(np.asarray(ax, dtype=object))
        if given.size != panels:
            raise ValueError(
                f"{panels} panels need as many axes, and ax has {given.size}: name fewer keys, or more axes"
            )
        return given
    columns = 1 if panels <= STACKED else math.ceil(math.sqrt(panels))
    rows = math.ceil(panels / columns)
    size = (6.4 if columns == 1 else 4.5 * columns, 4.4 if panels == 1 else 2.9 * rows)
    _, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, sharex=shared, layout="constrained")
    for unused in axes.flat[panels:]:
        unused.remove()
    return np.array(axes.flat[:panels], dtype=object)


def _text(picture: PlottedValues, place: str) -> str:
    return on_one_line(picture.labels[place])


def _label_axes(axes: Axes, picture: PlottedValues, y: str = "y") -> None:
    # `parse_math`: a dollar sign in a name is no formula.
    axes.set_xlabel(_text(picture, "x"), parse_math=False)
    axes.set_ylabel(_text(picture, y), parse_math=False)


def _draw_line(axes: Axes, picture: PlottedValues) -> None:
    clock = picture.panel.x == "time" and picture.labels["x"] == "event time"
    x = datetimes(picture.x).astype("datetime64[us]") if clock else picture.x
    style = "-" if picture.panel.kind == "spectrum" else "o-"
    (line,) = axes.plot(x, picture.y, style, ms=3, lw=1, label=_text(picture, "y"))
    line.set_gid(picture.run)
    _label_axes(axes, picture)
    if clock:
        _clock(axes, picture.x)


def _clock(axes: Axes, seconds: Array) -> None:
    """Show times as clock time, in the time zone of this machine."""
    dates = optional_import("matplotlib.dates", extra="plot", purpose="to draw plots", package="matplotlib")
    zone = import_module("dateutil.tz").tzlocal()
    locator = dates.AutoDateLocator(tz=zone)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=zone))
    axes.set_xlabel("time")


def _title_id(text: str) -> str:
    """By which a title that was made here, and not changed since, is known."""
    return f"title-{crc32(text.encode(errors='replace')):08x}"


def _shows_several(axes: Axes) -> bool:
    """Whether there are lines of several runs."""
    return len({line.get_gid() for line in axes.lines} - {None}) > 1


def _legend(axes: Axes) -> None:
    """Name the lines where there are several, with their runs where these differ."""
    lines = [line for line in axes.lines if line.get_gid()]
    if len(lines) < 2:
        return
    labels = dict.fromkeys(str(line.get_label()) for line in lines)
    axes.set_ylabel(", ".join(labels) if len(labels) <= LABELLED else "", parse_math=False)
    several = _shows_several(axes)
    names = [f"{line.get_label()}, {line.get_gid()}" if several else str(line.get_label()) for line in lines]
    for text in axes.legend(lines, names, frameon=False).get_texts():
        text.set_parse_math(False)


def _draw_map(axes: Axes, picture: PlottedValues) -> None:
    x, y = _edges(picture.x), _edges(picture.y)
    drawn = axes.pcolormesh(x, y, picture.values, shading="flat")
    _colours(axes, drawn, picture)
    _label_axes(axes, picture)
    _scale(axes, np.ptp(x), np.ptp(y), picture)


def _edges(positions: Array) -> Array:
    """Where the cells around positions end: half way to the next.

    Examples
    --------
    >>> _edges(np.array([0.0, 1.0, 3.0]))
    array([-0.5,  0.5,  2. ,  4. ])
    """
    if len(positions) == 1:
        positions = positions + np.array([0, 1])
        return positions - 0.5
    between = (positions[1:] + positions[:-1]) / 2
    edges: Array = np.concatenate([[2 * positions[0] - between[0]], between, [2 * positions[-1] - between[-1]]])
    return edges


def _scale(axes: Axes, width: float, height: float, picture: PlottedValues) -> None:
    """One scale for both axes where they are of the same units and of similar length."""
    units = [text[text.find("(") :] if "(" in text else "" for text in (picture.labels["x"], picture.labels["y"])]
    if units[0] == units[1] and height > 0 and 1 / SIMILAR <= width / height <= SIMILAR:
        axes.set_aspect("equal")


def _draw_scatter(axes: Axes, picture: PlottedValues) -> None:
    drawn = axes.scatter(picture.x, picture.y, c=picture.values, s=24)
    _colours(axes, drawn, picture)
    _label_axes(axes, picture)


def _draw_image(axes: Axes, picture: PlottedValues) -> None:
    values = picture.values.astype(np.uint8) if picture.values.dtype == np.bool_ else picture.values
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, ROBUST) if known.size else (0, 1)
    # Few bright pixels on nothing: percentiles would show nothing.
    low, high = (low, high) if low < high else (known.min(initial=low), known.max(initial=high))
    if values.ndim == 3 and values.dtype != np.uint8:
        values = _coloured(values, float(low), float(high))
    drawn = axes.imshow(values, vmin=float(low), vmax=float(high), interpolation="nearest")
    if values.ndim == 2:
        _colours(axes, drawn, picture)
    _label_axes(axes, picture)


def _coloured(values: Array, low: float, high: float) -> Array:
    """A colour image between 0 and 1, as matplotlib takes it; transparent where there is no value."""
    known = np.isfinite(values).all(axis=-1, keepdims=True)
    scaled = np.clip((values.astype(np.float64) - low) / ((high - low) or 1), 0, 1)
    return np.concatenate([np.where(known, scaled, 0), known], axis=-1)


def _colours(axes: Axes, drawn: Any, picture: PlottedValues) -> None:
    bar = axes.figure.colorbar(drawn, ax=axes)
    bar.set_label(_text(picture, "values"), parse_math=False)


_DRAWN: Final = {
    "line": _draw_line, "series": _draw_line, "spectrum": _draw_line, "map": _draw_map, "scatter": _draw_scatter,
    "image": _draw_image,
}  # fmt: skip
