"""Representations of runs and catalogs: one line, text for a terminal, HTML for a notebook.

Nothing here reads anything; the caller has the documents at hand.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from intake_bluesky.documents.model import RunHeader, RunSummary, to_plain
from intake_bluesky.errors import printable

__all__ = [
    "duration",
    "listing_html",
    "listing_text",
    "local_time",
    "on_one_line",
    "run_html",
    "run_line",
    "run_text",
    "status",
]

COLUMNS: Final = ("uid", "scan_id", "plan", "started", "took", "status")
SHORT: Final = 8  # characters of a uid that are shown


def on_one_line(text: str) -> str:
    """Text of a document as it may be shown in one line of a terminal."""
    return printable(text).replace("\n", "\\n").replace("\t", " ")


def local_time(seconds: Any) -> str:
    """Write seconds since the epoch as local time with its zone; what is no time as ``?``.

    Examples
    --------
    >>> local_time(None)
    '?'
    """
    try:
        return f"{datetime.fromtimestamp(float(seconds)).astimezone():%Y-%m-%d %H:%M:%S %Z}"
    # OverflowError and OSError are what platforms raise for years that their C library does not know.
    except (TypeError, ValueError, OverflowError, OSError):
        return "?"


def duration(start: Any, stop: Any) -> str:
    """Write how long something took, in two units at most.

    Examples
    --------
    >>> duration(0, 0.25), duration(0, 75), duration(0, 7265), duration(0, None)
    ('0.2 s', '1 min 15 s', '2 h 1 min', '')
    """
    try:
        seconds = float(stop) - float(start)
    except (TypeError, ValueError, OverflowError):
        return ""
    if not math.isfinite(seconds):
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def status(stop: Mapping[str, Any] | None) -> str:
    """The exit status, or that there is none."""
    return "unfinished" if stop is None else str(stop.get("exit_status", "?"))


def run_line(header: RunHeader) -> str:
    """One line: uid, scan_id, plan, exit status, streams."""
    start = to_plain(header.start)
    words = [header.uid[:SHORT]]
    if start.get("scan_id") is not None:
        words.append(f"scan_id={start['scan_id']}")
    words += [str(start["plan_name"])] if start.get("plan_name") else []
    line = f"<BlueskyRun {' '.join(words)} {status(header.stop)} streams=[{', '.join(header.streams)}]>"
    return on_one_line(line)


def _facts(header: RunHeader) -> list[tuple[str, str]]:
    start, stop = to_plain(header.start), to_plain(header.stop)
    began, ended = start.get("time"), (stop or {}).get("time")
    facts = [("uid", header.uid)]
    for label, key in (("scan_id", "scan_id"), ("plan", "plan_name")):
        if start.get(key) is not None:
            facts.append((label, str(start[key])))
    facts += [("exit status", status(stop)), ("started", local_time(began))]
    if stop is not None:
        took = duration(began, ended)
        facts.append(("ended", local_time(ended) + (f" (took {took})" if took else "")))
        facts += [("reason", str(stop["reason"]))] if stop.get("reason") else []
    return facts


def _streams(header: RunHeader) -> list[tuple[str, str, str]]:
    """Name, events and keys of each stream."""
    rows = []
    for name, layout in header.streams.items():
        keys = list(layout.data_keys)
        shown = ", ".join(keys[:6]) + (f" and {len(keys) - 6} more" if len(keys) > 6 else "")
        rows.append((name, f"{layout.events:,}", shown))
    return rows


def run_text(header: RunHeader) -> str:
    """Several lines for a terminal."""
    lines = ["BlueskyRun"]
    lines += [f"  {label + ':':<13}{value}" for label, value in _facts(header)]
    streams = _streams(header)
    lines.append("  streams:" if streams else "  streams:     none")
    width = max((len(name) for name, *_ in streams), default=0)
    lines += [f"    * {name:<{width}}  {events} stored events: {keys}" for name, events, keys in streams]
    return "\n".join(map(on_one_line, lines))


def run_html(header: RunHeader) -> str:
    """A notebook's view of a run; everything from documents is escaped."""
    facts = "".join(
        f"<tr><th style='text-align:left'>{html.escape(label)}</th><td>{html.escape(value)}</td></tr>"
        for label, value in _facts(header)
    )
    streams = _table(("stream", "stored events", "keys"), _streams(header))
    return f"<div><strong>BlueskyRun</strong><table>{facts}</table>{streams}</div>"


def _rows(runs: Iterable[RunSummary]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for run in runs:
        start, stop = to_plain(run.start), to_plain(run.stop)
        took = duration(run.time, (stop or {}).get("time"))
        scan_id = "" if start.get("scan_id") is None else str(start["scan_id"])
        plan = str(start.get("plan_name") or "")
        rows.append((run.uid[:SHORT], scan_id, plan, local_time(run.time), took, status(stop)))
    return rows


def _more(shown: int, total: int, order: str) -> str:
    return f"the {f'first {shown} by {order}' if order else f'{shown} newest'} of {total:,}" if shown < total else ""


def listing_text(title: str, runs: Sequence[RunSummary], total: int, order: str = "") -> str:
    """A table of runs for a terminal.

    Parameters
    ----------
    title : str
    runs : sequence of RunSummary
        The first in order.
    total : int
        How many there are.
    order : str
        The keys they are sorted by; "" where they come the newest first.
    """
    rows = [COLUMNS, *(tuple(map(on_one_line, row)) for row in _rows(runs))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    more = _more(len(runs), total, order)
    head = f"{on_one_line(title)}: {total:,} runs"
    return "\n".join([head, *(lines if runs else []), *([f"({more})"] if more else [])])


def listing_html(title: str, runs: Sequence[RunSummary], total: int, order: str = "") -> str:
    """A notebook's view of a catalog; everything from documents is escaped."""
    table = _table(COLUMNS, _rows(runs)) if runs else ""
    more = _more(len(runs), total, order)
    footer = f"<small>{html.escape(more)}</small>" if more else ""
    return f"<div><strong>{html.escape(title)}</strong>: {total:,} runs{table}{footer}</div>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag} style='text-align:left'>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

    return f"<table><thead>{line(head, 'th')}</thead><tbody>{''.join(line(row, 'td') for row in rows)}</tbody></table>"
