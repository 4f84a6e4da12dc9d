"""Each decided case of queries about descriptors, hardware and data; and how they are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from intake_bluesky.documents.model import RunSummary, stream_name
from intake_bluesky.errors import AssetUnavailable, DamagedRun, UnsupportedQuery
from intake_bluesky.query import (
    ALL,
    AnyDescriptor,
    CompareStatistic,
    Config,
    Data,
    DataBetween,
    DataKey,
    Descriptor,
    Device,
    FullText,
    Fuzzy,
    Item,
    Key,
    Query,
    Start,
    Stop,
    Stream,
    cheap_first,
    documents_needed,
    matches,
    similarity,
)
from intake_bluesky.query.descriptor_nodes import stream_of
from intake_bluesky.testing.queries import Run

UNITS = {"theta": {"units": "deg", "shape": [2]}, "det.x-1": {"units": None}}


def described(*descriptors: dict[str, Any]) -> Run:
    return Run({"uid": "u"}, None, descriptors)


def with_data(values: Sequence[Any], *, stream: str = "primary", **others: Sequence[Any]) -> Run:
    """A run with values of theta in a stream, and in other streams by name."""
    data = {(name, "theta"): column for name, column in {stream: values, **others}.items()}
    return Run({"uid": "u"}, None, [{"name": name, "data_keys": {"theta": {}}} for name, _ in data], data)


FCCD = {"fccd": {"data": {"exposure_time": 0.2, "fccd_cam.size-x": 4, "mode": "fast", "roi": [1, 2], "gap": None}}}
HERE = described(
    {"data_keys": UNITS, "configuration": FCCD, "object_keys": {"m.1": ["theta"]}, "hints": {"s": {}}},
    {"name": "baseline", "data_keys": {"p": {}}, "configuration": {"fccd": {"data": {"exposure_time": 0.5}}}},
)


def test_streams() -> None:
    assert matches(Stream("primary").exists(), HERE)  # by a descriptor without a name
    assert matches(Stream("baseline").exists(), HERE)
    assert not matches(Stream("fly").exists(), HERE)
    assert not matches(Stream("primary").exists(), described())
    assert matches(~Stream("fly").exists(), HERE)


@pytest.mark.parametrize("descriptor", [{"name": "a"}, {}, {"name": None}, {"name": ""}], ids=repr)
def test_streams_are_named_here_as_everywhere(descriptor: dict[str, Any]) -> None:
    assert stream_of(descriptor) == stream_name(descriptor)


def test_devices() -> None:
    for name in ("fccd", "m.1", "s"):
        assert matches(Device(name).exists(), HERE)
        assert matches(Device(name, stream="baseline").exists(), HERE) is (name == "fccd")
    for name in ("m", "theta", "exposure_time"):
        assert not matches(Device(name).exists(), HERE)


def test_data_keys_are_taken_literally() -> None:
    assert matches(DataKey("theta").exists(), HERE)
    assert matches(DataKey("det.x-1").exists(), HERE)
    assert not matches(DataKey("det").exists(), HERE)
    assert not matches(DataKey("theta", stream="baseline").exists(), HERE)
    assert matches(DataKey("theta").field("units") == "deg", HERE)
    assert not matches(DataKey("theta").field("units") != "deg", HERE)
    assert matches(DataKey("theta").field("shape", "0") == 2, HERE)
    assert matches(DataKey("det.x-1").field("units") == None, HERE)  # noqa: E711
    assert matches(DataKey("p").field("units") != "deg", HERE)


def test_configuration_is_compared_as_any_value_is() -> None:
    exposure, missing = Config("fccd", "exposure_time"), Config("fccd", "gain")
    assert matches((exposure > 0.1) & (exposure >= 0.5) & (exposure < 0.3) & (exposure == 0.2), HERE)
    assert matches(Config("fccd", "fccd_cam.size-x") == 4.0, HERE)
    assert matches(Config("fccd", "mode").regex("^FA", ignore_case=True), HERE)
    assert matches(Config("fccd", "mode").is_in(["slow", "fast"]), HERE)
    assert matches(Config("fccd", "roi").contains(2) & Config("fccd", "roi").has_size(2), HERE)
    assert matches(Config("fccd", "roi").any(Item() > 1), HERE)
    assert matches(Config("fccd", "gap").exists(), HERE)
    assert not matches(Config("fccd", "mode") > 0, HERE)
    assert not matches(Config("fccd", "exposure_time", stream="primary") > 0.3, HERE)
    for query in (missing > 0, missing == None, missing.exists(), missing.is_nan(), missing.is_in([1])):  # noqa: E711
        assert not matches(query, HERE)
        assert matches(~query, HERE)
    assert matches(missing != 1, HERE)
    assert matches(Device("fccd", stream="baseline").config("exposure_time") == 0.5, HERE)
    assert missing.is_in([]) == ~ALL


def test_a_condition_outside_may_be_met_by_another_descriptor() -> None:
    name, exposure = Descriptor("name"), Descriptor("configuration.fccd.data.exposure_time")
    assert matches(AnyDescriptor(name == "baseline") & AnyDescriptor(exposure == 0.2), HERE)
    assert not matches(AnyDescriptor((name == "baseline") & (exposure == 0.2)), HERE)
    assert matches(AnyDescriptor((name == "baseline") & ~(exposure == 0.2)), HERE)
    assert not matches(AnyDescriptor(~ALL), HERE)
    assert not matches(AnyDescriptor(ALL), described())


def test_a_statistic_is_compared_in_some_stream_that_has_the_key() -> None:
    run = with_data([1, 2, 6], baseline=[100])
    assert matches(Data("theta").max() == 6, run)
    assert matches(Data("theta").max() == 100, run)
    assert not matches(Data("theta").max() != 6, run)  # != is the negation: it asks that no stream has it
    assert not matches(Data("theta", stream="primary").max() > 6, run)
    assert matches(Data("theta", stream="baseline").min() > 6, run)
    assert matches((Data("theta").mean() == 3) & (Data("theta").first() == 1) & (Data("theta").last() == 6), run)
    assert matches(Data("theta").sum().between(8, 9.5), run)
    for query in (Data("x").count() >= 0, Data("theta", stream="fly").count() >= 0, Data("x").between(0, 9)):
        assert not matches(query, run)
        assert matches(~query, run)


def test_what_is_no_number_counts_and_compares_with_nothing() -> None:
    for values in ([None, math.nan], ["a", "b"]):
        run = with_data(values)
        assert matches((Data("theta").count() == 2) & (Data("theta").nan_count() == 2), run)
        for name in ("min", "max", "mean", "sum", "first", "last"):
            statistic = Data("theta").statistic(name)
            for query in (statistic < 1, statistic <= math.inf, statistic > -math.inf, statistic >= 1, statistic == 0):
                assert not matches(query, run)
        assert not matches(Data("theta").between(-math.inf, math.inf), run)
        assert not matches(Data("theta").within(-math.inf, math.inf), run)
    empty = with_data([])
    assert matches((Data("theta").count() == 0) & ~(Data("theta").sum() == 0) & ~Data("theta").within(0, 1), empty)


def test_whole_numbers_add_up_exactly_and_sums_of_others_equal_nothing() -> None:
    assert matches(Data("theta").sum() == 2**64 + 1, with_data([2**63, 2**63, 1]))
    assert matches(Data("theta").sum() == 4, with_data([1, None, 3.0]))
    assert matches(Data("theta").sum() == 2, with_data([True, True, False]))
    third = with_data([0, 0, 1])
    assert not matches(Data("theta").mean() == 0, third)
    assert matches(Data("theta").mean() > 1 / 3, third)  # the float is a little less than a third
    assert not matches(Data("theta").mean() <= 1 / 3, third)
    halves = with_data([0.5, 0.5])
    assert not matches(Data("theta").sum() == 1, halves)
    assert matches(Data("theta").sum() != 1, halves)
    assert matches(Data("theta").sum().between(1 - 1e-9, 1 + 1e-9), halves)
    assert matches(Data("theta").max() == 0.5, halves)


def test_infinities_are_numbers() -> None:
    run = with_data([1.0, math.inf])
    assert matches((Data("theta").max() > 1e300) & (Data("theta").sum() == 1) | (Data("theta").max() == math.inf), run)
    assert matches(Data("theta").between(math.inf, math.inf) & ~Data("theta").within(0, 1e300), run)
    both = with_data([-math.inf, math.inf])
    for query in (Data("theta").sum() > 0, Data("theta").sum() <= 0, Data("theta").mean() == 0):
        assert not matches(query, both)


def test_between_and_within_include_their_ends() -> None:
    run = with_data([-1, 5, math.nan])
    assert matches(Data("theta").between(5, 6) & Data("theta").between(-2, -1) & Data("theta").within(-1, 5), run)
    assert not matches(Data("theta").between(-0.5, 4.5), run)
    assert not matches(Data("theta").within(-1, 4.999), run)
    assert matches(Data("theta", stream="primary").between(5.0, 5), run)


def test_values_are_looked_at_only_where_statistics_leave_it_open() -> None:
    class Closed(Run):
        def lies(self, stream: str, key: str, low: float, high: float) -> bool:
            raise AssertionError("the values were looked at")

    data = {("primary", "theta"): [3, 0, 10, 4]}
    run = Closed({"uid": "u"}, None, [{"data_keys": {"theta": {}}}], data)
    for low, high, expected in (
        (11, 12, False),
        (-2, -1, False),
        (9, 11, True),
        (-1, 0, True),
        (3, 3.5, True),
        (4, 4, True),
    ):
        assert matches(Data("theta").between(low, high), run) is expected
    with pytest.raises(AssertionError, match="looked at"):
        matches(Data("theta").between(5, 6), run)


def test_what_cannot_be_read_decides_nothing_and_hinders_nothing() -> None:
    class Unreadable(Run):
        def statistics(self, stream: str, key: str) -> Any:
            raise error

    run = Unreadable({"uid": "u"}, None, [{"data_keys": {"theta": {}}}])
    lost, true, false = Data("theta").max() > 5, Start("uid").exists(), Stop("uid").exists()
    for error in (DamagedRun("torn"), AssetUnavailable("gone")):
        assert matches(lost | true, run)
        assert not matches(lost & false, run)
        assert matches(~(lost & false), run)
        for query in (lost, ~lost, lost & true, lost | false, ~lost | lost):
            with pytest.raises(type(error), match=r"torn|gone"):
                matches(query, run)


def test_start_and_stop_alone_are_not_enough() -> None:
    summary = RunSummary.of({"uid": "u"}, None)
    for query in (Stream("a").exists(), Data("x").max() > 1):
        with pytest.raises(UnsupportedQuery, match="only start and stop"):
            matches(query, summary)
    assert matches(Stream("a").exists() | Start("uid").exists(), HERE)
    assert matches(Stream("a").exists(), SimpleNamespace(start={}, stop=None, descriptors=[{"name": "a"}]))


def test_which_parts_of_a_run_are_needed() -> None:
    assert documents_needed(Config("a", "b") > 1) == {"descriptors"}
    assert documents_needed(~(Data("x").max() > 1) & Stream("a").exists()) == {"descriptors", "data"}
    assert documents_needed(Data("x").within(1, 2) | Fuzzy("ni")) == {"start", "descriptors", "data"}
    with pytest.raises(UnsupportedQuery, match="inside AnyDescriptor"):
        documents_needed(Descriptor("name") == "primary")
    with pytest.raises(UnsupportedQuery, match="inside AnyDescriptor"):
        matches(Descriptor("name") == "primary", HERE)


def test_what_is_cheap_comes_first_at_each_level() -> None:
    data, stream, start = Data("x").max() > 1, Stream("a").exists(), Start("b") == 1
    assert cheap_first(data & (data | stream | start) & stream) == stream & data & (start | stream | data)
    assert repr(cheap_first(~(data & start))) == repr(~(start & data))
    assert repr(cheap_first((data | start) & stream)) == repr(stream & (start | data))


@pytest.mark.parametrize(
    ("text", "threshold", "expected"),
    [
        ("nickle", 0.4, True),
        ("nickle", 0.41, False),
        ("NICKEL", 1.0, True),
        ("nickle foyl", 0.3, False),
        ("nickle fooil", 0.3, True),
        ("strase", 0.3, True),
        ("copper", 0.3, False),
        ("sample", 0.3, False),
    ],
)
def test_fuzzy_forgives_spelling(text: str, threshold: float, expected: bool) -> None:
    run = Run({"uid": "u", "sample": {"name": "Nickel", "form": ["FOIL"]}, "note": "Straße"}, {"reason": "copper"})
    assert matches(Fuzzy(text, threshold), run) is expected


def test_fuzzy_finds_all_that_full_text_finds() -> None:
    run = Run({"uid": "u", "a": "one two", "b": ["three"]}, None)
    assert matches(FullText("three one"), run)
    assert matches(Fuzzy("three one", 1), run)
    assert similarity("aaa", "aaaa") == 1.0  # the very same trigrams


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (Data("a.b").max() > 5, "Data('a.b').max() > 5"),
        (Data("x", stream="s").sum() == 5, "Data('x', stream='s').sum() == 5"),
        (Data("x").mean() != 5, "Data('x').mean() != 5"),
        (~(Data("x").count() < 5), "~(Data('x').count() < 5)"),
        (~Data("x", "s").between(0, 5.5), "~Data('x', stream='s').between(0, 5.5)"),
        (Data("x").within(float("-inf"), 1), "Data('x').within(float('-inf'), 1)"),
        (Stream("s").exists(), "AnyDescriptor(ALL, stream='s')"),
        (Config("d.1", "k") != 1, "~AnyDescriptor(Descriptor('configuration', 'd.1', 'data', 'k') == 1)"),
        (Fuzzy("ni", 1), "Fuzzy('ni', 1.0)"),
    ],
)
def test_code_is_what_one_would_write(written: Query, expected: str) -> None:
    assert repr(written) == expected


@pytest.mark.parametrize(
    "thing", [Data("x"), Data("x").max(), DataKey("x"), Device("x"), Stream("x"), Config("x", "y")]
)
def test_what_is_no_query_yet_says_so(thing: object) -> None:
    with pytest.raises(TypeError, match="no query yet"):
        bool(thing)
    assert repr(thing)


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: Data("x").sum() == 0.5, r"\.sum\(\)\.between"),
        (lambda: Data("x").mean() != 2.0, r"\.mean\(\)\.between"),
        (lambda: Data("x").max() > "5", "takes a number"),
        (lambda: Data("x").max() == True, "True"),  # noqa: E712
        (lambda: DataBetween("x", math.nan, 1), "NaN"),
        (lambda: Data("x").between(5, 0), "before it begins"),
        (lambda: Data("x").within(None, 0), "takes a number"),  # type: ignore[arg-type]
        (lambda: Data("x").statistic("median"), "median"),
        (lambda: Data(5), "data key"),  # type: ignore[arg-type]
        (lambda: Data("x", stream=""), "stream"),
        (lambda: Stream(None), "name"),  # type: ignore[arg-type]
        (lambda: CompareStatistic("x", "median", ">", 1), "median"),  # type: ignore[arg-type]
        (lambda: CompareStatistic("x", "max", "~", 1), "~"),  # type: ignore[arg-type]
        (lambda: DataBetween("x", True, 2), "True"),
        (lambda: Config("a", 5), "5"),  # type: ignore[arg-type]
        (lambda: AnyDescriptor(Start("name") == "a"), "Descriptor"),
        (lambda: AnyDescriptor(AnyDescriptor(ALL)), "Descriptor"),
        (lambda: AnyDescriptor("primary"), "primary"),  # type: ignore[arg-type]
        (lambda: Start("x").any(Descriptor("name") == "a"), "items of the list"),
        (lambda: Key("x").any(Data("x").max() > 1), "items of the list"),
        (lambda: Fuzzy(" - "), "one or more words"),
        (lambda: Fuzzy("a", 0), "threshold"),
        (lambda: Fuzzy("a", 1.5), "threshold"),
    ],
)
def test_what_has_no_meaning_is_refused(build: Callable[[], object], named: str) -> None:
    with pytest.raises(UnsupportedQuery, match=named):
        build()
