"""``intake-bluesky catalogs``: the catalogs of this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from intake_bluesky.apps.cli.commands import FINE, FOUND
from intake_bluesky.apps.terminal.page import console, counted, write_json
from intake_bluesky.catalogs import Offered, catalog
from intake_bluesky.errors import CatalogNotFound, StoreUnavailable, printable

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """List the catalogs, or write one as YAML."""
    if arguments.yaml is not None:
        sys.stdout.write(_yaml(arguments.yaml))
        return FINE
    offered, hidden, problems = list(catalog.offered.values()), catalog.hidden, catalog.problems
    offered.sort(key=lambda one: one.name)
    if arguments.json:
        broken = [{"where": one.where, "message": one.message} for one in problems]
        write_json({"catalogs": _as_json(offered), "hidden": _as_json(hidden), "problems": broken})
    else:
        page = console()
        page.print(_table(offered))
        page.print(counted(len(offered), "catalog"))
        for one in hidden:
            winner = catalog.offered[one.name].where
            told = f"{one.name!r} of {one.where} is hidden by that of {winner}"
            sys.stderr.write(f"intake-bluesky: {printable(told)}\n")
        for problem in problems:
            told = f"{problem.where}: {' '.join(problem.message.split())}"
            sys.stderr.write(f"intake-bluesky: {printable(told)}\n")
    return FOUND if problems else FINE


def _yaml(name: str) -> str:
    if name not in catalog.offered:
        try:
            catalog[name]  # raises with the reason: it is broken, or there is none
        except CatalogNotFound as error:
            raise StoreUnavailable(str(error)) from error
        raise StoreUnavailable(f"{name!r} is an entry of a catalog: give the name of a configuration file")
    return catalog.offered[name].yaml()


def _as_json(offered: Iterable[Offered]) -> list[dict[str, Any]]:
    shown = ("name", "driver", "installed", "where", "description")
    return [{name: getattr(one, name) for name in shown} for one in offered]


def _table(offered: Iterable[Offered]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("name", "driver", "where from", "description"):
        table.add_column(name, overflow="fold")
    for one in offered:
        driver = Text(one.driver or "-")
        if one.installed is False:
            driver.append(" (not installed)", style="yellow")
        table.add_row(one.name, driver, Text(one.where), Text(one.description or ""))
    return table
