"""Tables of text that fit a terminal."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Collection, Sequence
from itertools import accumulate, takewhile
from typing import Final

from intake_bluesky.catalogs.display.values import on_one_line

__all__ = ["cut", "fitted", "is_fitting", "lines_of", "page_width", "text_width", "wrapped"]

GAP: Final = 2  # between columns
LEAST: Final = 6  # of a column whose text may be long
NARROWEST: Final = 40
WIDE: Final = "WF"  # of East Asian scripts


def page_width() -> int:
    """Columns of the terminal; 80 where there is none."""
    return max(NARROWEST, shutil.get_terminal_size((80, 24)).columns)


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in WIDE else 1


def text_width(text: str) -> int:
    """How many columns of a terminal a text takes.

    Examples
    --------
    >>> text_width("scan"), text_width("試料")
    (4, 4)
    """
    return len(text) if text.isascii() else sum(map(_columns, text))


def cut(text: str, width: int) -> str:
    """The text, its end replaced by ``…`` where it is wider than `width`.

    Examples
    --------
    >>> cut("a long name", 7), cut("試料試料", 6), cut("short", 7)
    ('a long…', '試料…', 'short')
    """
    if text_width(text) <= width:
        return text
    taken = 0
    for place, character in enumerate(text):
        taken += _columns(character)
        if taken > width - 1:
            return f"{text[:place].rstrip()}…"
    return text


def _padded(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - text_width(text))
    return space + text if right else text + space


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(text_width, column)) for column in zip(*rows, strict=True)]


def is_fitting(rows: Sequence[Sequence[str]], width: int) -> bool:
    """Whether a table, its head among the rows, fits without being cut."""
    clean = [tuple(map(on_one_line, row)) for row in rows]
    return sum(_widths(clean)) + GAP * (len(rows[0]) - 1) <= width


def fitted(rows: Sequence[Sequence[str]], width: int, flexible: Collection[int]) -> list[tuple[str, ...]]:
    """The rows of a table, the head first, their cells cut so that it fits: those of flexible columns first."""
    clean = [tuple(map(on_one_line, row)) for row in rows]
    widths = [min(own, width) for own in _widths(clean)]
    room = width - GAP * (len(widths) - 1)
    for among, least in ((flexible, LEAST), (range(len(widths)), 1)):
        while sum(widths) > room:
            widest = max((place for place in among if widths[place] > least), key=widths.__getitem__, default=None)
            if widest is None:
                break
            widths[widest] -= 1
    return [tuple(map(cut, row, widths)) for row in clean]


def lines_of(rows: Sequence[Sequence[str]], right: Collection[int] = (), indent: str = "") -> list[str]:
    """The lines of a table: columns side by side, those of numbers to the right."""
    widths = _widths(rows)
    joined = (
        (" " * GAP).join(_padded(cell, widths[n], right=n in right) for n, cell in enumerate(row)).rstrip()
        for row in rows
    )
    return [indent + line for line in joined]


def wrapped(words: Sequence[str], width: int, *, first: str, most: int) -> list[str]:
    """Words with commas between them after a `first` text, in `most` lines at most; those left out are counted."""
    indent, left = " " * text_width(first), [cut(on_one_line(word), width // 2) for word in words]
    lines: list[str] = []
    while left and len(lines) < most:
        taken = _taken(left, width - len(indent) - 1, last=len(lines) + 1 == most)
        rest = left[taken:]
        end = "" if not rest else "," if len(lines) + 1 < most else f" and {len(rest)} more"
        lines.append((indent if lines else first) + ", ".join(left[:taken]) + end)
        left = rest
    return lines


def _taken(words: Sequence[str], room: int, *, last: bool) -> int:
    """How many of the words go into a line, at least one; the last line has room for the number of the others."""
    # How wide the first words are together; no further than is wider than the line.
    widths = list(takewhile(lambda width: width <= room, accumulate(words, _joined_width, initial=-len(", "))))[1:]
    if last and len(widths) < len(words):
        rest = len(f" and {len(words)} more")
        widths = [width for width in widths if width + rest <= room]
    return max(len(widths), 1)


def _joined_width(before: int, word: str) -> int:
    return before + len(", ") + text_width(word)
