"""The command line ``intake-bluesky``: `main` is its entry."""

from __future__ import annotations

from intake_bluesky.apps.cli.commands import main

__all__ = ["main"]
