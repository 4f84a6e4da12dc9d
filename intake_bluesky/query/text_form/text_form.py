"""Queries as people type them: ``plan_name == 'scan' and not stop.exit_status == 'fail'``.

The text form has the builders' meaning. Nothing in it is evaluated.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Final

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query.data_nodes import CompareStatistic, DataBetween, DataWithin
from intake_bluesky.query.descriptor_nodes import AnyDescriptor, stream_argument
from intake_bluesky.query.device_builders import Device
from intake_bluesky.query.nodes import And, Everything, Not, Or, Query, leaves
from intake_bluesky.query.path_nodes import (
    AnyItem,
    Compare,
    Contains,
    Exists,
    HasSize,
    In,
    IsNaN,
    PathQuery,
    Regex,
)
from intake_bluesky.query.paths import DocumentName, Path
from intake_bluesky.query.run_nodes import PartialUID, ScanID, ScanIDRange, TimeRange, moment
from intake_bluesky.query.text_form.functions import MAX_WORDS
from intake_bluesky.query.text_form.parser import MAX_PATTERNS, RESERVED, Parser
from intake_bluesky.query.text_form.tokens import SEGMENT, WORD, mistake
from intake_bluesky.query.values import FrozenDict, Value
from intake_bluesky.query.words import FullText, Fuzzy

MAX_LENGTH: Final = 65536


def from_text(text: str) -> Query:
    """Read a query from its text form.

    Parameters
    ----------
    text
        At most 65,536 characters. A bare key is one of the start document, ``stop.`` names the stop document.
        The language is in the reference, "The text form of queries".

    Raises
    ------
    QuerySyntaxError
        If the text is no query; nothing else is raised. Its message shows the place, ``line`` and ``column``
        are its numbers.

    Examples
    --------
    >>> from_text("plan_name == 'scan' and 1 < num_points <= 50 and not stop.exit_status == 'fail'")
    (Start('plan_name') == 'scan') & (Start('num_points') > 1) & (Start('num_points') <= 50)
        & (Stop('exit_status') != 'fail')
    """
    if not isinstance(text, str):
        raise mistake("", 0, f"the text of a query is a str, not {type(text).__name__}")
    if len(text) > MAX_LENGTH:
        raise mistake(text, MAX_LENGTH, f"a text of {len(text)} characters is too long: {MAX_LENGTH} at most")
    parser = Parser(text)
    try:
        return parser.parse()
    except RecursionError as error:
        raise mistake(text, parser.token.start, "nested too deeply") from error


def to_text(query: Query) -> str:
    """Write a query in the text form; `from_text` reads it back to an equal one.

    Raises
    ------
    UnsupportedQuery
        If the text form cannot express it: paths that descend as MongoDB does, and texts and regular expressions
        that are too long. `to_json` writes every query.

    Examples
    --------
    >>> from intake_bluesky.query import Start, TimeRange
    >>> to_text(TimeRange(since="2024-03", timezone="UTC") & ~(Start("sample name").exists()))
    "since '2024-03-01 00:00:00+00:00' and not start.'sample name' exists"
    """
    # What is written has to be read again, so the limits of `from_text` hold here, too.
    if sum(map(len, _patterns(query))) > MAX_PATTERNS:
        raise UnsupportedQuery(f"regular expressions of over {MAX_PATTERNS} characters together: use to_json")
    text = _write(query, "start")
    if len(text) > MAX_LENGTH:
        raise UnsupportedQuery(f"the text of this query is longer than {MAX_LENGTH} characters: use to_json")
    return text


def _patterns(query: Query) -> Iterator[str]:
    for leaf in leaves(query):
        if isinstance(leaf, Regex):
            yield leaf.pattern
        elif isinstance(leaf, AnyItem | AnyDescriptor):
            yield from _patterns(leaf.query)


def _write(query: Query, around: DocumentName) -> str:
    """Write a query whose bare keys are those of a document."""
    match query:
        case And(children):
            return " and ".join(_enclosed(child, around, loose=Or) for child in children)
        case Or(children):
            return " or ".join(_write(child, around) for child in children)
        case Not(Compare(path, "==", value)):
            return f"{_key(path, around)} != {_value(value)}"
        case Not(In(path, values)):
            return f"{_key(path, around)} not in {_value(values)}"
        case Not(child):
            return f"not {_enclosed(child, around, loose=And | Or)}"
    if isinstance(query, PathQuery):
        return f"{_key(query.path, around)} {_condition(query)}"
    return _descriptor(query) if isinstance(query, AnyDescriptor) else _about_the_run(query)


def _enclosed(query: Query, around: DocumentName, *, loose: type[Query] | UnionType) -> str:
    written = _write(query, around)
    return f"({written})" if isinstance(query, loose) else written


def _condition(query: PathQuery) -> str:
    match query:
        case Compare(_, op, value):
            return f"{op} {_value(value)}"
        case In(_, values):
            return f"in {_value(values)}"
        case Exists():
            return "exists"
        case IsNaN():
            return "is nan"
        case Contains(_, value):
            return f"contains {_value(value)}"
        case HasSize(_, size):
            return f"has size {size}"
        case AnyItem(_, child):
            return f"any({_write(child, 'item')})"
        case Regex(_, pattern, flags):
            return f"matches {pattern!r}" + (f" flags {flags!r}" if flags else "")


def _about_the_run(query: Query) -> str:
    match query:
        case Everything():
            return "everything()"
        case FullText(text) | Fuzzy(text) if len(text) > MAX_WORDS:
            raise UnsupportedQuery(f"a text to search for of over {MAX_WORDS} characters: use to_json")
        case FullText(text):
            return f"text({text!r})"
        case Fuzzy(text, threshold):
            return f"fuzzy({text!r}, threshold={threshold!r})"
        case PartialUID(uids):
            return f"uid({', '.join(map(repr, uids))})"
        case ScanID(ids, duplicates):
            return f"scan_id({', '.join(map(repr, ids))}, duplicates={duplicates!r})"
        case ScanIDRange(first, last, duplicates):
            return f"scan_id_range({first}, {last}, duplicates={duplicates!r})"
        case TimeRange(since, until):
            ends = {"since": since, "until": until}
            # `since null` is a range without ends.
            return " ".join(f"{word} {moment(time)}" for word, time in ends.items() if time is not None) or "since null"
        case CompareStatistic(key, statistic, op, value, stream):
            return f"data({key!r}{stream_argument(stream)}).{statistic}() {op} {_value(value)}"
        case DataBetween(key, low, high, stream) | DataWithin(key, low, high, stream):
            word = "between" if isinstance(query, DataBetween) else "within"
            return f"data({key!r}{stream_argument(stream)}) {word} {_value(low)} and {_value(high)}"
    raise UnsupportedQuery(f"the text form has no words for {query!r}: use to_json")


def _descriptor(query: AnyDescriptor) -> str:
    """Write a condition on descriptors by device or data key, where that is what it is."""
    inner, stream = query.query, stream_argument(query.stream)
    match inner:
        case Exists(Path("descriptor", ("data_keys", key), False)):
            return f"datakey({key!r}{stream})"
        case Or((Exists(Path("descriptor", ("object_keys", name))), _, _)) if (
            query == Device(name, query.stream).exists()
        ):
            return f"device({name!r}{stream})"
    if isinstance(inner, PathQuery) and not inner.path.descend:
        match inner.path.segments:
            case ("configuration", device, "data", key):
                return f"config({device!r}, {key!r}{stream}) {_condition(inner)}"
            case ("data_keys", key, first, *others):
                return f"datakey({key!r}{stream}).field({', '.join(map(repr, (first, *others)))}) {_condition(inner)}"
    name = "" if query.stream is None else repr(query.stream)
    return f"stream({name})" if isinstance(inner, Everything) else f"stream({name}) any({_write(inner, 'descriptor')})"


def _key(path: Path, around: DocumentName) -> str:
    if path.descend:
        raise UnsupportedQuery(f"the text form does not descend into lists as MongoDB's does: {path}; use to_json")
    if path.document != around and (path.document, around) != ("stop", "start"):
        raise UnsupportedQuery(
            f"{path} stands inside {'AnyDescriptor' if path.document == 'descriptor' else '.any'}(...) only"
        )
    first = path.segments[0] if path.segments else ""
    bare = path.document == around and first not in RESERVED and WORD.fullmatch(first)
    segments = [segment if SEGMENT.fullmatch(segment) else repr(segment) for segment in path.segments]
    return ".".join(segments if bare else [path.document, *segments])


def _value(value: Value) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, FrozenDict):
        return f"{{{', '.join(f'{key!r}: {_value(item)}' for key, item in value.items())}}}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)
