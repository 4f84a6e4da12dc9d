"""`BlueskyStream.plot` and `BlueskyRun.plot`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from intake_bluesky.catalogs.plots.choice import Panel, chosen, title
from intake_bluesky.catalogs.plots.drawing import draw
from intake_bluesky.catalogs.plots.values import PlottedValues, plotted_values
from intake_bluesky.documents.model import DEFAULT_STREAM
from intake_bluesky.errors import UnsupportedOperation

if TYPE_CHECKING:
    from intake_bluesky.catalogs.run import BlueskyRun
    from intake_bluesky.catalogs.stream import BlueskyStream

__all__ = ["plot_run", "plot_stream"]


def plot_run(self: BlueskyRun, stream: str | None = None, **options: Any) -> Any:
    """Draw the run as bluesky's BestEffortCallback would: what detectors hint, against the motors that were scanned.

    A panel a detector: a line for a scan along one dimension, a line against clock time for a count, a map for a scan
    over a grid, coloured points for another scan of two dimensions, a frame for a camera. A scan of more dimensions is
    drawn against time.

    Parameters
    ----------
    stream : str, optional
        ``primary`` by default, or the only stream there is.
    **options
        Of `BlueskyStream.plot`: ``ax``, ``index``, ``x``, ``kind``.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray of them
        An array where there are several panels. Nothing is shown: a notebook does so itself, a script calls
        ``matplotlib.pyplot.show()``.

    Raises
    ------
    UnsupportedOperation
        When the stream has no events, nothing that a plot shows, or hints more than 40 panels: name keys then.
    StreamNotFound, MissingDependency

    Examples
    --------
    >>> from intake_bluesky import BlueskyCatalog
    >>> from intake_bluesky.testing import EXAMPLES, MemoryStore
    >>> run = BlueskyCatalog(MemoryStore([EXAMPLES["scan"](None)]))[-1]
    >>> axes = run.plot()
    >>> axes.get_xlabel(), axes.get_ylabel(), axes.get_title()
    ('theta (deg)', 'det', '2 scan d12f041e: Ni foil')
    """
    streams = list(self.header.streams)
    if stream is None and DEFAULT_STREAM not in streams and len(streams) != 1:
        told = f"it has {', '.join(streams)}: name one, run.plot({streams[0]!r})" if streams else "it has none"
        raise UnsupportedOperation(f"run {self.uid} has no stream {DEFAULT_STREAM!r} to draw; {told}")
    return self[stream or (DEFAULT_STREAM if DEFAULT_STREAM in streams else streams[0])].plot(**options)


def plot_stream(
    self: BlueskyStream, *keys: str, x: str | None = None, kind: str | None = None, ax: Any = None, index: int = -1
) -> Any:
    """Draw keys of the stream, with matplotlib.

    Parameters
    ----------
    *keys : str
        Lines of several keys are drawn together, with a legend; other plots have a panel each. Without keys, what the
        detectors hint is drawn, a panel each; without hints, all numbers, or all images; of more than 40, none.
    x : str, optional
        What lines are drawn against: a key, ``time`` or ``seq_num``; by default the motor that was scanned, or time.
    kind : {"line", "series", "map", "scatter", "image", "spectrum"}, optional
        A line against a motor, or against time; a map of a grid, its gaps left blank; coloured points over two motors;
        one frame, its colours between the 1st and 99th percentile; one event's array. By default as the plan and
        the data keys have it.
    ax : matplotlib.axes.Axes, or an array or list of them, optional
        Where to draw, one for each panel, or one for all lines; a new figure by default.
    index : int
        Which event's image or array is drawn. Only that one is read; negative counts from the last that there is.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray of them

    Raises
    ------
    KeyError
        When a key is not one of the stream.
    UnsupportedOperation
        When there are no events, or a key makes no such plot.
    AssetUnavailable
        When a file is missing.
    IndexError, ValueError, MissingDependency

    Examples
    --------
    >>> from intake_bluesky import BlueskyCatalog
    >>> from intake_bluesky.testing import EXAMPLES, MemoryStore
    >>> primary = BlueskyCatalog(MemoryStore([EXAMPLES["scan"](None)]))[-1].primary
    >>> axes = primary.plot("counts", x="time")
    >>> axes.get_xlabel(), len(axes.lines[0].get_xdata())
    ('time', 11)
    """
    if self._device is not None or self._options.sub_dict != "data":
        raise UnsupportedOperation(f"plots show what was measured: ask for that of the events of {self._where}")
    header = self._header
    panels = chosen(header, self._stream, self.keys, keys, x=x, kind=kind)
    pictures = [_picture(self, panel, index, kind) for panel in panels]
    lines = {(panel.kind, panel.x) for panel in panels}
    one_place = keys or hasattr(ax, "plot")
    together = len(panels) > 1 and len(lines) == 1 and panels[0].kind in ("line", "series") and bool(one_place)
    return draw(pictures, title(header.start), ax, together=together)


def _picture(stream: BlueskyStream, panel: Panel, index: int, kind: str | None) -> PlottedValues:
    try:
        return plotted_values(stream, panel, index)
    except UnsupportedOperation:
        if panel.kind != "map" or kind == "map":
            raise
    # Planned as a grid, and not measured as one: points where the motors were are right in any case.
    return plotted_values(stream, replace(panel, kind="scatter"), index)
