"""``intake-bluesky show``: one run as a tree."""

from __future__ import annotations

import argparse

from intake_bluesky.apps.cli.open_catalog import find_catalog, find_run
from intake_bluesky.apps.terminal.page import console, write_json
from intake_bluesky.apps.terminal.trees import describe_run, run_tree

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Show the run."""
    description = describe_run(find_run(find_catalog(arguments.catalog), arguments.run))
    if arguments.json:
        write_json(description)
    else:
        console().print(run_tree(description))
    return 0
