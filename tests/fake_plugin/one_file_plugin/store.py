"""One text file, a run a line: a JSON list of [name, document] pairs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from intake_bluesky.documents import ALL_KEYS, DatumPage, Document, EventPage, Keys, RunHeader, RunSummary
from intake_bluesky.documents.columns import observe
from intake_bluesky.documents.header import HeaderBuilder
from intake_bluesky.documents.pages import event_page, normalise
from intake_bluesky.errors import RunNotFound, StreamNotFound
from intake_bluesky.query import ALL, Query
from intake_bluesky.storage import Order, Problem, RunStore, sort_runs


class OneFileStore(RunStore):
    """Runs in one file; `plan` is left as it is, so the core does all the searching."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.reads = 0

    def _lines(self) -> Iterator[str]:
        if self.path.exists():
            yield from self.path.read_text(encoding="utf-8").splitlines()

    def _runs(self) -> tuple[dict[str, str], list[Problem]]:
        runs, problems = dict[str, str](), list[Problem]()
        for number, line in enumerate(self._lines(), start=1):
            try:
                runs[json.loads(line)[0][1]["uid"]] = line
            except ValueError as error:
                problems.append(Problem(f"{self.path}:{number}", f"not a run: {error}"))
        return runs, problems

    def problems(self) -> Sequence[Problem]:
        return self._runs()[1]

    def _line(self, uid: str) -> str:
        runs, _ = self._runs()
        if uid not in runs:
            raise RunNotFound(f"{self.path} has no run {uid!r} among its {len(runs)}: give a full uid")
        return runs[uid]

    def documents(self, uid: str) -> Iterator[tuple[str, Document]]:
        yield from map(tuple, json.loads(self._line(uid)))

    def find(
        self,
        query: Query = ALL,
        *,
        order: Order = Order.NEWEST,
        offset: int = 0,
        limit: int | None = None,
    ) -> Iterator[RunSummary]:
        found = []
        for line in self._runs()[0].values():
            documents = json.loads(line)
            stops = [doc for name, doc in documents if name == "stop"]
            found.append(RunSummary.of(documents[0][1], stops[0] if stops else None))
        return islice(sort_runs(found, order), offset, None if limit is None else offset + limit)

    def _pages(self, uid: str) -> Iterator[tuple[str, Document]]:
        """Everything in today's form."""
        for name, doc in self.documents(uid):
            yield from normalise(name, doc)

    def header(self, uid: str) -> RunHeader:
        builder = HeaderBuilder()
        for name, doc in self._pages(uid):
            if name not in ("event", "event_page"):
                builder.add(name, doc)
                continue
            page, nulls = event_page(doc)
            seen = {key: observe(values, nulls=key in nulls) for key, values in page.data.items()}
            builder.add_page(page.descriptor, len(page), seen)
        return builder.header(hashlib.sha256(self._line(uid).encode()).hexdigest())

    def event_pages(
        self,
        uid: str,
        stream: str,
        *,
        data: Keys = ALL_KEYS,
        timestamps: Keys = (),
        events: slice = slice(None),
    ) -> Iterator[EventPage]:
        layouts = self.header(uid).streams
        if stream not in layouts:
            raise StreamNotFound(f"run {uid} has no stream {stream!r}; it has {', '.join(layouts) or 'none'}")
        descriptors = {doc["uid"] for doc in layouts[stream].descriptors}
        self.reads += data != () or timestamps != ()
        start, stop, _ = events.indices(layouts[stream].events)
        for name, doc in self._pages(uid):
            if name in ("event", "event_page") and doc["descriptor"] in descriptors:
                page, _ = event_page(doc, data=data, timestamps=timestamps)
                if start < len(page) and stop > 0 and start < stop:
                    yield page.select(slice(max(start, 0), stop))
                start, stop = start - len(page), stop - len(page)

    def datum_pages(self, uid: str, resource: str) -> Iterator[DatumPage]:
        for name, doc in self._pages(uid):
            if name == "datum" and doc["resource"] == resource:
                kwargs = {key: [value] for key, value in doc["datum_kwargs"].items()}
                yield DatumPage(resource, [doc["datum_id"]], kwargs)
            elif name == "datum_page" and doc["resource"] == resource:
                yield DatumPage(resource, doc["datum_id"], doc["datum_kwargs"])
