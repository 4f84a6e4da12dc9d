"""Output to a terminal: tables and trees by rich, progress, JSON. Needs the extra ``[cli]``."""

from __future__ import annotations

from intake_bluesky.apps.terminal.page import console, counted, track, write_json
from intake_bluesky.apps.terminal.tables import describe_summary, runs_table, values_table
from intake_bluesky.apps.terminal.trees import describe_run, run_tree

__all__ = [
    "console",
    "counted",
    "describe_run",
    "describe_summary",
    "run_tree",
    "runs_table",
    "track",
    "values_table",
    "write_json",
]
