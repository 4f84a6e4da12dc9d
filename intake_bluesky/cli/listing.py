"""``intake-bluesky ls``: the runs of a catalog."""

from __future__ import annotations

import argparse
from typing import Any

from intake_bluesky.cli.opening import find_catalog
from intake_bluesky.documents import RunSummary
from intake_bluesky.terminal import console, counted, runs_table, write_json

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """List the runs."""
    catalog = find_catalog(arguments.catalog)
    total = len(catalog)
    runs = list(catalog.arrangement.runs(limit=arguments.limit or None))
    if arguments.json:
        write_json({"catalog": arguments.catalog, "total": total, "runs": [_as_json(one) for one in runs]})
        return 0
    page = console()
    page.print(runs_table(runs))
    unread = len(catalog.problems)
    more = f", of {total} (--limit 0 shows all)" if total > len(runs) else ""
    page.print(
        f"{counted(len(runs), 'run')}{more}" + (f"; {counted(unread, 'problem')}: see validate" if unread else "")
    )
    return 0


def _as_json(summary: RunSummary) -> dict[str, Any]:
    stop = summary.stop or {}
    return {
        "uid": summary.uid,
        "scan_id": summary.scan_id,
        "time": summary.time,
        "plan_name": summary.start.get("plan_name"),
        "exit_status": stop.get("exit_status"),
        "num_events": stop.get("num_events"),
    }
