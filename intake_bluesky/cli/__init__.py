"""The command line ``intake-bluesky``: `main` is its entry."""

from __future__ import annotations

from intake_bluesky.cli.commands import main

__all__ = ["main"]
