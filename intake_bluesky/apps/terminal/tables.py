"""Runs as a table, and the facts of a run in a list."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from intake_bluesky.apps.terminal.page import counted
from intake_bluesky.catalogs.display.listing import RunsTable, right_aligned
from intake_bluesky.catalogs.display.text import GAP
from intake_bluesky.catalogs.display.values import local_time, on_one_line, outcome, status
from intake_bluesky.documents.model import RunSummary, to_plain

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["describe_summary", "runs_table", "summary_line", "values_table"]

COLOURS: Final = {"good": "green", "open": "yellow", "bad": "red"}
TIMES: Final = frozenset({"time", "start.time", "stop.time"})


def runs_table(runs: Sequence[RunSummary], width: int) -> Table:
    """A table of runs as catalogs show it, made of their start and stop alone."""
    from rich.table import Table
    from rich.text import Text

    head, *rows = RunsTable(runs).fitted(width)
    right, place = right_aligned(head), head.index("status")
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for number, name in enumerate(head):
        table.add_column(name, no_wrap=True, justify="right" if number in right else "left")
    for row, one in zip(rows, runs, strict=True):
        styles = ["" if number != place else COLOURS[outcome(status(one.stop))] for number in range(len(row))]
        table.add_row(*(Text(cell, style=style) for cell, style in zip(row, styles, strict=True)))
    return table


def summary_line(listed: int, total: int, *, unread: int) -> str:
    """Say how many runs are in a table, of how many, and how many could not be read."""
    more = f", of {total:,} (--limit 0 shows all)" if total > listed else ""
    problems = f"; {counted(unread, 'problem')}: see validate" if unread else ""
    return f"{counted(listed, 'run')}{more}{problems}"


def values_table(uids: Sequence[str], columns: Sequence[str], values: Sequence[Mapping[str, Any]]) -> Table:
    """A table of some values of each run, times as local ones."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("uid", no_wrap=True)
    for column in columns:
        table.add_column(Text(on_one_line(column)), overflow="fold")
    for uid, own in zip(uids, values, strict=True):
        table.add_row(
            Text(on_one_line(uid[:8])), *(Text(on_one_line(_shown(own[column], column))) for column in columns)
        )
    return table


def _shown(value: Any, column: str) -> str:
    if value is None:
        return "-"
    if column in TIMES:
        return local_time(value)
    return value if isinstance(value, str) else json.dumps(to_plain(value), ensure_ascii=False, default=str)


def describe_summary(summary: RunSummary) -> dict[str, Any]:
    """The facts of a run in a list, as JSON."""
    stop = summary.stop or {}
    return {
        "uid": summary.uid,
        "scan_id": summary.scan_id,
        "time": summary.time,
        "plan_name": summary.start.get("plan_name"),
        "exit_status": stop.get("exit_status"),
        "num_events": stop.get("num_events"),
    }
