"""Values of documents as people read them: times, durations, the outcome of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from intake_bluesky.documents.model import to_plain
from intake_bluesky.errors import printable

__all__ = [
    "LOCAL",
    "SHORT",
    "brief_duration",
    "duration",
    "local_time",
    "on_one_line",
    "outcome",
    "parameters_of",
    "plain_text",
    "sample_of",
    "status",
]

SHORT: Final = 8  # characters of a uid that are shown
LOCAL: Final = "%Y-%m-%d %H:%M:%S %Z"
SAMPLES: Final = ("sample", "sample_name", "purpose")
"""Keys of the run start that say what was measured, the first of them that is there."""


def on_one_line(text: str) -> str:
    """Text of a document as it may be shown in one line of a terminal."""
    return printable(text).replace("\n", "\\n").replace("\t", " ")


def plain_text(value: Any) -> str:
    """A value of a document, whatever it is, as text."""
    try:
        plain = to_plain(value)
        return plain if isinstance(plain, str) else str(plain)
    except Exception as error:  # noqa: BLE001  # a value may be of any class, and nest without end
        return f"<{type(value).__name__} that has no text: {type(error).__name__}>"


def local_time(seconds: Any, form: str = LOCAL) -> str:
    """Write seconds since the epoch as local time with its zone; what is no time as ``?``.

    Examples
    --------
    >>> local_time(None)
    '?'
    """
    try:
        return f"{datetime.fromtimestamp(float(seconds)).astimezone():{form}}"
    # OverflowError and OSError are what platforms raise for years that their C library does not know.
    except (TypeError, ValueError, OverflowError, OSError):
        return "?"


def _seconds(start: Any, stop: Any) -> float | None:
    try:
        seconds = float(stop) - float(start)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None


def duration(start: Any, stop: Any) -> str:
    """Write how long something took, in two units at most.

    Examples
    --------
    >>> duration(0, 0.25), duration(0, 75), duration(0, 7265), duration(0, None)
    ('0.2 s', '1 min 15 s', '2 h 1 min', '')
    >>> duration(5, 5), duration(5, 5.01)  # of a simulation nobody knows
    ('', '<0.1 s')
    """
    seconds = _seconds(start, stop)
    if not seconds:
        return ""
    if 0 < seconds < 0.05:
        return "<0.1 s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def brief_duration(start: Any, stop: Any) -> str:
    """Write about how long something took, in one unit, for a column of a table.

    Examples
    --------
    >>> [brief_duration(0, stop) for stop in (0.25, 75, 700, 7265, 400_000, None)]
    ['0.2 s', '75 s', '12 min', '2.0 h', '4.6 d', '']
    >>> brief_duration(5, 5), brief_duration(5, 5.01)  # of a simulation nobody knows
    ('', '<0.1 s')
    """
    seconds = _seconds(start, stop)
    if not seconds:
        return ""
    if 0 < seconds < 0.05:
        return "<0.1 s"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    for limit, unit, length in ((7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / length:.0f} {unit}" if unit == "min" else f"{seconds / length:.1f} {unit}"
    return f"{seconds / 86_400:,.1f} d"


def status(stop: Mapping[str, Any] | None) -> str:
    """The exit status, or that there is none."""
    return "unfinished" if stop is None else plain_text(stop.get("exit_status", "?"))


def outcome(word: str) -> str:
    """What an exit status means: ``good``, ``open`` while there is none, else ``bad``."""
    return {"success": "good", "unfinished": "open"}.get(word, "bad")


def sample_of(start: Mapping[str, Any]) -> tuple[str, str]:
    """The key that says what was measured, and its text; of a sample that is a dict its name. Two "" if none does."""
    for key in SAMPLES:
        found = start.get(key)
        if isinstance(found, Mapping):
            found = found.get("name")
        if found is not None and plain_text(found):
            return "purpose" if key == "purpose" else "sample", plain_text(found)
    return "", ""


def parameters_of(start: Mapping[str, Any]) -> str:
    """The parameters of a simulation, for one cell; "" where there are none.

    Examples
    --------
    >>> parameters_of({"parameters": {"a": 5.43, "shape": "gauss"}})
    'a=5.43, shape=gauss'
    """
    given = start.get("parameters")
    if not isinstance(given, Mapping):
        return ""
    return ", ".join(f"{plain_text(name)}={plain_text(value)}" for name, value in given.items())
