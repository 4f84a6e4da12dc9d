"""What goes to a terminal: tables and trees by rich, progress, JSON. Needs the extra ``[cli]``."""

from __future__ import annotations

from intake_bluesky.terminal.page import console, counted, track, write_json
from intake_bluesky.terminal.tables import runs_table
from intake_bluesky.terminal.trees import describe_run, run_tree

__all__ = ["console", "counted", "describe_run", "run_tree", "runs_table", "track", "write_json"]
