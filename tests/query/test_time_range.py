"""Times as people write them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query import Start, TimeRange
from intake_bluesky.query.times import epoch

MARCH_5 = 1709596800.0  # 2024-03-05 00:00 UTC


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024", 1704067200.0),
        ("2024-03", 1709251200.0),
        ("2024-03-05", MARCH_5),
        ("2024-03-05 14", MARCH_5 + 14 * 3600),
        ("2024-03-05 14:30", MARCH_5 + 14.5 * 3600),
        ("2024-03-05 14:30:05", MARCH_5 + 14.5 * 3600 + 5),
        ("2024-03-05T14:30:05.25", MARCH_5 + 14.5 * 3600 + 5.25),
        (" 2024-03-05 ", MARCH_5),
        ("2024-03-05 01:00+01:00", MARCH_5),
        ("2024-03-05 00:00Z", MARCH_5),
        (MARCH_5, MARCH_5),
        (int(MARCH_5), MARCH_5),
        (np.float64(MARCH_5), MARCH_5),
        (datetime(2024, 3, 5), MARCH_5),
        (datetime(2024, 3, 5, 1, tzinfo=timezone(timedelta(hours=1))), MARCH_5),
    ],
)
def test_times_in_utc(text: object, expected: float) -> None:
    assert epoch(text, "UTC") == expected


def test_a_zone_moves_texts_and_naive_datetimes_alone() -> None:
    assert epoch("2024-03-05", "America/New_York") == MARCH_5 + 5 * 3600
    assert epoch("2024-07-05", "America/New_York") == epoch("2024-07-05", "UTC") + 4 * 3600
    assert epoch("2024-03-05", ZoneInfo("America/New_York")) == MARCH_5 + 5 * 3600
    assert epoch(datetime(2024, 3, 5), "America/New_York") == MARCH_5 + 5 * 3600
    assert epoch(MARCH_5, "America/New_York") == MARCH_5
    assert epoch("2024-03-05 00:00Z", "America/New_York") == MARCH_5


@pytest.mark.usefixtures("in_tokyo")
def test_local_time_is_the_default() -> None:
    assert epoch("2024-03-05") == MARCH_5 - 9 * 3600
    assert epoch(datetime(2024, 3, 5)) == MARCH_5 - 9 * 3600
    assert TimeRange(since="2024-03-05").since == MARCH_5 - 9 * 3600


@pytest.mark.usefixtures("in_tokyo")
def test_a_naive_datetime_is_refused_in_a_comparison() -> None:
    with pytest.raises(ValueError, match="TimeRange"):
        Start("time") > datetime(2024, 3, 5)  # noqa: B015
    aware = datetime(2024, 3, 5).astimezone()
    assert (Start("time") > aware) == (Start("time") > MARCH_5 - 9 * 3600)


@pytest.mark.parametrize(
    "text",
    ["", "24", "2024-13", "2024-02-30", "2024-3-5", "20240305", "yesterday", "2024-03-05 25:00", "0000"],
)
def test_texts_that_are_no_time(text: str) -> None:
    with pytest.raises(UnsupportedQuery, match="is no time"):
        epoch(text, "UTC")


@pytest.mark.parametrize("moment", [True, None, [1], float("inf"), float("nan"), 10**400])
def test_values_that_are_no_time(moment: object) -> None:
    with pytest.raises(UnsupportedQuery):
        epoch(moment)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", 5])
def test_a_zone_that_is_unknown(zone: str) -> None:
    with pytest.raises(UnsupportedQuery, match="tzdata"):
        epoch("2024", zone)


def test_a_range_keeps_seconds_and_prints_a_time() -> None:
    observed = TimeRange("2024-03-05", "2024-03-06", timezone="UTC")
    assert (observed.since, observed.until) == (MARCH_5, MARCH_5 + 86400)
    assert repr(observed) == "TimeRange(since='2024-03-05 00:00:00+00:00', until='2024-03-06 00:00:00+00:00')"
    assert repr(TimeRange(until=1e300)) == "TimeRange(until=1e+300)"


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="ends before it begins"):
        TimeRange("2024", "2023")
