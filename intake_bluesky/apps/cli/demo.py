"""``intake-bluesky demo``."""

from __future__ import annotations

import argparse
from pathlib import Path

from intake_bluesky.errors import MissingDependency

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Run the demonstration."""
    try:
        from intake_bluesky.apps.demo import run_demo
    except ImportError as error:
        name = str(error.name).partition(".")[0]
        raise MissingDependency.of(name, extra="demo", purpose="for the demonstration") from error
    run_demo(Path(arguments.folder))
    return 0
