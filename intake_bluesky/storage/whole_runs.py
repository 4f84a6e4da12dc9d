"""Runs whose documents are all there already, as a copy has them: each goes into a store whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from intake_bluesky.documents.model import Document
from intake_bluesky.documents.untyped import DEEPEST, too_deep
from intake_bluesky.errors import (
    DamagedRun,
    IntakeBlueskyError,
    RunNotFound,
    StoreUnavailable,
    UnsupportedOperation,
)

if TYPE_CHECKING:
    from intake_bluesky.storage.contract import RunInsert, RunStore

__all__ = ["MANY", "WholeRun", "check_depth", "finish_run", "insert_run"]

MANY: Final = frozenset({"event", "event_page", "bulk_events", "datum", "datum_page", "bulk_datum", "stream_datum"})
"""The documents that do not describe a run, but are what it recorded."""


def check_depth(name: str, doc: Document) -> None:
    """Refuse a document that describes a run and is nested in too many levels."""
    if name not in MANY and too_deep(doc):
        raise UnsupportedOperation(
            f"a {name} document is nested in more than {DEEPEST} levels, which few programs can read: nothing of "
            "it was written"
        )


class WholeRun:
    """The documents of one run on their way into a store.

    Parameters
    ----------
    documents : iterable of (name, document)
        Taken once. Whatever error of this package it raises is one of the run, and not of the store.

    Attributes
    ----------
    documents : iterator of (name, document)
        Raises `DamagedRun` where they are not those of one run, the start first and nothing after the stop.
    """

    def __init__(self, documents: Iterable[tuple[str, Document]]) -> None:
        self.documents = self._checked(documents)
        self._unread: IntakeBlueskyError | None = None

    def _read(self, documents: Iterable[tuple[str, Document]]) -> Iterator[tuple[str, Document]]:
        try:
            yield from documents
        except IntakeBlueskyError as error:
            self._unread = error
            raise

    def _checked(self, documents: Iterable[tuple[str, Document]]) -> Generator[tuple[str, Document], None, None]:
        last: str | None = None
        for name, doc in self._read(documents):
            if (name == "start") is not (last is None) or last == "stop":
                raise DamagedRun(
                    f"a run begins with its start document and ends with its stop: here a {name} document comes "
                    + ("first" if last is None else f"after a {last}")
                )
            if not isinstance(doc, (dict, Mapping)):  # nearly all are dicts, which takes a tenth of the time to find
                raise DamagedRun(f"a document, as this {name}, is a dict, not a {type(doc).__name__}")
            if name == "start" and not isinstance(doc.get("uid"), str):
                raise DamagedRun(f"the uid of a run is a text, not {doc.get('uid')!r:.80}")
            check_depth(name, doc)
            last = name
            yield name, doc
        if last is None:
            raise DamagedRun("a run without documents: it has a start document at least")

    def is_of_the_store(self, error: BaseException) -> bool:
        """Whether an error says that the store cannot be used, rather than what is wrong with the run."""
        return isinstance(error, StoreUnavailable) and error is not self._unread

    def refusal(self, write: Callable[[], None]) -> IntakeBlueskyError | None:
        """Write, and give the error for which this run is not in the store; None where it is.

        Raises
        ------
        StoreUnavailable
            That of the store, which ends all.
        """
        try:
            write()
        except IntakeBlueskyError as error:
            if self.is_of_the_store(error):
                raise
            return error.with_traceback(None)  # which would keep the documents
        finally:
            self.documents.close()
        return None


def insert_run(store: RunStore, documents: Iterable[tuple[str, Document]]) -> IntakeBlueskyError | None:
    """Insert a run document by document; give why it is not there, None where it is."""
    run = WholeRun(documents)

    def write() -> None:
        _, start = next(run.documents)
        finish_run(run, store.insert(start), partial(store.remove, start["uid"], permanent=True))

    return run.refusal(write)


def finish_run(run: WholeRun, insert: RunInsert, remove: Callable[[], None]) -> None:
    """Write the rest of a run that has begun; what was written is removed if a document is refused, or not to be had.

    Raises
    ------
    StoreUnavailable
        Of the store: what was written stays, and so does a run that cannot be removed.
    """
    try:
        with insert:
            for name, doc in run.documents:
                insert.write(name, doc)
    except BaseException as error:
        if run.is_of_the_store(error):
            raise
        try:
            remove()
        except RunNotFound:  # somebody else did
            pass
        except IntakeBlueskyError as again:
            raise StoreUnavailable(f"{error}; and what was written of this run cannot be removed: {again}") from error
        raise
