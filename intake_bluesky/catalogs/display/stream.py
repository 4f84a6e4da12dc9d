"""A stream, the times of its values, the configuration of its devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from intake_bluesky.catalogs.display.keys import events_of
from intake_bluesky.catalogs.display.page import code, escaped, fold, grid, page, shortened
from intake_bluesky.catalogs.display.run import first_of, keys_html, keys_text
from intake_bluesky.catalogs.display.text import cut, fitted, lines_of
from intake_bluesky.catalogs.display.values import SHORT, local_time, on_one_line, plain_text
from intake_bluesky.documents.model import RunHeader, StreamLayout

__all__ = ["StreamView", "configurations_html", "configurations_line", "configurations_text"]

IN_A_LINE: Final = 6
IN_A_TERMINAL: Final = 60
IN_A_NOTEBOOK: Final = 100  # devices
READ: Final = "read() or to_dask() gives an xarray.Dataset"


@dataclass(frozen=True, slots=True)
class StreamView:
    """A stream to be shown: of its descriptors alone, so that nothing is read.

    Attributes
    ----------
    header : RunHeader
    layout : StreamLayout
    keys : sequence of str
        Those that its Dataset has.
    part : {"data", "timestamps"}
    device : str or None
        Whose configuration it gives, if not events.
    options : mapping
        What the user asked for besides.
    """

    header: RunHeader
    layout: StreamLayout
    keys: Sequence[str]
    part: str = "data"
    device: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def _what(self) -> str:
        times = "timestamps of " if self.part == "timestamps" else ""
        config = "" if self.device is None else f"configuration of {self.device} in "
        return f"{times}{config}{self.layout.name}"

    @property
    def _options(self) -> str:
        return "".join(f", {name}={value!r}" for name, value in self.options.items())

    def line(self) -> str:
        """One line."""
        keys = list(self.keys) if self.device is None else _configured_keys(self.layout, self.device, self.part)
        events = "" if self.device is not None else f": {self.layout.events:,} stored events"
        of = f"{self._what} of run {self.header.uid[:SHORT]}{events}"
        return on_one_line(f"<BlueskyStream {of}, keys=[{first_of(keys, IN_A_LINE)}]{self._options}>")

    def text(self, width: int) -> str:
        """Several lines for a terminal."""
        events = "" if self.device is not None else f": {events_of(self.header, self.layout)}"
        title = f"BlueskyStream {self._what} of run {self.header.uid[:SHORT]}{events}{self._options}"
        if self.device is None:
            table = keys_text(self.layout, width, IN_A_TERMINAL, self.keys, self.part)
        else:
            table = _configuration_text(self.layout, self.device, self.part, width)
        return "\n".join([cut(on_one_line(title), width), *table, cut(f"({READ})", width)])

    def html(self) -> str:
        """A notebook's view."""
        note = "" if self.device is not None else f", {events_of(self.header, self.layout)}"
        of = f"of run {code(self.header.uid[:SHORT])}{escaped(note + self._options)}"
        if self.device is not None:
            parts = [_configuration_html(self.layout, self.device, self.part)]
        else:
            parts = [keys_html(self.layout, self.keys, self.part)]
            for device in _devices(self.layout)[:IN_A_NOTEBOOK]:
                if table := _configuration_html(self.layout, device, "data"):
                    parts.append(fold(device, "configuration", table, unfolded=False))
        parts.append(f"<div class='ib-note'>{escaped(READ)}</div>")
        return page("BlueskyStream", f"{escaped(self._what)} <span class='ib-note'>{of}</span>", *parts)


def _devices(layout: StreamLayout) -> list[str]:
    blocks = (descriptor.get("configuration") or {} for descriptor in layout.descriptors)
    return list(dict.fromkeys(device for block in blocks for device in block))


def _blocks(layout: StreamLayout, device: str) -> list[Mapping[str, Any]]:
    return [(descriptor.get("configuration") or {}).get(device) or {} for descriptor in layout.descriptors]


def _configured_keys(layout: StreamLayout, device: str, part: str) -> list[str]:
    return list(dict.fromkeys(key for block in _blocks(layout, device) for key in block.get(part) or {}))


def _configuration(layout: StreamLayout, device: str, part: str) -> list[tuple[str, str, str]]:
    """Key, value and units; of several descriptors the values that differ, one after the other."""
    rows = []
    for key in _configured_keys(layout, device, part):
        having = [block for block in _blocks(layout, device) if key in (block.get(part) or {})]
        values = [block[part][key] for block in having]
        texts = list(dict.fromkeys(map(plain_text if part == "data" else local_time, values)))
        spec = (having[-1].get("data_keys") or {}).get(key) or {}
        units = "" if part != "data" or spec.get("units") is None else plain_text(spec["units"])
        rows.append((key, shortened(", then ".join(texts)), units))
    return rows


def _configuration_text(layout: StreamLayout, device: str, part: str, width: int) -> list[str]:
    rows = _configuration(layout, device, part)
    if not rows:
        return ["  nothing"]
    head = ("key", "value" if part == "data" else "set at", *(["units"] if any(row[2] for row in rows) else []))
    return lines_of(fitted([head, *(row[: len(head)] for row in rows)], width - 2, [0, 1]), indent="  ")


def _configuration_html(layout: StreamLayout, device: str, part: str) -> str:
    rows = _configuration(layout, device, part)
    if not rows:
        return ""
    head = ("key", "value" if part == "data" else "set at", *(["units"] if any(row[2] for row in rows) else []))
    return grid(head, [[code(row[0]), *map(escaped, row[1 : len(head)])] for row in rows], wrap={0, 1})


def configurations_line(devices: Sequence[str], part: str) -> str:
    """The devices of a stream, in one line."""
    times = "timestamps of " if part == "timestamps" else ""
    return on_one_line(f"<{times}configuration of {', '.join(devices) or 'no device'}>")


def configurations_text(layout: StreamLayout, devices: Sequence[str], part: str, width: int) -> str:
    """The configuration of each device, for a terminal."""
    lines = [cut(configurations_line(devices, part).strip("<>"), width)]
    for device in devices:
        lines.append(cut(on_one_line(device), width))
        lines += _configuration_text(layout, device, part, width)
    return "\n".join(lines)


def configurations_html(layout: StreamLayout, devices: Sequence[str], part: str) -> str:
    """The configuration of each device, for a notebook."""
    folds = [
        fold(device, "", _configuration_html(layout, device, part) or "nothing", unfolded=len(devices) < 4)
        for device in devices
    ]
    times = "timestamps of " if part == "timestamps" else ""
    head = f"{times}{escaped(layout.name)} <span class='ib-note'>{'' if devices else 'of no device'}</span>"
    return page("configuration", head, *folds)
