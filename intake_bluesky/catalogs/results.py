"""Results of searches: runs sorted, the first of them, their values counted, as a DataFrame."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, SupportsIndex, TypeVar, overload

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query import Query
from intake_bluesky.runtime.sizes import byte_count
from intake_bluesky.search.given_queries import as_query
from intake_bluesky.search.ordering import Arrangement, Sorting
from intake_bluesky.search.selection import Selection
from intake_bluesky.storage.contract import RunStore

if TYPE_CHECKING:
    import pandas as pd

    from intake_bluesky.catalogs.run import BlueskyRun
    from intake_bluesky.search.explain import Explanation

__all__ = ["Results"]

KeyOfRun = TypeVar("KeyOfRun")


class Results(ABC):
    """Results of a search; a `BlueskyCatalog` has all of these.

    Keys are those of `Key`: ``"plan_name"`` and ``"start.sample.name"`` of the run start, ``"stop.exit_status"``
    of the run stop. No method opens a run.
    """

    _made_store: RunStore
    _stages: tuple[Query, ...]

    @property
    @abstractmethod
    def arrangement(self) -> Arrangement:
        """The runs shown, in the order in which they are."""

    # By these, tab completion knows what `cat[-1].primary` and `cat[-3:]` are; here, since jedi takes `Self` for the
    # class that returns it. It takes the first that fits, or all of them together: -1 is no int to it, so the last fits
    # whatever there is, which only a type variable without a bound does. Of lists and tuples it is told nothing.
    @overload
    def __getitem__(self, key: int | str) -> BlueskyRun: ...
    @overload
    def __getitem__(self, key: slice) -> Self: ...  # type: ignore[overload-overlap]  # with the last, which comes later
    @overload
    def __getitem__(self, key: Iterable[Any]) -> Any: ...
    @overload
    def __getitem__(self, key: KeyOfRun) -> BlueskyRun: ...
    def __getitem__(self, key: Any) -> Any:
        """One run, a stream of it, or a narrowed catalog.

        Raises
        ------
        RunNotFound
            When no run has this uid or scan_id.
        AmbiguousRun
            When several uids begin so.
        IndexError
            When there are not so many runs.
        """
        return self._item(key)

    @abstractmethod
    def _item(self, key: Any) -> Any:
        """What `__getitem__` gives."""

    @abstractmethod
    def _changed(self, **changes: Any) -> Self:
        """The same catalog but for `stages`, `sorting` or `read_at_most`."""

    def search(
        self,
        query: Query | Mapping[str, Any] | str | None = None,
        *,
        read_at_most: int | str | None = None,
        **equal: Any,
    ) -> Self:
        """The runs that match, among those of this catalog; nothing is read until it is used.

        Where none match, or a side of ``|`` may not, an `UnknownKeyWarning` tells, once for each key, of those that no
        run has.

        Parameters
        ----------
        query : Query, dict in MongoDB's form, or str
            A str is a query in text form, ``"plan_name == 'scan'"``, see `from_text`; any other, ``"nickel foil"``, is
            words that all have to occur in the run start document, see `FullText`.
        read_at_most : int or str, optional
            As of the catalog itself, in place of its own.
        **equal
            Values of keys of the run start document that runs have, too: ``search(plan_name="scan")``. A key that is
            named as a parameter is asked for in a dict.

        Raises
        ------
        UnsupportedQuery, QuerySyntaxError
        """
        found = self._narrowed(Selection(self._made_store, self._stages).narrowed(as_query(query, equal)))
        return found if read_at_most is None else found._changed(read_at_most=byte_count(read_at_most))

    def _narrowed(self, selection: Selection) -> Self:
        return self._changed(stages=selection.stages)

    def sort(self, *keys: str) -> Self:
        """The same runs in another order, as a catalog; nothing is read until it is used.

        Parameters
        ----------
        *keys : str
            The first counts before the second; ``-`` before a key puts the largest first. None brings back the
            newest first. Values of different types come as false, true, numbers, text, lists, dicts. What has
            no value, null or NaN comes last whichever way. Equal ones come by (time, uid), the oldest first or,
            with ``-`` before the last key, the newest. An `UnknownKeyWarning` tells of a key that no run has.

        Notes
        -----
        Places and slices count in this order: ``[:5]`` are the first five, ``[-1]`` is the last. By
        ``start.time`` the store's own order is used and runs are never held; by other keys, the uid and the
        values of those keys are held of each run.

        Examples
        --------
        >>> from intake_bluesky import BlueskyCatalog
        >>> from intake_bluesky.testing import EXAMPLES, MemoryStore
        >>> cat = BlueskyCatalog(MemoryStore(EXAMPLES[name](None) for name in ("count", "scan", "failed")))
        >>> [(run.start["plan_name"], run.scan_id) for run in cat.sort("plan_name", "-scan_id").values()]
        [('count', 1), ('scan', 8), ('scan', 2)]
        """
        return self._changed(sorting=Sorting.of(keys))

    def head(self, number: SupportsIndex = 5) -> Self:
        """The first runs as they are now, as a catalog.

        Examples
        --------
        >>> from intake_bluesky import BlueskyCatalog
        >>> from intake_bluesky.testing import EXAMPLES, MemoryStore
        >>> cat = BlueskyCatalog(MemoryStore(EXAMPLES[name](None) for name in ("count", "scan", "failed")))
        >>> [run.scan_id for run in cat.sort("scan_id").head(2).values()]
        [1, 2]
        """
        # `head(True)` would be one run: a bool in this place is a mistake.
        whole = operator.index(number) if hasattr(number, "__index__") and not isinstance(number, bool) else -1
        if whole < 0:
            raise UnsupportedQuery(f"head takes how many runs, 0 or more, not {number!r}")
        return self._narrowed(self.arrangement.head(whole))

    def distinct(self, *keys: str, counts: bool = False, missing: bool = False) -> dict[str, list[Any]]:
        """The values that keys have in these runs, those of the most runs first, then by value as `sort` has it.

        Parameters
        ----------
        *keys : str
        counts : bool
            Give pairs of value and count: `intake_bluesky.search.distinct.Facet`.
        missing : bool
            Count runs without the key as None too; null is None anyway.

        Returns
        -------
        dict of key to list
            A list found in a document is one value, as it is. 1 and 1.0 are one value, 1 and True are two.

        Examples
        --------
        >>> from intake_bluesky import BlueskyCatalog
        >>> from intake_bluesky.testing import EXAMPLES, MemoryStore
        >>> cat = BlueskyCatalog(MemoryStore(EXAMPLES[name](None) for name in ("count", "scan", "failed")))
        >>> cat.distinct("plan_name", "stop.exit_status")
        {'plan_name': ['scan', 'count'], 'stop.exit_status': ['success', 'fail']}
        >>> dict(cat.distinct("plan_name", counts=True)["plan_name"])
        {'scan': 2, 'count': 1}
        """
        from intake_bluesky.search.distinct import facets  # late: few searches ask

        found = facets(self.arrangement.selection, keys, missing=missing)
        return {key: list(several) if counts else [value for value, _ in several] for key, several in found.items()}

    def to_dataframe(self, columns: Sequence[str] | Mapping[str, str] | None = None) -> pd.DataFrame:
        """The runs as a `pandas.DataFrame`, one a row, its index their uids.

        Parameters
        ----------
        columns : list of keys, or mapping of name to key, optional
            By default time, scan_id, plan_name, exit_status and num_events (of the primary stream). An
            `UnknownKeyWarning` tells of a key that no run has.

        Returns
        -------
        pandas.DataFrame
            ``start.time`` and ``stop.time`` are ``datetime64[ns, UTC]``. Integers are int64, where some are
            missing Int64; text is text; what is of several types, or lists and dicts, stays as it is: object.

        Examples
        --------
        >>> from intake_bluesky import BlueskyCatalog
        >>> from intake_bluesky.testing import EXAMPLES, MemoryStore
        >>> cat = BlueskyCatalog(MemoryStore(EXAMPLES[name](None) for name in ("count", "scan", "failed")))
        >>> cat.to_dataframe(["scan_id", "stop.num_events.primary"]).sum()
        scan_id                    11
        stop.num_events.primary    15
        dtype: int64
        """
        from intake_bluesky.search.dataframe import dataframe, named

        frame = dataframe(self.arrangement.runs(), columns)
        if columns is not None and len(frame):
            absent = [path for name, path in named(columns).items() if frame[name].isna().all()]
            self.arrangement.selection.none_has(absent)
        return frame

    def explain(self, *, run: bool = False) -> Explanation:
        """Show the part of the query that the store answers itself, the part left to do run by run, and why.

        With `run`, count the runs that the store finds, among which the rest is looked for.
        """
        from intake_bluesky.search.explain import explain

        return explain(self.arrangement, run=run)
