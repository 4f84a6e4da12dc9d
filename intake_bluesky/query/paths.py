"""Where in a run a query looks, and the values found there.

There are two ways to look. The builders look *exactly*: each segment is a key of a dict or an index of a
list, and one value is found or none. A path that *descends* looks as MongoDB does: a list stands for each of
its items too, so that ``{"motors": "x"}`` finds the run whose ``motors`` are ``["x", "y"]``, and many values
may be found.

The rules of the second are those of MongoDB's own path iterator (``src/mongo/db/matcher/path.cpp``), whose
unit tests are taken over as facts in this package's tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias, TypeGuard

from intake_bluesky.errors import UnsupportedQuery

DocumentName: TypeAlias = str
"""Which document a path starts in: one of `RUN_DOCUMENTS`, or of `INNER_DOCUMENTS`."""

RUN_DOCUMENTS: Final[list[str]] = ["start", "stop"]
"""The documents of a run that a key may name before a dot, ``stop.exit_status``; `add_run_document` opens others."""

INNER_DOCUMENTS: Final = ("descriptor", "item")
"""``descriptor`` is the one that `AnyDescriptor` looks at, ``item`` the item of a list that ``.any()`` looks at."""


def add_run_document(name: str) -> None:
    """Let queries look into documents that are kept beside those of Bluesky, such as annotations.

    Stores give them by `intake_bluesky.storage.RunStore.document`. A key that begins with this name and a dot means
    that document from then on, and no longer a key of the run start.

    Raises
    ------
    ValueError
        For a name that is taken, or no identifier.

    Examples
    --------
    >>> add_run_document("start")
    Traceback (most recent call last):
        ...
    ValueError: 'start' cannot be the name of a further document: it is taken
    """
    if name in (*RUN_DOCUMENTS, *INNER_DOCUMENTS):
        raise ValueError(f"{name!r} cannot be the name of a further document: it is taken")
    if not name.isidentifier():
        raise ValueError(f"{name!r} cannot be the name of a further document: it is no identifier")
    RUN_DOCUMENTS.append(name)


_INDEX: Final = re.compile("0|[1-9][0-9]{0,17}", re.ASCII)  # as SQL has it, in 64 bits


class _Missing(Enum):
    # The member of an enum stays one object when it is pickled, and mypy tells it from other values.
    MISSING = "missing"


MISSING: Final = _Missing.MISSING
"""What a descending path finds where a document has no such key; never the same as None."""


@dataclass(frozen=True, slots=True)
class Path:
    """A place in a document.

    Parameters
    ----------
    document
        ``"start"``, ``"stop"``, ``"descriptor"``, an event descriptor inside `AnyDescriptor`, or ``"item"``, the
        item of a list inside `.any()`.
    segments
        Keys from the outside in, each taken literally; a number in decimal digits is an index where the value
        is a list. Empty only for ``"item"``, where it means the item itself.
    descend
        Whether lists are descended into as MongoDB does.

    Examples
    --------
    >>> Path("start", ("sample", "name"))
    Path(document='start', segments=('sample', 'name'), descend=False)
    """

    document: DocumentName
    segments: tuple[str, ...]
    descend: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.segments, str):
            raise UnsupportedQuery(f"the segments of a path are several: ({self.segments!r},), not {self.segments!r}")
        object.__setattr__(self, "segments", tuple(self.segments))
        known = (*RUN_DOCUMENTS, *INNER_DOCUMENTS)
        if self.document not in known:
            raise UnsupportedQuery(f"a path starts in one of {known}, not in {self.document!r}")
        if not all(isinstance(segment, str) for segment in self.segments):
            raise UnsupportedQuery(f"the segments of a path are str, not {self.segments!r}")
        if not self.segments and self.document != "item":
            raise UnsupportedQuery(f"say which key of the {self.document} document: {self.document.title()}('...')")

    @classmethod
    def parse(cls, key: str, *, document: DocumentName | None = None, descend: bool = False) -> Path:
        """Split a dotted key.

        Without `document`, a prefix ``start.`` or ``stop.`` names it, and a bare key means start.

        Examples
        --------
        >>> Path.parse("stop.num_events.primary").segments
        ('num_events', 'primary')
        """
        if not isinstance(key, str):
            raise UnsupportedQuery(f"a key is a str like 'sample.name', not {key!r}")
        segments = tuple(key.split("."))
        if "" in segments:
            raise UnsupportedQuery(
                f"the key {key!r} has an empty part: give the parts one by one, as in Start('a', '')"
            )
        if document is not None:
            return cls(document, segments, descend)
        if len(segments) > 1 and segments[0] in RUN_DOCUMENTS:
            return cls(segments[0], segments[1:], descend)
        return cls("start", segments, descend)

    @classmethod
    def of(cls, key: Path | str) -> Path:
        """Take a path as it is, or parse a dotted key."""
        return key if isinstance(key, Path) else cls.parse(key)

    def __str__(self) -> str:
        """Write the builder that makes this path."""
        arguments = [repr(segment) for segment in self.segments]
        if self.segments and all(self.segments) and not any("." in segment for segment in self.segments):
            arguments = [repr(".".join(self.segments))]
        elif len(arguments) == 1:
            arguments = [f"({arguments[0]},)"]  # a str would be split at its dots
        if self.descend:
            arguments.append("descend=True")
        return f"{self.document.title()}({', '.join(arguments)})"


def is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """Tell whether a value of a document is a list; RunEngine documents may hold tuples."""
    return isinstance(value, list | tuple)


def lookup(root: object, path: Path, *, whole: bool = False) -> Iterator[Any]:
    """Yield the values at a path.

    An exact path finds one or none, a path that descends any number, `MISSING` among them.

    Parameters
    ----------
    root
        The document, or the item of a list.
    whole
        Do not yield the items of a list found at the end of a descending path, only the list.

    Examples
    --------
    >>> list(lookup({"a": [{"b": 1}, {"b": [2, 3]}, {}]}, Path("start", ("a", "b"), descend=True)))
    [1, 2, 3, [2, 3], <_Missing.MISSING: 'missing'>]
    """
    if not path.segments:
        yield root
    elif not path.descend:
        yield from _exact(root, path.segments)
    elif is_list(root):
        # An item that is itself a list is looked at as a document whose keys are the indices.
        yield from _descend({str(index): item for index, item in enumerate(root)}, path.segments, whole)
    else:
        yield from _descend(root, path.segments, whole)


def _exact(value: Any, segments: tuple[str, ...]) -> Iterator[Any]:
    for segment in segments:
        if isinstance(value, Mapping):
            if segment not in value:
                return
            value = value[segment]
        elif is_list(value) and _INDEX.fullmatch(segment) and int(segment) < len(value):
            value = value[int(segment)]
        else:
            return
    yield value


def _descend(value: Any, segments: tuple[str, ...], whole: bool) -> Iterator[Any]:
    for position, segment in enumerate(segments, start=1):
        if not isinstance(value, Mapping) or segment not in value:
            yield MISSING
            return
        value = value[segment]
        if is_list(value):
            yield from _descend_list(value, segments[position:], whole)
            return
    yield value


def _descend_list(items: Sequence[Any], segments: tuple[str, ...], whole: bool) -> Iterator[Any]:
    if not segments:
        if not whole:
            yield from items
        yield items
        return
    for index, item in enumerate(items):
        if isinstance(item, Mapping):
            yield from _descend(item, segments, whole)
        # A number is both: a key of each dict, as above, and an index of the list.
        if segments[0] != str(index):
            continue
        if len(segments) == 1:
            yield item
        elif isinstance(item, Mapping):
            yield from _descend(item, segments[1:], whole)
        elif is_list(item):
            yield from _descend_list(item, segments[1:], whole)
