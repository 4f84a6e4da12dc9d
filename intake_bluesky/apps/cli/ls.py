"""``intake-bluesky ls``: the runs of a catalog."""

from __future__ import annotations

import argparse

from intake_bluesky.apps.cli.open_catalog import find_catalog
from intake_bluesky.apps.terminal import console, counted, describe_summary, runs_table, write_json
from intake_bluesky.runtime.secrets import shown

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """List the runs."""
    catalog = find_catalog(arguments.catalog)
    total = len(catalog)
    runs = list(catalog.arrangement.runs(limit=arguments.limit or None))
    if arguments.json:
        write_json(
            {"catalog": shown(arguments.catalog), "total": total, "runs": [describe_summary(one) for one in runs]}
        )
        return 0
    page = console()
    page.print(runs_table(runs))
    unread = len(catalog.problems)
    more = f", of {total} (--limit 0 shows all)" if total > len(runs) else ""
    page.print(
        f"{counted(len(runs), 'run')}{more}" + (f"; {counted(unread, 'problem')}: see validate" if unread else "")
    )
    return 0
