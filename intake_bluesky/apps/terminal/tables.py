"""Runs as a table, and the facts of a run in a list."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from intake_bluesky.apps.terminal.page import counted
from intake_bluesky.catalogs.display import local_time, on_one_line, status
from intake_bluesky.documents.model import RunSummary, to_plain
from intake_bluesky.documents.untyped import event_counts

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["describe_summary", "runs_table", "summary_line", "values_table"]

TIMES: Final = frozenset({"time", "start.time", "stop.time"})


def runs_table(runs: Sequence[RunSummary]) -> Table:
    """A table of runs, made of their start and stop alone."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("uid", "scan_id", "started", "plan", "status"):
        table.add_column(name, no_wrap=True)
    table.add_column("events", overflow="fold")
    for one in runs:
        outcome = status(one.stop)
        table.add_row(
            on_one_line(one.uid[:8]),
            "-" if one.scan_id is None else str(one.scan_id),
            local_time(one.time),
            Text(on_one_line(str(one.start.get("plan_name", "-")))),
            Text(on_one_line(outcome), style={"success": "green", "unfinished": "yellow"}.get(outcome, "red")),
            Text(on_one_line(_events(one))),
        )
    return table


def _events(summary: RunSummary) -> str:
    # `primary` first, the stream that people look for.
    ordered = sorted(event_counts(summary.stop).items(), key=lambda pair: (pair[0] != "primary", pair[0]))
    return ", ".join(f"{name} {count}" for name, count in ordered)


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
