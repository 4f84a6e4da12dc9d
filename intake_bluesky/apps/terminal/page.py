"""Writing to the terminal: pages by rich, documents by JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from intake_bluesky.documents.model import to_plain
from intake_bluesky.errors import MissingDependency, printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console", "counted", "write_json"]

WIDE = 200
"""Columns of output that goes to a pipe or a file: nothing is cut."""


def console(*, stderr: bool = False) -> Console:
    """The terminal, or a wide page where the output goes elsewhere.

    Raises
    ------
    MissingDependency
        Without rich.
    """
    try:
        from rich.console import Console
        from rich.segment import Segment
    except ImportError as error:
        raise MissingDependency.of("rich", extra="cli", purpose="for tables and trees") from error

    class Page(Console):
        def render(self, renderable: Any, options: Any = None) -> Iterator[Any]:
            """As of rich, which passes on what documents have of escape sequences."""
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else printable(text), style, control)

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would end the program here, and call it a failure

    file = sys.stderr if stderr else sys.stdout
    # No markup: `[x]` in a document is text, not a style.
    return Page(file=file, width=None if file.isatty() else WIDE, highlight=False, markup=False, emoji=False)


def counted(number: int, thing: str) -> str:
    """So many things.

    Examples
    --------
    >>> counted(1, "run"), counted(1200, "run")
    ('1 run', '1,200 runs')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def write_json(value: Any) -> None:
    """Write one JSON document; what is not finite becomes null, because JSON has no form for it."""
    text = json.dumps(_finite(to_plain(value)), ensure_ascii=False, indent=2, allow_nan=False, default=str)
    # JSON asks for few of the characters that control a terminal to be escaped, and allows it of all.
    plain = text if text.isascii() else "".join(map(_spelled, text))
    sys.stdout.write(plain.replace("\x7f", "\\u007f") + "\n")


def _spelled(character: str) -> str:
    return character if character.isprintable() or character == "\n" else json.dumps(character)[1:-1]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(own) for key, own in value.items()}
    if isinstance(value, list):
        return [_finite(own) for own in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
