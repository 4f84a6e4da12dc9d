"""Hypothesis strategies for values, pages and whole runs as event-model has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from hypothesis import strategies as st

from intake_bluesky.documents.model import Document
from intake_bluesky.testing.compose import EPOCH, RunComposer, data_key
from intake_bluesky.testing.examples import Run

__all__ = ["KINDS", "columns", "kinds", "metadata", "odd_runs", "runs", "values"]

Values: TypeAlias = st.SearchStrategy[Any]

# Without surrogates, which UTF-8 has no form for: `testing.queries` has them.
TEXT: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBER: Final = st.floats(width=64)
SMALL: Final = st.integers(-(2**31), 2**31 - 1)
FIELD: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="./"), min_size=1, max_size=6)


def _arrays(elements: Values, length: int) -> Values:
    return st.lists(elements, min_size=length, max_size=length)


KINDS: Final[dict[str, tuple[Document, Values]]] = {
    "float": (data_key("number", units="mm"), NUMBER),
    "integer": (data_key("integer"), SMALL),
    "wide integer": (data_key("integer"), st.integers(-(2**63), 2**64 - 1)),
    "big integer": (data_key("integer"), st.integers(-(2**80), 2**80)),
    "boolean": (data_key("boolean"), st.booleans()),
    "text": (data_key("string"), TEXT),
    "number": (data_key("number"), NUMBER | SMALL),
    "nullable float": (data_key("number"), st.none() | NUMBER),
    "nullable integer": (data_key("integer"), st.none() | st.integers(-(2**60), 2**60)),
    "nullable boolean": (data_key("boolean"), st.none() | st.booleans()),
    "nullable text": (data_key("string"), st.none() | TEXT),
    "float array": (data_key("array", [3]), _arrays(NUMBER, 3)),
    "image": (data_key("array", [2, 2]), _arrays(_arrays(SMALL, 2), 2)),
    "nullable array": (data_key("array", [2]), st.none() | _arrays(st.none() | NUMBER, 2)),
    "ragged float": (data_key("array", [None]), st.lists(NUMBER, max_size=4)),
    "ragged text": (data_key("array", [None]), st.lists(TEXT, max_size=3)),
    "mixed": (
        data_key("string"),
        st.none() | st.booleans() | SMALL | NUMBER | TEXT | st.lists(SMALL, max_size=2),
    ),
}
"""Name to the data key that describes such values and the strategy that draws them."""


def kinds() -> st.SearchStrategy[str]:
    """Draw the name of one of `KINDS`."""
    return st.sampled_from(sorted(KINDS))


def values(kind: str) -> Values:
    """Draw one event's value of a kind."""
    return KINDS[kind][1]


def columns(kind: str, *, min_size: int = 1, max_size: int = 6) -> st.SearchStrategy[list[Any]]:
    """Draw the values of one page of a kind, an item an event."""
    return st.lists(values(kind), min_size=min_size, max_size=max_size)


def metadata() -> st.SearchStrategy[Document]:
    """Draw fields for a start document: nested JSON with values that JSON encoders differ in."""
    scalars = st.none() | st.booleans() | SMALL | st.integers(-(2**70), 2**70) | NUMBER | TEXT
    json = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELD, inner, max_size=3),
        max_leaves=6,
    )
    named = FIELD.filter(lambda name: name not in _TYPED)
    return st.dictionaries(named, json, max_size=3)


_TYPED: Final = frozenset(
    {"uid", "time", "scan_id", "hints", "projections", "data_type", "data_groups", "data_session"}
    | {"group", "owner", "project", "sample"}
    | {"self", "label"}
)  # event-model's schema has types for these, and `RunComposer` takes the last two for arguments of its own


@st.composite
def runs(draw: Callable[[st.SearchStrategy[Any]], Any], *, max_steps: int = 6) -> Run:
    """Draw a run: any number of streams, keys, pages and single events, rewinds, and perhaps a stop.

    Parameters
    ----------
    max_steps : int
        The most pages or single events of the run.

    Returns
    -------
    list of (name, document)
        Valid by event-model's schemas, and all plain Python.
    """
    label = draw(st.uuids())
    time = draw(st.floats(EPOCH, EPOCH + 1e8))
    run = RunComposer(str(label), time=time, scan_id=draw(st.integers(1, 2**31)), **draw(metadata()))
    streams = draw(st.lists(FIELD, max_size=3, unique=True))
    keys = {name: draw(st.dictionaries(FIELD, kinds(), min_size=1, max_size=3)) for name in streams}
    descriptors = {name: _describe(run, name, keys[name]) for name in streams}
    for _ in range(draw(st.integers(0, max_steps)) if streams else 0):
        name = draw(st.sampled_from(streams))
        # Now and then a new descriptor, as after a change of configuration.
        if draw(st.integers(0, 5)) == 0:
            descriptors[name] = _describe(run, name, keys[name])
        _step(draw, run, descriptors[name], keys[name])
    if draw(st.booleans()):
        run.stop(draw(st.sampled_from(["success", "abort", "fail"])), draw(TEXT))
    return run.documents


def _describe(run: RunComposer, stream: str, keys: dict[str, str]) -> str:
    return run.descriptor({key: KINDS[kind][0] for key, kind in keys.items()}, stream=stream)


def _step(draw: Any, run: RunComposer, descriptor: str, keys: dict[str, str]) -> None:
    """Append a page or an event, whose seq_num may go back as after a pause."""
    events = draw(st.integers(1, 4))
    data = {key: draw(columns(kind, min_size=events, max_size=events)) for key, kind in keys.items()}
    first = draw(st.none() | st.integers(1, 3))
    if draw(st.booleans()):
        run.page(descriptor, data, seq_nums=None if first is None else range(first, first + events))
    else:
        run.event(descriptor, {key: column[0] for key, column in data.items()}, seq_num=first)


@st.composite
def odd_runs(draw: Callable[[st.SearchStrategy[Any]], Any], *, max_steps: int = 6) -> Run:
    """Draw a run that event-model's schemas accept, and that no RunEngine of today makes.

    Values are not as declared, keys lack, or are declared nowhere, or change their units; descriptors of a stream have
    some keys in common or none, and count their events together or each by itself; seq_nums go back and skip.

    Parameters
    ----------
    max_steps : int
        The most pages or single events of the run.

    Returns
    -------
    list of (name, document)
        All plain Python.
    """
    run = RunComposer(str(draw(st.uuids())), scan_id=draw(st.integers(1, 99)), **draw(metadata()))
    pool = draw(st.lists(FIELD | st.sampled_from(ODD_NAMES), min_size=1, max_size=4, unique=True))
    actual = {key: draw(kinds() | st.just("half text")) for key in pool}
    uids, counts, alone = [], dict[str, int](), draw(st.booleans())
    for _ in range(draw(st.integers(1, 3))):
        keys = draw(st.lists(st.sampled_from(pool), min_size=1, unique=True))
        specs = {key: draw(_odd_specs(actual[key])) for key in keys}
        block = {key: draw(values(draw(kinds()))) for key in keys[:1]}
        configuration = {"det": {"data": block, "timestamps": dict.fromkeys(block, EPOCH), "data_keys": specs}}
        stream = draw(st.sampled_from(["primary", "primary", "other"]))
        uids.append((run.descriptor(specs, stream=stream, configuration=configuration), keys))
    for _ in range(draw(st.integers(0, max_steps))):
        uid, declared = draw(st.sampled_from(uids))
        keys = draw(st.sampled_from([declared, declared, pool, declared[:-1]]))
        events = draw(st.integers(1, 4))
        first = counts.get(uid, 0) + 1 if alone else draw(st.none() | st.integers(1, 3))
        counts[uid] = (first or 0) + events - 1
        data = {key: draw(_odd_columns(actual[key], events)) for key in keys}
        if data and draw(st.booleans()):
            run.page(uid, data, seq_nums=None if first is None else range(first, first + events))
        else:
            for row in range(events):
                run.event(uid, {k: c[row] for k, c in data.items()}, seq_num=None if first is None else first + row)
    if draw(st.booleans()):
        run.stop()
    return run.documents


ODD_NAMES: Final = ("time", "seq_num", "time_", "dim_0", "uid")
HALF: Final = st.sampled_from(["whole", "half \ud800", ""])


def _odd_specs(kind: str) -> st.SearchStrategy[Document]:
    """Draw a data key: that of the values, or another."""
    own = st.just(KINDS[kind][0]) if kind in KINDS else st.nothing()
    more = st.fixed_dictionaries({}, optional={"units": st.sampled_from(["mm", "um"]), "precision": st.integers(0, 5)})
    return st.builds(lambda spec, added: {**spec, **added}, own | st.sampled_from([s for s, _ in KINDS.values()]), more)


def _odd_columns(kind: str, events: int) -> Values:
    """Draw the values of some events, now and then with one of another kind among them."""
    one = HALF if kind == "half text" else values(kind)
    usual = st.lists(one, min_size=events, max_size=events)
    odd = st.lists(one | st.none() | values("mixed") | values("image"), min_size=events, max_size=events)
    return usual | usual | usual | odd
