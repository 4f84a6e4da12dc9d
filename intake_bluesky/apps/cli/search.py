"""``intake-bluesky search``: the runs that match, and searches saved as catalogs."""

from __future__ import annotations

import argparse
import glob
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from intake_bluesky.apps.cli.open_catalog import check_readable, find_catalog
from intake_bluesky.apps.terminal.page import console, write_json
from intake_bluesky.apps.terminal.tables import describe_summary, runs_table, summary_line, values_table
from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.documents.model import RunSummary
from intake_bluesky.errors import StoreUnavailable, UnsupportedQuery
from intake_bluesky.query import FullText, Query, from_mongo, to_json
from intake_bluesky.query.paths import MISSING
from intake_bluesky.runtime.secrets import shown
from intake_bluesky.runtime.sizes import byte_count
from intake_bluesky.search.given_queries import as_query
from intake_bluesky.search.ordering import as_path, value_of

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Search."""
    query = _query(arguments)
    columns = _listed(arguments.columns)
    found = find_catalog(_lasting(arguments.catalog) if arguments.save else arguments.catalog)
    hits = found.search(query, read_at_most=_size(arguments.read_at_most)).sort(*_listed(arguments.sort))
    places = {column: as_path(column) for column in columns}
    runs = list(hits.arrangement.runs(limit=arguments.limit or None))
    if not runs:
        check_readable(found)
    # Counting may be a second search: not needed where the listing ended before its limit.
    total = len(hits) if len(runs) == arguments.limit else len(runs)
    if arguments.save:
        _save(hits, Path(arguments.save))
    values = [{column: _value(one, place) for column, place in places.items()} for one in runs]
    absent = [place for column, place in places.items() if all(own[column] is None for own in values)]
    hits.selection.none_has(absent if runs else ())
    if arguments.json:
        listed = [{"uid": one.uid, **own} for one, own in zip(runs, values, strict=True)]
        runs_shown = listed if columns else [describe_summary(one) for one in runs]
        asked = json.loads(to_json(hits.query))
        write_json({"catalog": shown(arguments.catalog), "query": asked, "total": total, "runs": runs_shown})
        return 0
    page = console()
    page.print(values_table([one.uid for one in runs], columns, values) if columns else runs_table(runs, page.width))
    line = summary_line(len(runs), total, unread=len(hits.problems))
    page.print(f"{line}; saved as {arguments.save}" if arguments.save else line)
    return 0


def _query(arguments: argparse.Namespace) -> Query:
    text: str = arguments.query
    if arguments.words:
        return FullText(text)
    if arguments.mongo:
        return _from_mongo(text)
    return as_query(text)


def _size(text: str | None) -> int | None:
    try:
        return None if text is None else byte_count(text)
    except ValueError as error:
        raise UnsupportedQuery(f"--read-at-most takes a size like 10GiB, not {text!r}") from error


def _from_mongo(text: str) -> Query:
    try:
        query = json.loads(text)
    except ValueError as error:
        raise UnsupportedQuery(f'--mongo takes JSON like \'{{"plan_name": "scan"}}\': {error}') from error
    if not isinstance(query, Mapping):
        raise UnsupportedQuery(f'--mongo takes a JSON object like \'{{"plan_name": "scan"}}\', not {text}')
    return from_mongo(query)


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",")] if text else []


def _value(run: RunSummary, place: Any) -> Any:
    value = value_of(run, place)
    return None if value is MISSING else value


def _lasting(text: str) -> str:
    """A path that means the same wherever the YAML file that is written is opened."""
    here = "://" not in text and (os.path.exists(text.partition(":")[0]) or bool(glob.glob(text, recursive=True)))
    return os.path.abspath(text) if here else text


def _save(hits: BlueskyCatalog, path: Path) -> None:
    """Write a file with the search as its one entry, under the name of the file."""
    if path.suffix not in (".yml", ".yaml"):
        raise StoreUnavailable(f"--save writes YAML: give a name like {path.name}.yml")
    text = hits(name=path.stem).serialize()
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise StoreUnavailable(f"{path} is there already: --save overwrites nothing") from error
