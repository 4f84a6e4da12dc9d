"""A run: in one line, in lines for a terminal, in HTML for a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any, Final

from intake_bluesky.catalogs.display.files import FilesSeen
from intake_bluesky.catalogs.display.keys import HEAD, KeyRow, events_of, key_rows, streams_of
from intake_bluesky.catalogs.display.page import (
    code,
    escaped,
    fold,
    grid,
    metadata_fold,
    page,
    problem,
    shortened,
    state,
)
from intake_bluesky.catalogs.display.text import cut, fitted, lines_of, wrapped
from intake_bluesky.catalogs.display.values import (
    SHORT,
    duration,
    local_time,
    on_one_line,
    parameters_of,
    plain_text,
    sample_of,
    status,
)
from intake_bluesky.documents.model import RunHeader, StreamLayout

__all__ = ["first_of", "keys_html", "keys_text", "run_html", "run_line", "run_text"]

OF_PRIMARY: Final = 30  # keys shown in a terminal
OF_OTHERS: Final = 6
IN_A_NOTEBOOK: Final = 300
OF_STREAMS: Final = 20  # names in one line
OF_A_LINE: Final = 80  # characters of one name or value in a line
SHOWN_AS_FACTS: Final = frozenset({"uid", "time", "scan_id", "plan_name"})


def run_line(header: RunHeader) -> str:
    """One line: uid, scan_id, plan, exit status, streams."""
    start: Any = header.start
    words = [header.uid[:SHORT]]
    if start.get("scan_id") is not None:
        words.append(f"scan_id={shortened(plain_text(start['scan_id']), OF_A_LINE)}")
    words += [shortened(plain_text(start["plan_name"]), OF_A_LINE)] if start.get("plan_name") else []
    words += [f"({shortened(parameters_of(start), OF_A_LINE)})"] if parameters_of(start) else []
    words.append(shortened(status(header.stop), OF_A_LINE))
    return on_one_line(f"<BlueskyRun {' '.join(words)} streams=[{first_of(list(header.streams), OF_STREAMS)}]>")


def first_of(names: Sequence[str], most: int) -> str:
    """The first names of several, for one line."""
    shown = [shortened(name, OF_A_LINE) for name in names[:most]]
    return ", ".join([*shown, *(["..."] if len(names) > most else [])])


def _facts(header: RunHeader) -> list[tuple[str, str]]:
    start, stop = header.start, header.stop
    began, ended = start.get("time"), (stop or {}).get("time")
    facts = [("status", status(stop))]
    facts += [("reason", plain_text(stop["reason"]))] if stop is not None and stop.get("reason") else []
    for label, key in (("scan_id", "scan_id"), ("plan", "plan_name")):
        if start.get(key) is not None:
            facts.append((label, plain_text(start[key])))
    facts += [sample_of(start)] if sample_of(start)[0] else []
    facts += [("parameters", parameters_of(start))] if parameters_of(start) else []
    facts.append(("started", local_time(began)))
    if stop is not None:
        took = duration(began, ended)
        facts.append(("ended", local_time(ended) + (f" (took {took})" if took else "")))
    return facts


def run_text(header: RunHeader, files: FilesSeen, width: int) -> str:
    """Several lines for a terminal."""
    facts = _facts(header)
    others = [key for key in header.start if key not in SHOWN_AS_FACTS and key not in dict(facts)]
    lines = [cut(on_one_line(f"BlueskyRun {header.uid}"), width)]
    wide = max(len("metadata"), *(len(label) for label, _ in facts)) + 1
    lines += [cut(on_one_line(f"  {label:<{wide}}{value}"), width) for label, value in facts]
    if others:
        lines += wrapped(list(map(str, others)), width, first=f"  {'metadata':<{wide}}", most=2)
    for layout in streams_of(header):
        lines.append("")
        lines.append(cut(on_one_line(f"{layout.name}: {events_of(header, layout)}"), width))
        lines += keys_text(layout, width, OF_PRIMARY if layout.name == "primary" else OF_OTHERS)
    if not header.streams:
        lines += ["", "no streams"]
    if files.note:
        lines.append("")
        lines.append(cut(f"files: {files.note}", width))
        lines += [cut(on_one_line(f"  missing: {path}"), width) for path in files.missing]
        for why in files.refused[:1]:  # the others are mostly refused for the same reason
            text = f"  refused: {on_one_line(why)}"
            lines += [cut(line, width) for line in wrap(text, width, subsequent_indent="    ", break_on_hyphens=False)]
    return "\n".join(lines)


def _used(rows: Sequence[KeyRow]) -> list[int]:
    """The columns that have anything in them; device only where it says more than the key."""
    told = {"device": [row.device for row in rows if row.device != row.key]}
    return [n for n, name in enumerate(HEAD) if any(told.get(name, [row[n] for row in rows]))]


def keys_text(
    layout: StreamLayout, width: int, most: int, keys: Sequence[str] | None = None, part: str = "data"
) -> list[str]:
    """The keys of a stream, a line each."""
    rows = key_rows(layout, keys, part)
    lines = [cut(f"  {on_one_line(wrong)}", width) for wrong in layout.damage.values()]
    if not rows:
        return lines
    used = _used(rows)
    table = [tuple(row[place] for place in used) for row in (HEAD, *rows[:most])]
    lines += lines_of(fitted(table, width - 2, [0, len(used) - 1]), indent="  ")
    return [*lines, f"  and {len(rows) - most} more"] if len(rows) > most else lines


def keys_html(layout: StreamLayout, keys: Sequence[str] | None = None, part: str = "data") -> str:
    """The keys of a stream as a table."""
    rows = key_rows(layout, keys, part)
    wrong = "".join(map(problem, layout.damage.values()))
    if not rows:
        return wrong
    used = _used(rows)
    shown = rows[:IN_A_NOTEBOOK]
    table = [[escaped(shortened(row[n])) if n else code(shortened(row.key)) for n in used] for row in shown]
    more = f"<div class='ib-note'>and {len(rows) - len(shown)} more</div>" if len(rows) > len(shown) else ""
    return wrong + grid([HEAD[place] for place in used], table, wrap={0}) + more


def run_html(header: RunHeader, files: FilesSeen) -> str:
    """A notebook's view of a run."""
    word = status(header.stop)
    facts = [(escaped(label), escaped(shortened(value))) for label, value in _facts(header) if label != "status"]
    parts = [grid((), facts, wrap={1}), metadata_fold("start", header.start, unfolded=True)]
    parts += [metadata_fold("stop", header.stop, unfolded=False)] if header.stop else []
    for layout in streams_of(header):
        unfolded = layout.name == "primary" or len(header.streams) == 1 or bool(layout.damage)
        parts.append(fold(layout.name, events_of(header, layout), keys_html(layout), unfolded=unfolded))
    if not header.streams:
        parts.append("<div class='ib-note'>no streams</div>")
    if files.note:
        missing = [f"<div><span class='ib-bad'>missing</span> {code(path)}</div>" for path in files.missing]
        refused = [problem(why) for why in files.refused[:1]]
        parts.append(fold("files", files.note, "".join([*missing, *refused]), unfolded=bool(missing or refused)))
    return page("BlueskyRun", f"{code(shortened(header.uid))} {state(shortened(word))}", *parts)
