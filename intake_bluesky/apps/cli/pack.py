"""``intake-bluesky pack``: runs and their files as a folder or a zip file."""

from __future__ import annotations

import argparse

from intake_bluesky.apps.cli.commands import FINE, FOUND
from intake_bluesky.apps.cli.open_catalog import check_readable, find_catalog
from intake_bluesky.apps.terminal.page import write_json
from intake_bluesky.errors import printable
from intake_bluesky.transfer import ingest

__all__ = ["run", "tell"]


def run(arguments: argparse.Namespace) -> int:
    """Pack a catalog, or the runs of it that match."""
    catalog = find_catalog(arguments.catalog)
    check_readable(catalog)
    found = catalog if arguments.query is None else catalog.search(arguments.query)
    assets: ingest.PackAssets = "copy" if arguments.assets else "link"
    return tell(ingest.pack(found, arguments.target, assets=assets, format=arguments.format), as_json=arguments.json)


def tell(report: ingest.CopyReport, *, as_json: bool) -> int:
    """Write a report, and give the exit code that it makes."""
    if as_json:
        write_json(report.to_dict())
    else:
        print(printable(repr(report)))
    return FOUND if report.refused or report.missing else FINE
