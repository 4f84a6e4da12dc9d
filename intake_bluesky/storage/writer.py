"""Writing documents as they are emitted: one point of entry for every store that can be written."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, TypeAlias

from intake_bluesky.documents.model import Document, identical
from intake_bluesky.errors import DamagedRun, DuplicateRun, UnsupportedOperation
from intake_bluesky.storage.contract import RunInsert, RunStore
from intake_bluesky.storage.whole_runs import check_depth

__all__ = ["DocumentWriter"]

OnDuplicate: TypeAlias = Literal["raise", "skip"]


class DocumentWriter:
    """Writes every run whose documents it is called with; for ``RunEngine.subscribe``.

    Runs may be interleaved: each document goes to the run that it, its descriptor or its resource names. Documents are
    written as they are, one after the other, with what durability the store's `RunInsert` gives.

    Parameters
    ----------
    store : RunStore
        One that is `RunStore.writable`.
    on_duplicate : {"raise", "skip"}
        What to do with a run that is in the store already: raise `DuplicateRun`, or take its documents and drop them.

    Raises
    ------
    UnsupportedOperation, StoreUnavailable
        When the store, or this user, may not write.

    Examples
    --------
    >>> from intake_bluesky.testing.memory import MemoryStore
    >>> store = MemoryStore()
    >>> with DocumentWriter(store) as write:
    ...     write("start", {"uid": "abc", "time": 1.0})
    ...     write("stop", {"uid": "def", "time": 2.0, "run_start": "abc", "exit_status": "success"})
    >>> [run.uid for run in store.find()]
    ['abc']
    """

    def __init__(self, store: RunStore, *, on_duplicate: OnDuplicate = "raise") -> None:
        if not getattr(store, "writable", False):  # what is no store at all, a catalog, is refused the same way
            raise UnsupportedOperation(
                f"{store!r} cannot be written: {type(store).__name__} is not writable, or was opened for reading only"
            )
        if on_duplicate not in ("raise", "skip"):
            raise ValueError(f'on_duplicate is "raise" or "skip", not {on_duplicate!r}')
        store.check_writable()
        self._store = store
        self._on_duplicate = on_duplicate
        self._runs: dict[str, _Run] = {}
        self._run_of: dict[str, _Run] = {}  # by the uids of descriptors, resources and stream resources

    def __repr__(self) -> str:
        return f"<DocumentWriter {self._store!r} running={sorted(self._runs)}>"

    def __call__(self, name: str, doc: Document) -> None:
        """Write one document.

        Raises
        ------
        DuplicateRun
            For the start of a run that is being written, or in the store and not to be skipped.
        DamagedRun
            For a document of a run whose start was not met, or that has stopped.
        """
        check_depth(name, doc)
        if name == "start":
            self._begin(doc)
            return
        run = self._find(name, doc)
        if name in INTRODUCES:
            self._run_of[str(doc.get("uid"))] = run
        try:
            if run.insert is not None:
                run.insert.write(name, doc)
        finally:
            # After an error, too: nothing of this run follows, and closing it writes what a buffered store still holds.
            if name == "stop":
                self._end(run)

    def _begin(self, start: Document) -> None:
        uid = str(start["uid"])
        if uid in self._runs and identical(start, self._runs[uid].start):
            return  # delivered twice, as message queues do: it is the same run
        if uid in self._runs:
            raise DuplicateRun(f"run {uid} is being written just now: another start document came with its uid")
        insert: RunInsert | None = None
        try:
            insert = self._store.insert(start)
        except DuplicateRun:
            if self._on_duplicate == "raise":
                raise
        self._runs[uid] = _Run(uid, start, insert)

    def _find(self, name: str, doc: Document) -> _Run:
        field = FIELDS.get(name)
        if field is None:
            raise UnsupportedOperation(f"{name!r} is the name of no Bluesky document")
        uid: Any = doc.get(field)
        if name == "bulk_events":  # lists of events by stream, any of which may be empty
            uid = next((event[field] for events in doc.values() for event in events), None)
        run = (self._runs if field == "run_start" else self._run_of).get(uid)
        if run is not None:
            return run
        # With one run being written there is no doubt whose these are: datums may be of a resource from the run before.
        if len(self._runs) == 1 and (field == "resource" or (name in RUNLESS and uid is None)):
            return next(iter(self._runs.values()))
        raise DamagedRun(
            f"a {name} document belongs to {field} {uid!r}, which is of no run being written (there are "
            f"{', '.join(self._runs) or 'none'}): either that was refused, with an error of its own, or it came before "
            "the writer was there, which must be subscribed before the run starts"
        )

    def _end(self, run: _Run) -> None:
        del self._runs[run.uid]
        self._run_of = {uid: one for uid, one in self._run_of.items() if one is not run}
        if run.insert is not None:
            run.insert.close()

    def close(self) -> None:
        """Close every run being written; those without a stop stay readable as far as they got."""
        # All are closed, also after one that fails.
        with ExitStack() as runs:
            for run in list(self._runs.values()):
                runs.callback(self._end, run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """A run being written; `insert` is None where its documents are dropped."""

    uid: str
    start: Document
    insert: RunInsert | None


INTRODUCES: Final = frozenset({"descriptor", "resource", "stream_resource"})
RUNLESS: Final = frozenset({"resource", "bulk_events"})  # old writers' resources do not name their run
FIELDS: Final[dict[str, str]] = {
    **dict.fromkeys(("stop", "descriptor", "resource", "stream_resource"), "run_start"),
    **dict.fromkeys(("event", "event_page", "bulk_events"), "descriptor"),
    **dict.fromkeys(("datum", "datum_page", "bulk_datum"), "resource"),
    "stream_datum": "stream_resource",
}
"""Document name to the field whose uid leads to its run."""
