"""A text that is no query is refused with one error, which shows the place and what to write there."""

from __future__ import annotations

import copy
import pickle

import pytest

from intake_bluesky.errors import IntakeBlueskyError, QuerySyntaxError, UnsupportedQuery
from intake_bluesky.query import from_text
from intake_bluesky.query.text_form.functions import MAX_WORDS
from intake_bluesky.query.text_form.parser import MAX_PATTERNS
from intake_bluesky.query.text_form.text_form import MAX_LENGTH
from intake_bluesky.query.values import MAX_DEPTH


@pytest.mark.parametrize(
    ("text", "column", "named"),
    [
        ("", 1, "expected a condition, found the end"),
        ("   ", 4, "found the end"),
        ("x", 2, "expected a comparison like =="),
        ("x = 5", 3, "equality is written =="),
        ("x == ", 6, "expected a value, found the end"),
        ("plan_name == scan", 14, "text is quoted: 'scan'"),
        ("x == y.z", 6, "text is quoted: 'y.z'"),
        ("x in [a]", 7, "text is quoted: 'a'"),
        ("text(nickel)", 6, "text is quoted: 'nickel'"),
        ("a exists && b exists", 10, "'&&' is written 'and'"),
        ("a exists || b exists", 10, "'||' is written 'or'"),
        ("!a exists", 1, "'!' is written 'not'"),
        ("x !null", 3, "'!' is written 'not'"),
        ("x <> 5", 3, "'<>' is written '!='"),
        ("x => 5", 3, "'=>' is written '>='"),
        ("x =< 5", 3, "'=<' is written '<='"),
        ("x === 5", 3, "'===' is written '=='"),
        ("x =~ 'a'", 3, "'=~' is written 'matches'"),
        ("x ≤ 5", 3, "is written '<='"),
        ("x == “a”", 6, "straight quotes"),
        ("x == \u2018a\u2019", 6, "straight quotes"),
        ("x == 'a", 6, "no closing '"),
        ("x == 'a\n'", 6, "no closing '"),
        ("x == r\"a'", 6, 'no closing "'),
        ("x == '\\d'", 7, "r'...'"),
        ("x == '\\", 6, "no closing '"),
        ("x == '\\x4'", 7, "no such escape: write \\\\ for a backslash, \\x41, \\u00e9 or \\U0001f600"),
        ("x == '\\U00110000'", 7, "no such escape: write \\\\ for a backslash, \\x41, \\u00e9 or \\U0001f600"),
        ("x == '\\u+123'", 7, "no such escape: write \\\\ for a backslash, \\x41, \\u00e9 or \\U0001f600"),
        ("x == 5x", 6, "5x begins no number"),
        ("x == 1e999", 6, "too large for a float"),
        ("x == 1" + "0" * 1300, 6, "a number of 1301 digits is too long"),
        ("x == 1" + "0" * 1290, 6, "4096 at most"),
        ("x == nan", 6, "is nan"),
        ("x is 5", 6, "by =="),
        ("x like 'a%'", 3, "matches"),
        ("uid startswith '9ac'", 5, "uid('9ac')"),
        ("a exists AND b exists", 10, "'and', in small letters"),
        ("a exists b exists", 10, "expected 'and', 'or' or the end, found b"),
        ("(a exists", 10, "')' of the '(' at character 1"),
        ("a exists)", 9, "no parenthesis is open here"),
        ("x in [1, 2", 11, "']' of the '[' at character 6"),
        ("x == {'a': 1", 13, "'}' of the '{' at character 6"),
        ("x == {'a': 1, 'a': 2}", 15, "in the dict already"),
        ("x == {a: 1}", 7, "a key, in quotes"),
        ("x in 5", 6, "a list like"),
        ("x between 0", 12, "'and' between the two ends"),
        ("x < [1]", 5, "have no order"),
        ("x == 5 == 6", 8, "expected 'and', 'or' or the end"),
        ("0 < x > 5", 7, "same direction"),
        ("1 == x == 2", 8, "same direction"),
        ("5 < 6", 5, "expected a key"),
        ("'sample name' == 5", 18, "start.'sample name'"),
        ("sample-name == 5", 7, "start.'a-b'"),
        ("sample..name == 5", 8, "missing after the dot"),
        ("sample. == 5", 8, "missing after the dot"),
        ("start == 5", 1, "which key of the start document"),
        ("stop exists", 1, "which key of the stop document"),
        ("item == 5", 1, "start.item"),
        ("descriptor.x == 5", 1, "start.descriptor.x"),
        ("null exists", 6, "a comparison like <"),
        ("nan exists", 1, "start.nan"),
        ("in == 5 and or == 5", 13, "start.or"),
        ("data.theta.max > 5", 1, "start.data.theta.max"),
        ("device == 'fccd'", 1, "device('fccd')"),
        ("data('theta') > 5", 17, "data('theta').max() > 5"),
        ("5 < data('theta')", 1, "data('theta').max() > 5"),
        ("datakey('theta') is null", 18, "no value of its own"),
        ("data('theta') exists", 15, "'exists' is not asked of"),
        ("data('theta')", 14, "data('theta').max() > 5"),
        ("data('theta') not exists", 19, "'exists' is not asked of"),
        ("theta within 0 and 5", 7, "data('theta') within 0 and 5"),
        ("data('theta').__class__() > 5", 15, "expected one of min, max"),
        ("data('theta').statistic('max') > 5", 15, "expected one of min, max"),
        ("data('theta').max > 5", 19, "'(' after it"),
        ("data('theta').mean() == 0.5", 25, "ask for a range"),
        ("data('theta') between 5 and 0", 15, "ends before it begins"),
        ("stream('')", 1, "not empty"),
        ("device(5)", 1, "str"),
        ("stream('x') any(start.x exists)", 17, "descriptor.start.x"),
        ("x any(stop.y exists)", 7, "item.stop.y"),
        ("x any(text('a'))", 7, "outside any(...)"),
        ("x any(y exists and since '2024')", 20, "outside any(...)"),
        ("x matches '[[a]'", 11, "nested set"),
        ("x any(data('a').max() > 5)", 7, "outside any(...)"),
        ("x any(y exists and item > 5)", 20, "not both"),
        ("x any y", 7, "'(' around"),
        ("__import__('os')", 1, "is none of everything, text"),
        ("scan_id()", 1, "one or more"),
        ("scan_id('5')", 1, "a scan_id is an int"),
        ("scan_id(5, duplicate='all')", 1, "this is written like scan_id(5, 6, duplicates='all')"),
        ("scan_id(duplicates='all', 5)", 27, "an argument with a name"),
        ("scan_id(5, duplicates='all', duplicates='all')", 30, "given twice"),
        ("scan_id_range(5)", 1, "this is written like"),
        ("everything(5)", 1, "this is written like"),
        ("scan_id(5) > 3", 12, "expected 'and', 'or' or the end"),
        ("5 < scan_id(5)", 1, "is a condition already"),
        ("x has size -1", 12, "an int from 0"),
        ("x has 3", 7, "'size' and a number"),
        ("x matches '('", 11, "not a regular expression"),
        ("x matches 'a' flags 'q'", 11, "letters among aimsx"),
        ("x matches '(?u)a' flags 'a'", 11, "incompatible"),
        ("x matches 'a' or x matches '" + "a" * (MAX_PATTERNS) + "'", 28, "at most 2000 characters"),
        ("text('" + "a" * (MAX_WORDS + 1) + "')", 1, "at most 4096 characters"),
        ("text(5)", 1, "one or more words"),
        ("fuzzy()", 1, "this is written like fuzzy("),
        ("since 2024", 7, "quoted: '2024'"),
        ("since 2024-03", 7, "times are quoted: '2024-03'"),
        ("x > 2024-03-05T14:30:00", 5, "times are quoted: '2024-03-05T14:30:00'"),
        ("since '2024-13'", 1, "is no time"),
        ("since '2024' timezone 'Nowhere'", 1, "no time zone 'Nowhere'"),
        ("since '2025' until '2024' timezone 'UTC'", 1, "ends before it begins"),
        ("x == 5 @", 8, "means nothing here"),
        ("x == 5 \u200b", 8, r"\u200b"),
        ("x == \ud800", 6, r"\ud800"),
        ("not " * 3, 13, "found the end"),
        ("(" * (MAX_DEPTH + 1), MAX_DEPTH + 1, "nested deeper than 100 levels"),
        ("x == " + "[" * (MAX_DEPTH + 2), MAX_DEPTH + 7, "nested deeper than 100 levels"),
        ("x == " + "[" * MAX_DEPTH + "[1]" + "]" * MAX_DEPTH, 6, "nested deeper than 100 levels"),
        ("x exists " + " " * MAX_LENGTH, MAX_LENGTH + 1, "too long"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_is_pointed_at(text: str, column: int, named: str) -> None:
    with pytest.raises(QuerySyntaxError) as caught:
        from_text(text)
    message, excerpt, caret = str(caught.value).split("\n")
    assert message.startswith(f"line 1, column {column}: ")
    assert named in message
    assert (caught.value.line, caught.value.column) == (1, column)
    assert caret.endswith("^")
    assert len(caret) <= len(excerpt) + 1
    assert str(caught.value).isascii() or not text.isascii()


def test_the_place_is_shown_below_its_line() -> None:
    with pytest.raises(QuerySyntaxError) as caught:
        from_text("plan_name == 'scan'\n  and\tscan_id = 5\n and x exists")
    assert str(caught.value) == (
        "line 2, column 15: expected a comparison like == or one of in, between, within, exists, is, contains, any, "
        "has, matches, found =: equality is written ==\n"
        "      and scan_id = 5\n"
        "                  ^"
    )
    with pytest.raises(QuerySyntaxError) as caught:
        from_text(" and ".join(["a == 1"] * 20) + " and ?")
    assert [line[-5:] for line in str(caught.value).split("\n")[1:]] == ["and ?", "    ^"]
    assert str(caught.value).split("\n")[1].startswith("    ...")


def test_a_message_holds_nothing_that_a_terminal_obeys() -> None:
    with pytest.raises(QuerySyntaxError) as caught:
        from_text("a == \x1b[31m\x07\x00")
    assert str(caught.value).replace("\n", "").isprintable()


def test_the_error_is_one_of_ours_and_travels() -> None:
    with pytest.raises(QuerySyntaxError) as caught:
        from_text("x\n= 5")
    assert all(isinstance(caught.value, kind) for kind in (UnsupportedQuery, IntakeBlueskyError, ValueError))
    for moved in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
        assert (str(moved), moved.line, moved.column) == (str(caught.value), 2, 1)


@pytest.mark.parametrize("value", [None, 5, b"x == 5", ["x"]])
def test_only_a_str_is_a_text(value: object) -> None:
    with pytest.raises(QuerySyntaxError, match="is a str"):
        from_text(value)  # type: ignore[arg-type]
