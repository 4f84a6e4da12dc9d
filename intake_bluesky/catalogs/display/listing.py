"""A catalog as a table of its runs, the same in terminals, in notebooks and of the command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from intake_bluesky.catalogs.display.page import code, escaped, grid, page, shortened, state
from intake_bluesky.catalogs.display.text import cut, fitted, is_fitting, lines_of
from intake_bluesky.catalogs.display.values import (
    LOCAL,
    SHORT,
    brief_duration,
    local_time,
    on_one_line,
    parameters_of,
    plain_text,
    sample_of,
    status,
)
from intake_bluesky.documents.model import RunSummary
from intake_bluesky.documents.untyped import event_counts
from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query import Query
from intake_bluesky.query.nodes import replace_leaves
from intake_bluesky.query.path_nodes import PathQuery

__all__ = [
    "TO_THE_MINUTE", "RunsListing", "RunsTable", "catalog_line", "listing_html", "listing_text", "right_aligned",
]  # fmt: skip

TO_THE_MINUTE: Final = "%Y-%m-%d %H:%M"
OF_THE_YEAR: Final = "%m-%d %H:%M"
WIDEST: Final = 80  # characters of a cell in a notebook
FLEXIBLE: Final = frozenset({"plan", "sample", "purpose", "parameters"})
OPTIONAL: Final = frozenset({"scan_id", "parameters", "took"})
"""Columns that are left out where no run has anything in them."""
LONGEST_QUERY: Final = 240  # characters, in a notebook: one may name hundreds of uids
NUMBERS: Final = frozenset({"scan_id", "took", "events"})


class RunRow(NamedTuple):
    """What a table has of a run."""

    uid: str
    scan_id: str
    plan: str
    sample: str
    parameters: str
    time: float | None
    took: str
    status: str
    events: str

    @classmethod
    def of(cls, run: RunSummary) -> RunRow:
        """Take it from the documents; nothing is read, and what is odd is shown as it is."""
        start: Any = run.start
        given, stop = start.get("scan_id"), run.stop
        count = event_counts(stop).get("primary")
        return cls(
            run.uid[:SHORT],
            "" if given is None else plain_text(given),
            plain_text(start.get("plan_name") or ""),
            sample_of(start)[1],
            parameters_of(start),
            run.time,
            brief_duration(run.time, (stop or {}).get("time")),
            status(stop),
            "" if count is None else f"{count:,}",
        )


class RunsTable:
    """A table of runs, made of their start and stop alone.

    Parameters
    ----------
    runs : sequence of RunSummary
    """

    def __init__(self, runs: Sequence[RunSummary]) -> None:
        self.rows = [RunRow.of(run) for run in runs]
        kinds = {kind for kind, _ in (sample_of(run.start) for run in runs)} - {""}
        self._sample = kinds and ("sample" if "sample" in kinds else "purpose")

    def _started(self, form: str) -> list[str]:
        return [local_time(row.time, form) for row in self.rows]

    def cells(self, form: str = LOCAL, *, started: str = "started") -> list[tuple[str, ...]]:
        """The head and the rows, times in this form."""
        sample = [str(self._sample)] if self._sample else []
        head = ("uid", "scan_id", "plan", *sample, "parameters", started, "took", "status", "events")
        table = [head]
        for row, when in zip(self.rows, self._started(form), strict=True):
            measured = [row.sample] if self._sample else []
            cells = (row.uid, row.scan_id, row.plan, *measured, row.parameters, when, row.took, row.status, row.events)
            table.append(cells)
        # Simulations have no scan_id, and nobody knows how long they took; experiments have no parameters.
        used = [n for n, name in enumerate(head) if name not in OPTIONAL or any(row[n] for row in table[1:])]
        return [tuple(row[n] for n in used) for row in table]

    def fitted(self, width: int) -> list[tuple[str, ...]]:
        """The head and the rows, in a width: times as exact as it allows, then long names cut."""
        tables = [self.cells(), self.cells(TO_THE_MINUTE)]
        years = set(self._started("%Y")) - {"?"}
        if len(years) == 1:  # then the head has it
            tables.append(self.cells(OF_THE_YEAR, started=f"started {years.pop()}"))
        table = next((one for one in tables if is_fitting(one, width)), tables[-1])
        flexible = [place for place, name in enumerate(table[0]) if name in FLEXIBLE]
        return fitted(table, width, flexible)


def right_aligned(head: Sequence[str]) -> list[int]:
    """The columns of numbers."""
    return [place for place, name in enumerate(head) if name in NUMBERS]


@dataclass(frozen=True, slots=True)
class RunsListing:
    """A catalog to be shown.

    Attributes
    ----------
    kind, name : str
        The class, and the catalog's name.
    query : Query or None
        What was searched.
    order : str
        The keys that the runs are sorted by; "" where they come the newest first.
    runs : sequence of RunSummary
        The first in order.
    total : int or None
        How many there are; None where only testing every run could tell.
    notes : sequence of str
        What a reader has to know of it, such as what is missing.
    """

    kind: str
    name: str
    query: Query | None = None
    order: str = ""
    runs: Sequence[RunSummary] = ()
    total: int | None = None
    notes: Sequence[str] = ()

    def with_notes(self, notes: Iterable[str]) -> RunsListing:
        """The same with more notes."""
        return replace(self, notes=(*self.notes, *notes))

    @property
    def asked(self) -> str:
        """The query in the text form, which `search` takes after ``text:``; what has none as code."""
        if self.query is None:
            return ""
        from intake_bluesky.query import to_text  # late: the text form is its own parser

        for query, note in ((self.query, ""), (replace_leaves(self.query, _plainly), " (as MongoDB compares)")):
            try:
                return to_text(query) + note
            except UnsupportedQuery:
                continue
        return repr(self.query)

    @property
    def number(self) -> str:
        """How many runs."""
        number = f"more than {len(self.runs)}" if self.total is None else f"{self.total:,}"
        return f"{number} run{'' if self.total == 1 else 's'}"

    @property
    def more(self) -> str:
        """Which of the runs are shown, if not all."""
        shown = len(self.runs)
        if self.total == shown:
            return ""
        of = "" if self.total is None else f" of {self.total:,}"
        return f"the {f'first {shown} by {self.order}' if self.order else f'{shown} newest'}{of}"


def _plainly(leaf: Query) -> Query:
    """A condition of MongoDB's form, which also looks into lists, in the form that the text has words for."""
    return replace(leaf, path=replace(leaf.path, descend=False)) if isinstance(leaf, PathQuery) else leaf


def catalog_line(listing: RunsListing) -> str:
    """A catalog in one line, of which nothing is read."""
    name = f" {listing.name}" if listing.name else ""
    asked = listing.asked
    where = f" where {asked if len(asked) <= 80 else f'{asked[:77]}...'}" if asked else ""
    order = f" by {listing.order}" if listing.order else ""
    return on_one_line(f"<{listing.kind}{name}{where}{order}>")


def listing_text(listing: RunsListing, width: int) -> str:
    """A table of runs for a terminal."""
    title = " ".join(filter(None, (listing.kind, listing.name)))
    lines = [cut(on_one_line(f"{title}: {listing.number}"), width)]
    if listing.asked:
        lines.append(cut(on_one_line(f"where {listing.asked}"), width))
    if listing.runs:
        rows = RunsTable(listing.runs).fitted(width)
        lines += lines_of(rows, right_aligned(rows[0]))
    notes = [cut(on_one_line(note), width) for note in listing.notes]
    return "\n".join([*lines, *([f"({listing.more})"] if listing.more else []), *notes])


def _in_html(cell: str, column: int, of_status: int) -> str:
    short = shortened(cell, WIDEST)
    return state(short) if column == of_status else escaped(short) if column else code(short)


def listing_html(listing: RunsListing) -> str:
    """A notebook's view of a catalog."""
    head = f"{escaped(listing.name)} <span class='ib-note'>{listing.number}</span>"
    parts = (
        [f"<div class='ib-note'>where {code(shortened(listing.asked, LONGEST_QUERY))}</div>"] if listing.asked else []
    )
    if listing.runs:
        names, *rows = RunsTable(listing.runs).cells()
        place = names.index("status")
        made = [[_in_html(cell, n, place) for n, cell in enumerate(row)] for row in rows]
        wrap = [n for n, name in enumerate(names) if name in FLEXIBLE]
        parts.append(grid(names, made, right_aligned(names), wrap))
    if listing.more:
        parts.append(f"<div class='ib-note'>{escaped(listing.more)}</div>")
    parts += [f"<div class='ib-note'>{escaped(note)}</div>" for note in listing.notes]
    return page(listing.kind, head, *parts)
