"""Regular expressions that SQL can answer: those that are plain text."""

from __future__ import annotations

from intake_bluesky.index.search_form import spelled_plainly
from intake_bluesky.query.implications import PLAIN
from intake_bluesky.query.path_nodes import Regex

__all__ = ["literal"]


def literal(leaf: Regex) -> tuple[str, bool] | None:
    """The text that a pattern finds and whether only at the beginning; None where it is more than a text.

    Examples
    --------
    >>> literal(Regex("x", "^Ni")), literal(Regex("x", "Ni.")), literal(Regex("x", "Ni", "i"))
    (('Ni', True), None, None)
    """
    found = PLAIN.fullmatch(leaf.pattern)
    # Of the flags, ASCII and DOTALL change nothing about a text without classes and dots.
    if found is None or not set(leaf.flags) <= {"a", "s"} or not spelled_plainly(found["text"]):
        return None
    return found["text"], bool(found["anchor"])
