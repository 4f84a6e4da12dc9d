"""Times as people write them, brought to seconds since the epoch."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query.values import freeze, seconds

_TIME = r"\d\d(?::\d\d(?::\d\d(?:\.\d{1,6})?)?)?(?:Z|[+-]\d\d:\d\d)?"
# Narrower than fromisoformat(), which also takes weeks and digits without hyphens, easily meant otherwise.
_WRITTEN: Final = re.compile(
    rf"(?P<year>\d{{4}})(?:-(?P<month>\d\d)(?P<rest>-\d\d(?:[ T]{_TIME})?)?)?",
    re.ASCII,
)


def zone(timezone: str | tzinfo | None) -> tzinfo | None:
    """Find a time zone by its name in the IANA database; None stays None, for local time.

    Raises
    ------
    UnsupportedQuery
        If no zone has that name.

    Examples
    --------
    >>> zone("America/New_York")
    zoneinfo.ZoneInfo(key='America/New_York')
    """
    if timezone is None or isinstance(timezone, tzinfo):
        return timezone
    try:
        return ZoneInfo(timezone)
    except (ValueError, TypeError, OSError, LookupError) as error:
        raise UnsupportedQuery(
            f"no time zone {timezone!r} is known here: give a name like 'Europe/Berlin' (the package "
            "tzdata has all), a datetime.tzinfo, or None for local time"
        ) from error


def epoch(moment: object, timezone: str | tzinfo | None = None) -> float:
    """Give the seconds since the epoch of a time.

    Parameters
    ----------
    moment
        A number (already seconds), a datetime, or a text: ``2024``, ``2024-03``, ``2024-03-05``,
        ``2024-03-05 14``, ``2024-03-05 14:30``, ``2024-03-05 14:30:05.25``, each the *beginning* of what it
        names; a time of day may end with its own offset, ``+01:00`` or ``Z``.
    timezone
        The zone of a text or a naive datetime: a name of the IANA database, a tzinfo, or None for local time.

    Raises
    ------
    UnsupportedQuery
        If the time or the zone cannot be understood.

    Examples
    --------
    >>> epoch("2024-03", "UTC")
    1709251200.0
    """
    if isinstance(moment, str):
        moment = _parse(moment)
    if isinstance(moment, datetime):
        return _in_zone(moment, zone(timezone))
    value = freeze(moment)
    if isinstance(value, bool) or not isinstance(value, int | float) or value in (float("inf"), float("-inf")):
        raise UnsupportedQuery(f"a time is seconds since the epoch, a datetime, or a text, not {moment!r}")
    try:
        return float(value)
    except OverflowError as error:
        raise UnsupportedQuery(f"{value} seconds since the epoch is beyond any calendar") from error


def _parse(text: str) -> datetime:
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise UnsupportedQuery(f"{text!r} is no time: write YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DD HH:MM:SS")
    try:
        return datetime.fromisoformat(f"{found['year']}-{found['month'] or '01'}{found['rest'] or '-01'}")
    except ValueError as error:
        raise UnsupportedQuery(f"{text!r} is no time: {error}") from error


def _in_zone(moment: datetime, place: tzinfo | None) -> float:
    try:
        if moment.tzinfo is not None:
            return seconds(moment)
        # Without a zone, astimezone() takes a naive datetime for local time.
        return seconds(moment.astimezone() if place is None else moment.replace(tzinfo=place))
    except (OverflowError, OSError) as error:
        raise UnsupportedQuery(f"{moment} is beyond what this machine's calendar holds") from error
