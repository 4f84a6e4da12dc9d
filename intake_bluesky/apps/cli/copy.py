"""``intake-bluesky copy``: runs from one catalog into another."""

from __future__ import annotations

import argparse
import sys

from intake_bluesky.apps.cli.commands import FINE, FOUND
from intake_bluesky.apps.cli.open_catalog import check_readable, find_catalog, find_target
from intake_bluesky.apps.terminal.page import write_json
from intake_bluesky.errors import CopyFailed, printable
from intake_bluesky.runtime.secrets import shown
from intake_bluesky.transfer import ingest

__all__ = ["root_map_yaml", "run"]


def run(arguments: argparse.Namespace) -> int:
    """Copy, and say what was copied, skipped, refused, and why."""
    source = find_catalog(arguments.source)
    if not len(source):
        check_readable(source)
    runs = source if arguments.query is None else source.search(arguments.query)
    target = find_target(arguments.target, arguments.driver)
    try:
        report = ingest.copy(
            runs,
            into=target,
            assets=arguments.assets,
            assets_into=arguments.assets_into,
            unfinished="copy" if arguments.unfinished else "skip",
            dry_run=arguments.dry_run,
        )
    except KeyboardInterrupt:
        stay = f"the runs that are in {shown(arguments.target)} stay, and the same command goes on from here"
        sys.stderr.write(f"intake-bluesky: interrupted: {stay}\n")
        raise
    except CopyFailed as error:
        if arguments.json and error.report is not None:
            write_json(_document(arguments, error.report))
        raise
    finally:
        target.store.close()
    if arguments.json:
        write_json(_document(arguments, report))
    else:
        print(printable(repr(report)))
        if report.root_map and not arguments.dry_run:
            print(f"\nThe copies of files are found with this argument of the catalog in {shown(arguments.target)}:\n")
            print(root_map_yaml(report.root_map), end="")
    return FOUND if report.refused or report.missing else FINE


def _document(arguments: argparse.Namespace, report: ingest.CopyReport) -> dict[str, object]:
    return {"source": shown(arguments.source), "target": shown(arguments.target), **report.to_dict()}


def root_map_yaml(root_map: dict[str, str]) -> str:
    """The argument of a catalog as a YAML file has it."""
    import yaml

    text: str = yaml.safe_dump({"root_map": root_map}, sort_keys=False, allow_unicode=True)
    return text
