"""What is drawn of a stream, decided from the documents of its run, without reading any data.

As bluesky's BestEffortCallback decides while a plan runs: the hinted fields of the detectors, against the motors of the
plan's dimensions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from intake_bluesky.catalogs.argument_checks import check_keys
from intake_bluesky.datasets.grids.scanned import scanned
from intake_bluesky.documents.dimensions import Dimension, dimensions
from intake_bluesky.documents.model import DEFAULT_STREAM, Document, RunHeader, is_external, to_plain
from intake_bluesky.errors import UnsupportedOperation

__all__ = ["KINDS", "Panel", "chosen", "title"]

KINDS: Final = ("line", "series", "map", "scatter", "image", "spectrum")
"""A line against a motor; a line against clock time; a map of a grid; points in the plane; one frame; one array."""
NUMBERS: Final = ("number", "integer", "boolean")
FORMS: Final = ("number", "image", "spectrum")
"""What a key may have an event, for a plot to show it."""
OWN: Final = ("time", "seq_num")
"""What lines may be drawn against that is no key."""
MOST: Final = 40
"""Panels that are drawn where no keys are named: a baseline may have thousands of numbers."""
SHORT: Final = 40  # characters of a sample or a purpose that a title has


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: a key of the stream, and what it is drawn against.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    key : str
    x, y : str
        What is along the horizontal axis, and of maps and scatter plots along the vertical one: a key, ``time`` or
        ``seq_num``; empty where the array itself has the axes.
    note : str
        What the title is to add.
    """

    kind: str
    key: str
    x: str = ""
    y: str = ""
    note: str = ""


def title(start: Mapping[str, Any]) -> str:
    """The title of every plot of a run: scan_id, plan, the beginning of the uid, and a short sample or purpose.

    Examples
    --------
    >>> title({"uid": "d12f041e-ec83", "scan_id": 2, "plan_name": "scan", "sample": {"name": "Ni foil"}})
    '2 scan d12f041e: Ni foil'
    """
    words = [str(start[name]) for name in ("scan_id", "plan_name") if isinstance(start.get(name), (str, int))]
    told = [start.get(name) for name in ("sample", "sample_name", "purpose")]
    texts = [one.get("name") if isinstance(one, Mapping) else one for one in told]
    short = [one.strip() for one in texts if isinstance(one, str) and 0 < len(one.strip()) <= SHORT]
    return " ".join([*words, str(start["uid"])[:8]]) + (f": {short[0]}" if short else "")


def chosen(
    header: RunHeader, stream: str, all_keys: Sequence[str], asked: Sequence[str], *, x: str | None, kind: str | None
) -> list[Panel]:
    """Decide what is drawn: of the keys asked for, or else what is hinted.

    Raises
    ------
    KeyError
        When a key is not one of the stream.
    ValueError
        For a kind that there is not.
    UnsupportedOperation
        When a key cannot be drawn in that way, or nothing of the stream can be.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind is {', '.join(map(repr, KINDS[:-1]))} or {KINDS[-1]!r}, not {kind!r}")
    facts = _Facts(header, stream, tuple(all_keys), header.streams[stream].data_keys)
    check_keys(asked, all_keys, what="key", where=facts.where)
    check_keys([] if x is None else [x], [*all_keys, *OWN], what="key", where=facts.where)
    drawn = asked or facts.hinted(kind)
    if len(drawn) > MOST and not asked:
        raise UnsupportedOperation(
            f"{facts.where} has {len(drawn)} keys to draw, more than {MOST} panels: name some, plot({drawn[0]!r})"
        )
    panels = [facts.panel(key, x, kind) for key in drawn]
    if not panels:
        raise UnsupportedOperation(
            f"nothing of {facts.where} is hinted, and none of its keys is a number or an image"
            f"{f' that makes a plot of kind {kind!r}' if kind else ''}: it has {facts.told()}"
        )
    return panels


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the documents of a run say of one stream."""

    header: RunHeader
    stream: str
    keys: tuple[str, ...]
    specs: Mapping[str, Document]

    @property
    def where(self) -> str:
        return f"stream {self.stream!r} of run {self.header.uid}"

    def told(self) -> str:
        return ", ".join(f"{key} ({self._form(key)})" for key in self.keys) or "no keys"

    def _form(self, key: str) -> str:
        """What an event has under a key: ``number``, ``spectrum``, ``image``, or what else it is."""
        spec = to_plain(self.specs.get(key, {}))
        shape, dtype = spec.get("shape"), str(spec.get("dtype", "number"))
        lengths = shape if isinstance(shape, list) and dtype == "array" else []
        wide = [n for n in lengths if n != 1]
        if dtype == "array" or is_external(spec):
            if not lengths and dtype == "array":
                return "image" if is_external(spec) else "spectrum"
            return {0: "number", 1: "spectrum"}.get(len(wide), "image")
        return "number" if dtype in NUMBERS else dtype

    def hinted(self, kind: str | None) -> list[str]:
        """The keys that are drawn where none is named: the first that there are, of those that tell most."""
        moved = {field for own in self._dimensions() for field in own.fields}
        rest = [key for key in self.keys if key not in moved]
        hinted = [key for key in self._hints() if key not in moved]
        # What belongs to the motors, such as their setpoints, is no reading of a detector.
        of_motors, of_hinted = self._beside(moved), self._beside(hinted)
        others = [key for key in rest if key not in of_motors]
        # Numbers that a camera gives with its images, where it hints only these.
        beside = [key for key in others if key in of_hinted]
        orders = [
            (hinted, "number"), (beside, "number"), (hinted, "image"), (others, "number"), (others, "image"),
            (rest, "number"), (rest, "image"), (rest, "spectrum"),
        ]  # fmt: skip
        forms: Collection[str] = (kind if kind in FORMS else "number",) if kind else FORMS
        found = [[key for key in keys if self._form(key) == form] for keys, form in orders if form in forms]
        if kind is None and not moved:  # no scan, of which a number tells more than an image
            found.insert(0, [key for key in hinted if self._form(key) in FORMS])
        return next(filter(None, found), [])

    def _beside(self, keys: Collection[str]) -> set[str]:
        """The keys of the devices that have one of some keys."""
        wanted = set(keys)
        return {key for _, own in self._owned() if not wanted.isdisjoint(own) for key in own}

    def _descriptors(self) -> Sequence[Document]:
        return self.header.streams[self.stream].descriptors

    def _hints(self) -> list[str]:
        """The fields that the devices hint, which are keys of the stream."""
        named = (fields for descriptor in self._descriptors() for _, fields in _fields_of(descriptor.get("hints")))
        there = set(self.keys)
        return [key for key in dict.fromkeys(key for fields in named for key in fields) if key in there]

    def _owned(self) -> Iterator[tuple[str, list[str]]]:
        """The keys of each device."""
        for descriptor in self._descriptors():
            for device, own in (descriptor.get("object_keys") or {}).items():
                yield device, list(own)

    def _dimensions(self) -> list[Dimension]:
        """The dimensions that this stream has: as the plan hints them, else one for each of its motors."""
        start = to_plain(self.header.start)
        found = dimensions(start)
        if len({own.stream for own in found}) != 1:
            motors = start.get("motors") if isinstance(start.get("motors"), list) else []
            found = tuple(Dimension(self._fields_of_motor(str(motor)), DEFAULT_STREAM) for motor in motors)
        kept = [_of_keys(own, self.keys) for own in found if own.stream == self.stream]
        return [own for own in kept if own.fields]

    def _fields_of_motor(self, motor: str) -> tuple[str, ...]:
        """The keys of a motor, its hinted ones first; where there is no such device, the key of that name."""
        hinted = (f for d in self._descriptors() for device, f in _fields_of(d.get("hints")) if device == motor)
        owned = (own for device, own in self._owned() if device == motor)
        return tuple(next((fields for fields in (*hinted, *owned) if fields), [motor]))

    def panel(self, key: str, x: str | None, kind: str | None) -> Panel:
        form = self._form(key)
        if form not in FORMS:
            raise UnsupportedOperation(f"{key!r} of {self.where} is {form}, which no plot shows: it has {self.told()}")
        if form != "number" or kind in ("image", "spectrum"):
            return self._of_an_array(key, form, x, kind)
        if x is not None and kind not in (None, "line", "series"):
            raise UnsupportedOperation(f"a {kind} of {key!r} has the axes of the scan: leave out x={x!r}")
        if kind == "series" and x not in (None, "time"):
            raise UnsupportedOperation(f"a series is drawn against time, and not against {x!r}: say kind='line'")
        dims = self._dimensions()
        if x is not None or kind == "series":
            return _line(key, x or "time")
        if kind in ("map", "scatter") or (kind is None and len(dims) == 2):
            return self._in_the_plane(key, dims, kind)
        if len(dims) == 1 or (dims and kind == "line"):
            return _line(key, dims[0].fields[0])
        names = ", ".join(own.fields[0] for own in dims)
        return replace(_line(key, "time"), note=f"over {len(dims)} dimensions: {names}" if dims else "")

    def _of_an_array(self, key: str, form: str, x: str | None, kind: str | None) -> Panel:
        if kind not in (None, form):
            having = [one for one in self.keys if self._form(one) == ("number" if kind in KINDS[:4] else kind)]
            raise UnsupportedOperation(
                f"{key!r} of {self.where} has one {form} an event, and makes no plot of kind {kind!r}; "
                f"that is for {', '.join(having) or 'none of its keys'}"
            )
        if x is not None:
            raise UnsupportedOperation(f"{key!r} is one {form} an event, which has axes of its own: leave out x={x!r}")
        return Panel(form, key)

    def _in_the_plane(self, key: str, dims: Sequence[Dimension], kind: str | None) -> Panel:
        try:
            grid = scanned(self.header, self.stream, self.keys)
        except UnsupportedOperation:
            if kind == "map":
                raise
        else:
            if len(grid.axes) == 2 and kind != "scatter":
                return Panel("map", key, x=grid.axes[1], y=grid.axes[0])
            if kind == "map":
                raise UnsupportedOperation(
                    f"a map has two axes, and the scan of {self.where} has {len(grid.axes)}: {', '.join(grid.axes)}; "
                    "stream.to_grid() gives it whole, to select a plane and draw that"
                )
        if len(dims) != 2:
            raise UnsupportedOperation(
                f"{self.where} was not scanned over two dimensions, but {len(dims)}: it makes no plot of kind {kind!r}"
            )
        first, second = (own.fields[0] for own in dims)
        # Plans over a grid name the slow axis first, which is drawn upwards; others name x and y.
        hints = self.header.start.get("hints")
        slow_first = isinstance(hints, Mapping) and hints.get("gridding") is not None
        return Panel("scatter", key, *((second, first) if slow_first else (first, second)))


def _line(key: str, x: str) -> Panel:
    return Panel("series" if x == "time" else "line", key, x=x)


def _fields_of(hints: Any) -> Iterator[tuple[str, list[str]]]:
    """The hinted fields of each device of a descriptor."""
    for device, own in hints.items() if isinstance(hints, Mapping) else ():
        fields = own.get("fields") if isinstance(own, Mapping) else None
        if isinstance(fields, (list, tuple)):
            yield device, [field for field in fields if isinstance(field, str)]


def _of_keys(dimension: Dimension, keys: Sequence[str]) -> Dimension:
    """The dimension with those of its fields that are keys."""
    return dimension._replace(fields=tuple(field for field in dimension.fields if field in keys))
