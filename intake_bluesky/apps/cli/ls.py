"""``intake-bluesky ls``: the runs of a catalog."""

from __future__ import annotations

import argparse

from intake_bluesky.apps.cli.open_catalog import check_readable, find_catalog
from intake_bluesky.apps.terminal.page import console, write_json
from intake_bluesky.apps.terminal.tables import describe_summary, runs_table, summary_line
from intake_bluesky.runtime.secrets import shown

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """List the runs."""
    catalog = find_catalog(arguments.catalog)
    total = len(catalog)
    runs = list(catalog.arrangement.runs(limit=arguments.limit or None))
    if not runs:
        check_readable(catalog)
    if arguments.json:
        write_json(
            {"catalog": shown(arguments.catalog), "total": total, "runs": [describe_summary(one) for one in runs]}
        )
        return 0
    page = console()
    if not total:
        page.print(f"{shown(arguments.catalog)} has no runs yet", markup=False, highlight=False, soft_wrap=True)
        return 0
    page.print(runs_table(runs, page.width))
    page.print(summary_line(len(runs), total, unread=len(catalog.problems)))
    return 0
