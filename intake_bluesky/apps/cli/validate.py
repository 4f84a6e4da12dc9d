"""``intake-bluesky validate``: what is damaged, missing or odd."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from intake_bluesky.apps.cli.commands import FINE, FOUND
from intake_bluesky.apps.cli.open_catalog import find_catalog, find_run
from intake_bluesky.apps.terminal.page import console, counted, write_json
from intake_bluesky.apps.validate import Finding, validate
from intake_bluesky.runtime.progress import track
from intake_bluesky.runtime.secrets import shown

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Look at one run or at all."""
    catalog = find_catalog(arguments.catalog)
    schema = not arguments.no_schema
    if arguments.run is not None:
        runs, findings = 1, list(validate(find_run(catalog, arguments.run), schema=schema))
    else:
        watched = validate(catalog, schema=schema, watch=lambda uids: track(uids, total=len(uids), what="validating"))
        findings = list(watched)
        runs = len(catalog)
    if arguments.json:
        write_json({"catalog": shown(arguments.catalog), "runs": runs, "findings": [asdict(one) for one in findings]})
    else:
        _print(findings, runs)
    return FOUND if findings else FINE


def _print(findings: Sequence[Finding], runs: int) -> None:
    from rich.text import Text

    page = console()
    for one in findings:
        style = "red" if one.level == "error" else "yellow"
        page.print(
            Text.assemble((f"{one.level:8}", style), f"{one.code}  {one.where}: {one.message}"),
            soft_wrap=True,
        )
    counts = Counter(one.level for one in findings)
    totals = (counted(runs, "run"), *(counted(counts[level], level) for level in ("error", "warning")))
    page.print(", ".join(totals))
