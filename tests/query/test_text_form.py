"""The text form says what the builders say, and comes back as it went."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_bluesky.errors import QuerySyntaxError, UnsupportedQuery
from intake_bluesky.query import (
    ALL,
    AnyDescriptor,
    Config,
    Data,
    DataKey,
    Descriptor,
    Device,
    FullText,
    Fuzzy,
    Item,
    Key,
    PartialUID,
    Query,
    ScanID,
    ScanIDRange,
    Start,
    Stop,
    Stream,
    TimeRange,
    all_of,
    from_text,
    leaves,
    to_text,
)
from intake_bluesky.query.text_form.functions import MAX_WORDS
from intake_bluesky.query.text_form.parser import MAX_PATTERNS
from intake_bluesky.query.text_form.text_form import MAX_LENGTH
from intake_bluesky.query.values import MAX_DEPTH
from intake_bluesky.testing.queries import queries

THETA = (Start("theta") >= 0) & (Start("theta") <= 5)

READ: list[tuple[str, Query]] = [
    (
        "plan_name == 'scan' and theta between 0 and 5 and not stop.exit_status == 'fail'",
        all_of([Start("plan_name") == "scan", THETA, Stop("exit_status") != "fail"]),
    ),
    # where
    ("x exists", Start("x").exists()),
    ("start.x exists", Start("x").exists()),
    ("stop.x.y exists", Stop("x", "y").exists()),
    ("start.stop.x exists", Start("stop", "x").exists()),
    ("start.start exists", Start("start").exists()),
    ("start.and exists", Start("and").exists()),
    ("a.and.not exists", Start("a", "and", "not").exists()),
    ("motors.0.name exists", Start("motors", "0", "name").exists()),
    ("start.'sample name'.x exists", Start("sample name", "x").exists()),
    ('a."b.c".0 exists', Start("a", "b.c", "0").exists()),
    ("a.'' exists", Start("a", "").exists()),
    (r"a.'\'\\\x41' exists", Start("a", "'\\A").exists()),
    ("Größe_2 exists", Start("Größe_2").exists()),
    ("uid exists and text exists", Start("uid").exists() & Start("text").exists()),
    ("r exists or matches exists", Start("r").exists() | Start("matches").exists()),
    # how it is combined
    ("a exists and b exists or c exists", (Start("a").exists() & Start("b").exists()) | Start("c").exists()),
    ("a exists and (b exists or c exists)", Start("a").exists() & (Start("b").exists() | Start("c").exists())),
    ("a exists & ~b exists | c exists", (Start("a").exists() & ~Start("b").exists()) | Start("c").exists()),
    ("not (a exists and b exists)", ~(Start("a").exists() & Start("b").exists())),
    ("not not a exists", Start("a").exists()),
    ("~~~a exists", ~Start("a").exists()),
    ("((a exists))", Start("a").exists()),
    (" \n\ta  exists\u00a0\r\nand\nb exists ", Start("a").exists() & Start("b").exists()),
    # comparisons
    ("x == 1", Start("x") == 1),
    ("x==-1", Start("x") == -1),
    ("x != 1", Start("x") != 1),
    ("x < 1", Start("x") < 1),
    ("x <= 1", Start("x") <= 1),
    ("x > 1", Start("x") > 1),
    ("x >= 1", Start("x") >= 1),
    ("1 < x", Start("x") > 1),
    ("'a' == x", Start("x") == "a"),
    ("true != x", Start("x") != True),  # noqa: E712
    ("0 < x <= 5", (Start("x") > 0) & (Start("x") <= 5)),
    ("5 >= x > 0", (Start("x") <= 5) & (Start("x") > 0)),
    ("x between 'a' and 'b'", (Start("x") >= "a") & (Start("x") <= "b")),
    ("x not between 0 and 5", ~((Start("x") >= 0) & (Start("x") <= 5))),
    ("x between 0 and 5 and y exists", all_of([Start("x") >= 0, Start("x") <= 5, Start("y").exists()])),
    ("x in [1, 'a', null]", Start("x").is_in([1, "a", None])),
    ("x not in [1]", Start("x").not_in([1])),
    ("x in []", ~ALL),
    ("x is null", Start("x") == None),  # noqa: E711
    ("x is not None", Start("x") != None),  # noqa: E711
    ("x is nan", Start("x").is_nan()),
    ("x is not nan", ~Start("x").is_nan()),
    ("x not exists", ~Start("x").exists()),
    ("x contains 'Ni'", Start("x").contains("Ni")),
    ("x not contains 'Ni'", ~Start("x").contains("Ni")),
    ("x has size 3", Start("x").has_size(3)),
    (r"x matches r'^\d+'", Start("x").regex(r"^\d+")),
    (r"x matches '^\\d+' flags 'mi'", Start("x").regex(r"^\d+", flags="im")),
    ("x any(name == 'Ni' and not mass > 2)", Start("x").any((Key("name") == "Ni") & ~(Key("mass") > 2))),
    ("x any(item > 5)", Start("x").any(Item() > 5)),
    ("x any(item.item exists)", Start("x").any(Item("item").exists())),
    ("x any(item.'a b' exists)", Start("x").any(Item("a b").exists())),
    ("x any(y any(item < 3) or z exists)", Start("x").any(Item("y").any(Item() < 3) | Item("z").exists())),
    ("x any(everything())", Start("x").any(ALL)),
    # values
    ("x == 1.5e-3", Start("x") == 0.0015),
    ("x == .5", Start("x") == 0.5),
    ("x == 5.", Start("x") == 5.0),
    ("x == +5", Start("x") == 5),
    ("x == inf or x == -inf", (Start("x") == math.inf) | (Start("x") == -math.inf)),
    (f"x == {2**4096 - 1}", Start("x") == 2**4096 - 1),
    ("x == True", Start("x") == True),  # noqa: E712
    ("x == false", Start("x") == False),  # noqa: E712
    ("x == null", Start("x") == None),  # noqa: E711
    (r"""x == 'it\'s "so"'""", Start("x") == 'it\'s "so"'),
    (r'x == "it\'s \"so\""', Start("x") == 'it\'s "so"'),
    (r"x == '\n\t\r\\\x41\u00e9\U0001f600\ud800'", Start("x") == "\n\t\r\\Aé\U0001f600\ud800"),
    (r"x == r'C:\new' or x == r'a\'", (Start("x") == "C:\\new") | (Start("x") == "a\\")),
    ("x == [1, [2.0, {'a': true}], ]", Start("x") == [1, [2.0, {"a": True}]]),
    ("x == [] or x == {}", (Start("x") == []) | (Start("x") == {})),
    # runs
    ("everything()", ALL),
    ("text('nickel foil')", FullText("nickel foil")),
    ("fuzzy('nickle', 0.4)", Fuzzy("nickle", 0.4)),
    ("fuzzy('nickle foil', threshold=0.5)", Fuzzy("nickle foil", 0.5)),
    ("uid('9ac')", PartialUID("9ac")),
    ("uid('9ac', '0b2')", PartialUID("9ac", "0b2")),
    ("scan_id(5)", ScanID(5)),
    ("scan_id(5, 6, duplicates='all')", ScanID(5, 6, duplicates="all")),
    ("scan_id_range(5, 10, 'error')", ScanIDRange(5, 10, "error")),
    ("since '2024-03' until '2024-04' timezone 'UTC'", TimeRange("2024-03", "2024-04", "UTC")),
    ("since '2024-03-05 14:30+01:00'", TimeRange("2024-03-05 14:30+01:00")),
    ("until 1.7e9 or since 1700000000", TimeRange(None, 1.7e9) | TimeRange(1700000000)),
    ("since null", TimeRange()),
    # descriptors and data
    ("data('theta') between 0 and 5", Data("theta").between(0, 5)),
    ("data('theta', 'primary') within -90 and 90", Data("theta", "primary").within(-90, 90)),
    ("data('theta', stream='primary').max() > 5", Data("theta", stream="primary").max() > 5),
    ("0 < data('theta').mean() < 5", (Data("theta").mean() > 0) & (Data("theta").mean() < 5)),
    ("data('theta').last() between 1 and 2", Data("theta").last().between(1, 2)),
    ("data('i').sum() != 1000", Data("i").sum() != 1000),
    ("data('x').min() < 0 and data('x').first() == 0", (Data("x").min() < 0) & (Data("x").first() == 0)),
    ("data('x').count() >= 5 and data('x').nan_count() == 0", (Data("x").count() >= 5) & (Data("x").nan_count() == 0)),
    ("config('fccd', 'exposure_time') > 0.1", Config("fccd", "exposure_time") > 0.1),
    ("not config('a.b', 'c', stream='primary') in [1]", ~Config("a.b", "c", stream="primary").is_in([1])),
    ("config('a', 'b') matches 'c'", Config("a", "b").regex("c")),
    (
        "config('a', 'b') between 1 and 2",
        AnyDescriptor(
            (Descriptor("configuration", "a", "data", "b") >= 1) & (Descriptor("configuration", "a", "data", "b") <= 2)
        ),
    ),
    ("device('fccd')", Device("fccd").exists()),
    (
        "device('fccd', 'primary') and not device('x') exists",
        Device("fccd", "primary").exists() & ~Device("x").exists(),
    ),
    ("datakey('theta') or datakey('phi') not exists", DataKey("theta").exists() | ~DataKey("phi").exists()),
    ("datakey('theta').field('units') == 'deg'", DataKey("theta").field("units") == "deg"),
    ("stream('primary')", Stream("primary").exists()),
    ("stream() exists", AnyDescriptor(ALL)),
    (
        "stream('primary') any(data_keys.theta exists and not descriptor.'a b' == 5)",
        AnyDescriptor(Descriptor("data_keys", "theta").exists() & ~(Descriptor("a b") == 5), "primary"),
    ),
    ("stream() any(x any(item > 5))", AnyDescriptor(Descriptor("x").any(Item() > 5))),
]


@pytest.mark.parametrize(("text", "expected"), READ, ids=[text[:60] for text, _ in READ])
def test_what_a_text_says(text: str, expected: Query) -> None:
    assert from_text(text) == expected
    assert from_text(to_text(expected)) == expected


@given(queries(descend=False, whole=True))
def test_a_query_comes_back_from_its_text(query: Query) -> None:
    text = to_text(query)
    assert from_text(text) == query
    assert to_text(from_text(text)) == text
    assert text.isprintable()


ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(st.lists(ANY_TEXT, min_size=1, max_size=3).map(tuple), ANY_TEXT | st.integers() | st.floats(allow_nan=False))
def test_any_key_and_any_value_come_back(segments: tuple[str, ...], value: object) -> None:
    for field in (Start(segments), Stop(segments), Config("a", segments[0]), Data(segments[0]).max()):
        if isinstance(field, Start | Stop | Config) or not isinstance(value, str):
            assert from_text(to_text(field == value)) == (field == value)
    query = Start("x").any(Item(segments).contains(value)) | AnyDescriptor(Descriptor(segments) == [value])
    assert from_text(to_text(query)) == query


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ((Start("a") == 1) & ((Stop("b") < 2) | ~Start("c").exists()), "a == 1 and (stop.b < 2 or not c exists)"),
        (~((Start("a") == 1) | (Start("b") == 2)), "not (a == 1 or b == 2)"),
        (Start("a").not_in([1]) & (Start("b") != None), "a not in [1] and b != null"),  # noqa: E711
        (Start("item") == "it's", 'start.item == "it\'s"'),
        (Start("x").any(Item() > 1) | Start("not").exists(), "x any(item > 1) or start.not exists"),
        (Start("data", "x") == -math.inf, "start.data.x == -inf"),
        (Start("a b", "", "c") == {"k": [True]}, "start.'a b'.''.c == {'k': [true]}"),
        (TimeRange("2024", timezone="UTC"), "since '2024-01-01 00:00:00+00:00'"),
        (~(Config("a", "b") == 1), "not config('a', 'b') == 1"),
        (AnyDescriptor(Descriptor("data_keys", "x") == 1), "stream() any(data_keys.x == 1)"),
    ],
)
def test_how_a_query_is_written(query: Query, expected: str) -> None:
    assert to_text(query) == expected


@pytest.mark.parametrize(
    "query",
    [
        Start("x", descend=True) == 1,
        Start("x").any(Item("y", descend=True) == 1),
        AnyDescriptor(Descriptor("data_keys.x", descend=True).exists()),
        Item("x") == 1,
        Descriptor("x") == 1,
        Start("x").regex("a" * (MAX_PATTERNS + 1)),
        Start("x").any(Item().regex("a" * MAX_PATTERNS)) | Start("y").regex("b"),
        Start("x") == "a" * MAX_LENGTH,
        FullText("a" * (MAX_WORDS + 1)),
        Fuzzy("a" * (MAX_WORDS + 1)),
    ],
    ids=lambda query: repr(query)[:40],
)
def test_what_has_no_text_is_refused(query: Query) -> None:
    with pytest.raises(UnsupportedQuery):
        to_text(query)


def test_as_deep_and_as_long_as_it_may_be() -> None:
    deep = "x any(" * (MAX_DEPTH - 1) + "item > 1" + ")" * (MAX_DEPTH - 1)
    assert from_text(deep).depth == MAX_DEPTH
    assert to_text(from_text(deep)) == deep
    for deeper in ("x any(" + deep + ")", "not " + deep, "x not " + deep[2:], "y exists or " + deep):
        with pytest.raises(QuerySyntaxError, match="deeper than 100 levels"):
            from_text(deeper)
    wide = " or ".join(f"(x == {number})" for number in range(4000))
    assert len(list(leaves(from_text(wide)))) == 4000
    assert from_text("x == '" + "é" * (MAX_LENGTH - 7) + "'") == (Start("x") == "é" * (MAX_LENGTH - 7))


HOSTILE = (
    "' or everything() or x == '",
    '" or everything() or x == "',
    "\\",
    "\\' or everything() or '",
    "'); DROP TABLE runs; --",
    "$where",
    "{'$gt': ''}",
    "__import__('os').system('true')",
    "{0.__class__}",
    "%s%n%(x)s",
    "${HOME} `id` $(id)",
    "a\x00b",
    "a\nb\r\u2028c",
    "\ud800",
    "\U0010ffff",
    "r'x'",
    "]) | everything() | ([",
    "",
    ".",
    "../../etc/passwd",
)


@pytest.mark.parametrize("hostile", HOSTILE, ids=ascii)
def test_hostile_texts_stay_texts_wherever_they_stand(hostile: str) -> None:
    key = ("a", hostile)
    safe = [
        Start(key) == 1,
        Start((hostile,)).exists(),
        Stop((hostile, "b")).is_nan(),
        Start("x") == hostile,
        Start("x") != hostile,
        Start("x") < hostile,
        Start("x").is_in([hostile, [hostile]]),
        Start("x").contains(hostile),
        Start("x") == {hostile: hostile},
        Start("x").any(Item(key) == hostile),
        Data(hostile).max() > 5,
        DataKey(hostile).exists(),
        DataKey("x").field(hostile) == hostile,
        Device(hostile).exists(),
        Config(hostile, hostile) == hostile,
        AnyDescriptor(Descriptor((hostile,)) == hostile),
    ]
    if hostile:
        safe += [PartialUID(hostile), Stream(hostile).exists(), Data("x", hostile).between(0, 1)]
    if any(char.isalnum() for char in hostile):
        safe += [FullText(hostile), Fuzzy(hostile)]
    for query in safe:
        assert from_text(to_text(query)) == query
        assert from_text(f"({to_text(query)}) and y exists") == query & Start("y").exists()


@pytest.mark.parametrize("hostile", [text for text in HOSTILE if text], ids=ascii)
def test_hostile_texts_are_refused_where_only_some_texts_may_stand(hostile: str) -> None:
    for place in (
        f"scan_id(5, duplicates={hostile!r})",
        f"since {hostile!r}",
        f"since '2024' timezone {hostile!r}",
        f"x matches 'a' flags {hostile!r}",
        f"data('x').{hostile}() > 5",
        hostile,
    ):
        with pytest.raises(QuerySyntaxError):
            from_text(place)
