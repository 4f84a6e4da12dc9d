"""HTML for notebooks: one style sheet, tables, folds. Everything from documents is escaped."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from intake_bluesky.catalogs.display.values import local_time, outcome, plain_text
from intake_bluesky.errors import printable

__all__ = ["code", "escaped", "fold", "grid", "metadata_fold", "page", "problem", "shortened", "state"]

# Text has the colour of the page around it, so that it is readable on any. Only marks have colours of their own: those
# of a theme that the page names; where it names none, by what the user prefers, in tones that either background bears.
LIGHT: Final = "--ib-good:#1a7f37;--ib-bad:#c62828;--ib-open:#8a5a00"
DARK: Final = "--ib-good:#56c271;--ib-bad:#ff7b72;--ib-open:#e3b341"
MIDDLE: Final = "--ib-good:#2b9a42;--ib-bad:#e0524a;--ib-open:#b7791f"
OF_LIGHT: Final = '[data-jp-theme-light="true"] .ib,html[theme="light"] .ib,html[data-theme="light"] .ib'
OF_DARK: Final = (
    '[data-jp-theme-light="false"] .ib,html[theme="dark"] .ib,html[data-theme="dark"] .ib,'
    'body[data-theme="dark"] .ib,body.vscode-dark .ib'
)
STYLE: Final = (
    f".ib{{{LIGHT};--ib-line:var(--jp-border-color2,rgba(128,128,128,.35));--ib-shade:rgba(128,128,128,.09);"
    "font-size:13px;line-height:1.45;max-width:1000px}"
    f"@media(prefers-color-scheme:dark){{.ib{{{MIDDLE}}}}}"
    f"{OF_LIGHT}{{{LIGHT}}}{OF_DARK}{{{DARK}}}"
    ".ib .ib-head{padding:2px 0 6px;border-bottom:1px solid var(--ib-line);margin-bottom:6px}"
    ".ib .ib-head b{font-size:14px;margin-right:.4em}"
    "div.ib code.ib-c{font-family:var(--jp-code-font-family,ui-monospace,Menlo,Consolas,monospace);font-size:12px;"
    "background:none;color:inherit;padding:0;border:0}"
    ".ib .ib-note{opacity:.7}"
    ".ib table.ib-t{border-collapse:collapse;border:0;margin:2px 0 8px;font-size:inherit;table-layout:auto;width:auto}"
    ".ib table.ib-t tr{background:none;border:0}"
    ".ib table.ib-t th,.ib table.ib-t td{text-align:left;vertical-align:top;padding:2px 18px 2px 0;border:0;"
    "white-space:nowrap;max-width:none;background:none}"
    ".ib table.ib-t tr>:last-child{padding-right:0}"
    ".ib table.ib-t thead th{font-weight:600;opacity:.75;border-bottom:1px solid var(--ib-line)}"
    ".ib table.ib-t tbody th{font-weight:400;opacity:.7}"
    ".ib table.ib-t tbody tr:hover{background:var(--ib-shade)}"
    ".ib table.ib-t .ib-n{text-align:right;font-variant-numeric:tabular-nums}"
    ".ib table.ib-t .ib-w{white-space:normal;overflow-wrap:break-word;max-width:40em}"
    ".ib .ib-good,.ib .ib-bad,.ib .ib-open{font-weight:600;white-space:nowrap}"
    ".ib .ib-good{color:var(--ib-good)}.ib .ib-bad{color:var(--ib-bad)}.ib .ib-open{color:var(--ib-open)}"
    ".ib .ib-good::before,.ib .ib-bad::before,.ib .ib-open::before{content:'\\25CF\\00A0';font-size:.8em}"
    ".ib details{margin:3px 0;padding:0}.ib details>table.ib-t,.ib details>div{margin-left:15px}"
    ".ib td details{margin:0}.ib td details>table.ib-t{margin:0 0 2px 12px}"
    ".ib summary{cursor:pointer;display:list-item}.ib summary b{margin-right:.4em}"
)
DEEPEST: Final = 4  # dicts in dicts
MOST: Final = 60  # keys of one dict
SMALL: Final = 60  # characters of a dict that needs no fold
LONGEST: Final = 300  # characters of a value


def escaped(text: str) -> str:
    """Text of a document as HTML."""
    return html.escape(printable(text))


def code(text: str) -> str:
    """Text to be copied: a uid, a query, a path."""
    return f"<code class='ib-c'>{escaped(text)}</code>"


def state(word: str) -> str:
    """An exit status in its colour."""
    return f"<span class='ib-{outcome(word)}'>{escaped(word)}</span>"


def problem(text: str) -> str:
    """What is wrong, in red."""
    return f"<div><span class='ib-bad'>{escaped(text)}</span></div>"


def page(kind: str, head: str, *parts: str) -> str:
    """A whole view: what it is of, and what is below."""
    top = f"<style>{STYLE}</style><div class='ib-head'><b>{escaped(kind)}</b>{head}</div>"
    return f"<div class='ib'>{top}{''.join(parts)}</div>"


def grid(
    head: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[int] = (), wrap: Collection[int] = ()
) -> str:
    """A table; cells are HTML already. Without a head the first column names what the others have."""
    classes = {**dict.fromkeys(wrap, " class='ib-w'"), **dict.fromkeys(right, " class='ib-n'")}
    top = "".join(f"<th{classes.get(n, '')}>{escaped(name)}</th>" for n, name in enumerate(head))
    lines = []
    for row in rows:
        tags = ["td" if head or n else "th" for n in range(len(row))]
        cells = [f"<{tags[n]}{classes.get(n, '')}>{cell}</{tags[n]}>" for n, cell in enumerate(row)]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    above = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f"<table class='ib-t'>{above}<tbody>{''.join(lines)}</tbody></table>"


def fold(name: str, note: str, inside: str, *, unfolded: bool) -> str:
    """Something that folds away."""
    said = f"<b>{escaped(name)}</b><span class='ib-note'>{escaped(note)}</span>"
    return f"<details{' open' if unfolded else ''}><summary>{said}</summary>{inside}</details>"


def metadata_fold(name: str, document: Mapping[str, Any], *, unfolded: bool) -> str:
    """A document, key by key."""
    number = len(document)
    return fold(name, f"{number} key{'' if number == 1 else 's'}", _mapping(document, DEEPEST), unfolded=unfolded)


def _mapping(document: Mapping[Any, Any], depth: int) -> str:
    shown = list(document.items())[:MOST]
    rows = [(escaped(shortened(plain_text(key))), _value(key, value, depth - 1)) for key, value in shown]
    if len(document) > len(shown):
        rows.append((f"{len(document) - len(shown)} more", ""))
    return grid((), rows, wrap={1})


def _value(key: Any, value: Any, depth: int) -> str:
    text = plain_text(value)
    if isinstance(value, Mapping) and len(text) > SMALL and depth > 0:
        names = ", ".join(map(plain_text, value))
        return f"<details><summary>{escaped(shortened(names, SMALL))}</summary>{_mapping(value, depth)}</details>"
    when = local_time(value) if key == "time" and isinstance(value, (int, float)) else ""
    return escaped(shortened(text)) + (f" <span class='ib-note'>{escaped(when)}</span>" if when else "")


def shortened(text: str, most: int = LONGEST) -> str:
    """Text of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
