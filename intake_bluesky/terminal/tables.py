"""Runs as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from intake_bluesky.display import local_time, status
from intake_bluesky.documents import RunSummary

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["runs_table"]


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
            one.uid[:8],
            "-" if one.scan_id is None else str(one.scan_id),
            local_time(one.time),
            Text(str(one.start.get("plan_name", "-"))),
            Text(outcome, style={"success": "green", "unfinished": "yellow"}.get(outcome, "red")),
            Text(_events(one)),
        )
    return table


def _events(summary: RunSummary) -> str:
    counts = (summary.stop or {}).get("num_events") or {}
    ordered = sorted(counts.items(), key=lambda pair: (pair[0] != "primary", pair[0]))
    return ", ".join(f"{name} {count}" for name, count in ordered)
