"""The nodes about a run as a whole: by uid, by time, by scan_id; and the list of all nodes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, Literal, Self, TypeAlias, get_args

from intake_bluesky.errors import AmbiguousRun, UnsupportedQuery
from intake_bluesky.query.data_nodes import DataQuery
from intake_bluesky.query.descriptor_nodes import AnyDescriptor
from intake_bluesky.query.nodes import (
    ALL,
    And,
    Everything,
    Not,
    Or,
    Query,
    leaves,
    replace_leaves,
)
from intake_bluesky.query.path_nodes import Compare, In, PathQuery
from intake_bluesky.query.paths import Path
from intake_bluesky.query.times import epoch
from intake_bluesky.query.values import freeze
from intake_bluesky.query.words import FullText as FullText  # noqa: PLC0414  # handed on
from intake_bluesky.query.words import Fuzzy
from intake_bluesky.query.words import words as words  # noqa: PLC0414

Duplicates: TypeAlias = Literal["latest", "all", "error"]

UID: Final = Path("start", ("uid",))
TIME: Final = Path("start", ("time",))
SCAN_ID: Final = Path("start", ("scan_id",))


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class PartialUID(Query):
    """The run's uid begins with one of these.

    Examples
    --------
    >>> PartialUID("9acjef", "0b21")
    PartialUID('9acjef', '0b21')
    """

    uids: tuple[str, ...]

    def __init__(self, *uids: str) -> None:
        if not uids or not all(isinstance(uid, str) and uid for uid in uids):
            raise UnsupportedQuery(f"PartialUID takes one or more texts that are not empty, not {uids!r}")
        self._fill(uids=tuple(str(uid) for uid in uids))

    @classmethod
    def from_fields(cls, **fields: Any) -> Self:
        return cls(*fields["uids"])

    def __repr__(self) -> str:
        return f"PartialUID({', '.join(map(repr, self.uids))})"


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class TimeRange(Query):
    """The run started in a range of time: at or after `since`, and before `until`.

    Parameters
    ----------
    since, until
        Seconds since the epoch, a datetime, or a text: ``2024``, ``2024-03``, ``2024-03-05``, ``2024-03-05
        14:30``, ``2024-03-05 14:30:05``, the beginning of what it names. None leaves the range open.
    timezone
        The zone of texts and naive datetimes: a name like ``"Europe/Berlin"``, a tzinfo, or None for local
        time. The node keeps seconds since the epoch, so its meaning stays the same on a machine elsewhere.

    Examples
    --------
    >>> TimeRange(since="2024", until="2024-07", timezone="UTC")
    TimeRange(since='2024-01-01 00:00:00+00:00', until='2024-07-01 00:00:00+00:00')
    """

    since: float | None
    until: float | None

    def __init__(
        self,
        since: float | str | datetime | None = None,
        until: float | str | datetime | None = None,
        timezone: str | tzinfo | None = None,
    ) -> None:
        begin = None if since is None else epoch(since, timezone)
        end = None if until is None else epoch(until, timezone)
        if begin is not None and end is not None and begin > end:
            raise UnsupportedQuery(f"a time range ends before it begins: since={since!r}, until={until!r}")
        self._fill(since=begin, until=end)

    def expanded(self) -> Query:
        since = ALL if self.since is None else Compare(TIME, ">=", self.since)
        return since & (ALL if self.until is None else Compare(TIME, "<", self.until))

    def __repr__(self) -> str:
        ends = {"since": self.since, "until": self.until}
        given = (f"{name}={moment(end)}" for name, end in ends.items() if end is not None)
        return f"TimeRange({', '.join(given)})"


def moment(time: float) -> str:
    """Write a time as a text if that text means exactly the same, else as a number."""
    try:
        moment = datetime.fromtimestamp(time, UTC)
    except (ValueError, OverflowError, OSError):  # which of them depends on the platform
        return repr(time)
    return repr(str(moment)) if moment.timestamp() == time else repr(time)


def _check_duplicates(duplicates: str) -> None:
    if duplicates not in get_args(Duplicates):
        raise UnsupportedQuery(f"duplicates is one of {', '.join(get_args(Duplicates))}, not {duplicates!r}")


def _scan_id(value: object) -> int:
    frozen = freeze(value)
    if not isinstance(frozen, int) or isinstance(frozen, bool):
        raise UnsupportedQuery(f"a scan_id is an int, not {value!r}; Start('scan_id') == ... takes any value")
    return frozen


class _ByScanID(Query):
    """The two nodes whose meaning may depend on the other runs of the catalog."""

    __slots__ = ()
    duplicates: Duplicates

    @abstractmethod
    def candidates(self) -> Query:
        """Give the query for all runs of these scan_ids, duplicates included."""

    def expanded(self) -> Query:
        if self.duplicates != "all":
            raise UnsupportedQuery(
                f"{self!r} depends on the other runs of the catalog: search a catalog with it, or say duplicates='all'"
            )
        return self.candidates()


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class ScanID(_ByScanID):
    """The run has one of these scan_ids.

    Parameters
    ----------
    *ids
        One or more scan_ids.
    duplicates
        When several runs of a catalog have one scan_id: ``"latest"`` (default) matches the latest of them by
        (time, uid), ``"all"`` matches each, ``"error"`` raises `AmbiguousRun`. The first and last depend on
        all runs of the catalog, which settles them with `settle_scan_ids` before it looks at any.

    Examples
    --------
    >>> ScanID(5, 6)
    ScanID(5, 6, duplicates='latest')
    """

    ids: tuple[int, ...]
    duplicates: Duplicates

    def __init__(self, *ids: int, duplicates: Duplicates = "latest") -> None:
        if not ids:
            raise UnsupportedQuery("ScanID takes one or more scan_ids")
        _check_duplicates(duplicates)
        self._fill(ids=tuple(_scan_id(value) for value in ids), duplicates=duplicates)

    @classmethod
    def from_fields(cls, **fields: Any) -> Self:
        return cls(*fields["ids"], duplicates=fields["duplicates"])

    def candidates(self) -> Query:
        return In(SCAN_ID, self.ids)

    def __repr__(self) -> str:
        return f"ScanID({', '.join(map(repr, self.ids))}, duplicates={self.duplicates!r})"


@dataclass(frozen=True, slots=True, eq=False, repr=False, init=False)
class ScanIDRange(_ByScanID):
    """The run's scan_id is at or above `start_id`, and below `end_id`; `duplicates` as in `ScanID`."""

    start_id: int
    end_id: int
    duplicates: Duplicates

    def __init__(self, start_id: int, end_id: int, duplicates: Duplicates = "latest") -> None:
        _check_duplicates(duplicates)
        self._fill(start_id=_scan_id(start_id), end_id=_scan_id(end_id), duplicates=duplicates)

    def candidates(self) -> Query:
        return Compare(SCAN_ID, ">=", self.start_id) & Compare(SCAN_ID, "<", self.end_id)

    def __repr__(self) -> str:
        return f"ScanIDRange({self.start_id}, {self.end_id}, duplicates={self.duplicates!r})"


def settle_scan_ids(query: Query, find: Callable[[Query], Iterable[Mapping[str, Any]]]) -> Query:
    """Replace each `ScanID` and `ScanIDRange` by the uids it stands for in a catalog.

    Parameters
    ----------
    query
        Any query.
    find
        Called with a query, gives the start documents of the runs that match, the newest first.

    Returns
    -------
    Query
        The same query with each such node replaced by one over uids; those of ``duplicates="all"`` need no
        replacing.

    Raises
    ------
    AmbiguousRun
        If several runs have one scan_id where ``duplicates="error"``.

    Examples
    --------
    >>> runs = [{"uid": "new", "scan_id": 5}, {"uid": "old", "scan_id": 5}]
    >>> settle_scan_ids(ScanID(5), lambda query: runs)
    Start('uid').is_in(['new'])
    """

    def settle(leaf: Query) -> Query:
        if not isinstance(leaf, ScanID | ScanIDRange) or leaf.duplicates == "all":
            return leaf
        latest: dict[int, str] = {}
        for start in find(leaf.candidates()):
            scan_id, uid = start["scan_id"], start["uid"]
            # The newest comes first, and stays.
            if latest.setdefault(scan_id, uid) != uid and leaf.duplicates == "error":
                raise AmbiguousRun(
                    f"several runs have scan_id {scan_id}, {latest[scan_id]} and {uid} among them: {leaf!r}"
                )
        return In(UID, latest.values()) if latest else ~ALL

    return replace_leaves(query, settle)


Node: TypeAlias = (
    Everything
    | And
    | Or
    | Not
    | PathQuery
    | AnyDescriptor
    | DataQuery
    | PartialUID
    | TimeRange
    | ScanID
    | ScanIDRange
    | FullText
    | Fuzzy
)
"""Every node there is."""

Part: TypeAlias = str
"""What of a run a query may look at."""


def documents_needed(query: Query) -> frozenset[Part]:
    """Tell what of a run a query looks at: some of ``start stop descriptors data`` and of names that were added.

    A query about data needs descriptors too, by which a stream has a key.

    Examples
    --------
    >>> documents_needed(Compare("stop.exit_status", "==", "fail"))
    frozenset({'stop'})
    """
    return frozenset(part for leaf in leaves(query) for part in _parts(leaf))


def _parts(leaf: Query) -> tuple[Part, ...]:
    if isinstance(leaf, Everything):
        return ()
    if isinstance(leaf, AnyDescriptor):
        return ("descriptors",)
    if isinstance(leaf, DataQuery):
        return ("descriptors", "data")
    if not isinstance(leaf, PathQuery):
        return ("start",)
    document = leaf.path.document
    if document == "descriptor" or document == "item":  # noqa: PLR1714  # mypy narrows this form only
        raise misplaced(leaf)
    return (document,)


def misplaced(leaf: PathQuery) -> UnsupportedQuery:
    """Make the error of a condition that is used outside of what it is about."""
    if leaf.path.document == "descriptor":
        return UnsupportedQuery(f"Descriptor(...) stands inside AnyDescriptor(...) only: {leaf!r}")
    return UnsupportedQuery(f"Item(...) is the item of a list, and stands inside .any(...) only: {leaf!r}")
