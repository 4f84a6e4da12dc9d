"""Whatever is typed, `from_text` gives a query or its own error, after steps in proportion to the length."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from intake_bluesky.errors import QuerySyntaxError
from intake_bluesky.query import Query, from_text, to_text

VALID = (
    "plan_name == 'scan' and theta between 0 and 5 and not stop.exit_status == 'fail'",
    "start.'sample name'.x in [1, 2.5, 'a', null, {'k': [true, -inf]}] or 0 < x <= 5",
    r"(a matches r'^\d+$' flags 'im' | ~b contains \"c\") & samples any(name == 'Ni' and item.'m s' > 2)",
    "since '2024-03' until '2024-04' timezone 'UTC' and (uid('9ac', '0b2') or scan_id(5, duplicates='all'))",
    "data('theta', stream='primary').max() > 5 and data('i') within 0 and 1e3 and text('nickel foil')",
    "config('fccd', 'exposure_time') > 0.1 and device('fccd') and not datakey('x').field('units') == 'mm'",
    "stream('primary') any(data_keys.theta exists and hints.x not has size 3) or fuzzy('nickle', threshold=0.3)",
    r"x == '\n\x41\u00e9\U0001f600' and y is not nan and z is null and everything()",
)
TOKENS = (
    *"()[]{},:.&|~=<>!'\"\\-+*/%@#$`;?",
    *("==", "!=", "<=", ">=", "and", "or", "not", "in", "between", "within", "exists", "is", "null", "nan", "contains"),
    *("any(", "has", "size", "matches", "flags", "since", "until", "timezone", "true", "False", "inf", "-inf", "item"),
    *("start", "stop", "start.", "stop.x", "descriptor.x", "x", "a.b", "a.0.'b c'", "data('x')", ".max()", "stream()"),
    *("config('a','b')", "device('d')", "datakey('k')", ".field('u')", "uid('9')", "scan_id(", "5", "-1.5e3", "1e999"),
    *(
        "'text'",
        '"text"',
        r"r'\d+'",
        r"'\x4'",
        "'(a'",
        "'[[a]'",
        "'2024'",
        "'UTC'",
        "'i'",
        "[1, 2]",
        "{'a': 1}",
        "everything()",
    ),
    *(
        "__import__('os')",
        "().__class__",
        "lambda: 0",
        "exec",
        "0x10",
        "1_000",
        "9" * 1400,
        "(" * 120,
        "[" * 120,
        "~" * 300,
    ),
    *("\n", "\t", "\0", "\u2028", "\u00a0", "\u200b", "\ud800", "\U0010ffff", "é", "İ", "²", "\u201c", "\u2019"),
)


def soup(chance: random.Random) -> str:
    glue = chance.choice((" ", " ", ""))
    return glue.join(chance.choice(TOKENS) for _ in range(chance.randint(1, 12)))


def mutated(chance: random.Random) -> str:
    text = chance.choice(VALID)
    for _ in range(chance.randint(1, 3)):
        begin = chance.randrange(len(text) + 1)
        end = min(len(text), begin + chance.choice((0, 0, 1, 1, 2, 10)))
        inserted = chance.choice(("", chance.choice(TOKENS), chance.choice(VALID)[:20], text[begin : begin + 5] * 2))
        text = text[:begin] + inserted + text[end:]
    return text


def characters(chance: random.Random) -> str:
    top = chance.choice((0x7F, 0xFF, 0x3000, 0x10FFFF))
    return "".join(chr(chance.randint(0, top)) for _ in range(chance.randint(0, 15)))


EVALUATION = ("compile", "exec", "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.")


@pytest.mark.slow
def test_a_hundred_thousand_texts() -> None:
    for text in (*VALID, "since '2024' timezone 'Nowhere'"):  # imports what is imported on first use
        with contextlib.suppress(QuerySyntaxError):
            from_text(text)
    chance = random.Random(20240305)
    understood = refused = 0
    with evaluations() as observed:
        for number in range(100_000):
            text = (soup, mutated, characters)[number % 3](chance)
            if _is_understood(text):
                understood += 1
            else:
                refused += 1
    assert observed == []
    assert understood > 2000
    assert refused > 50_000


def _is_understood(text: str) -> bool:
    try:
        query = from_text(text)
    except QuerySyntaxError:
        return False
    except Exception as error:
        error.add_note(f"from_text({text!a})")
        raise
    assert isinstance(query, Query)
    assert from_text(to_text(query)) == query, ascii(text)
    return True


@contextlib.contextmanager
def evaluations() -> Iterator[list[str]]:
    """Give a list of what Python says that it compiles, executes or starts meanwhile."""
    observed: list[str] = []
    watching = True

    def hook(event: str, _: tuple[Any, ...]) -> None:
        if watching and event.startswith(EVALUATION):
            observed.append(event)

    sys.addaudithook(hook)  # which nothing removes, so that it has to be told to rest
    try:
        yield observed
    finally:
        watching = False


def test_evaluations_would_be_seen() -> None:
    with evaluations() as observed:
        eval("1 + 1")
    assert observed == ["compile", "exec"]


DEEP = "x any(" * 60 + "item > 5" + ")" * 60

SHAPES: list[tuple[str, Callable[[int], str]]] = [
    ("and", lambda n: " and ".join(["x == 1"] * n)),
    ("or, not", lambda n: " or ".join(["not not not start.'a b'.c.d exists"] * n)),
    ("parentheses", lambda n: " or ".join(["((a exists) and (b exists or c exists))"] * n)),
    ("values", lambda n: f"x in [{'1, ' * n}]"),
    ("dicts", lambda n: "x == {" + ", ".join(f"'{number}': [1, 'a']" for number in range(n)) + "}"),
    ("long text", lambda n: f"x == '{'a' * n}'"),
    ("escapes", lambda n: "x == '" + r"\n\u00e9" * n + "'"),
    ("a backslash far away", lambda n: " or ".join(["x == 'a'"] * n) + r" or x == '\\'"),
    ("quotes not closed", lambda n: "x == " + "'a' " * n),
    ("a quote open on each line", lambda n: "\n'" * n),
    ("space", lambda n: f"x{' ' * n}=={' ' * n}5"),
    ("lines", lambda n: "x exists and\n" * n),
    ("key", lambda n: "a" + ".b" * n + " exists"),
    ("quoted key", lambda n: "a" + ".'b'" * n + " exists"),
    ("digits", lambda n: f"x == {'9' * n}"),
    ("arguments", lambda n: "uid(" + ", ".join(["'0'"] * n) + ")"),
    ("nots", lambda n: "not " * n),
    ("an end missing", lambda n: "(" + " and ".join(["x == 1"] * n)),
    ("dots", lambda n: "a" + "." * n),
    ("deep", lambda n: " or ".join([DEEP] * n)),
    ("unknown", lambda n: "é" * n),
]


@pytest.mark.parametrize(
    ("shape", "size"),
    [(shape, 1 if name == "deep" else 60) for name, shape in SHAPES],
    ids=[name for name, _ in SHAPES],
)
def test_steps_are_in_proportion_to_the_length(shape: Callable[[int], str], size: int) -> None:
    small, large = steps(shape(2 * size)), steps(shape(16 * size))
    assert large <= 8.5 * small + 50


def steps(text: str) -> int:
    """Count the lines that run while a text is read."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with contextlib.suppress(QuerySyntaxError):
            from_text(text)
    finally:
        sys.settrace(before)
    return count
