"""Composing the documents of a run by hand: deterministic, and able to make runs that no RunEngine should."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from intake_bluesky.documents.model import Document

__all__ = ["RunComposer", "data_key"]

EPOCH: Final = 1_700_000_000.0  # seconds; the time of the first document


def data_key(dtype: str, shape: Sequence[int | None] = (), **more: Any) -> Document:
    """Make the entry of one key in ``data_keys``.

    Examples
    --------
    >>> data_key("number", units="mm")
    {'source': 'SIM:x', 'dtype': 'number', 'shape': [], 'units': 'mm'}
    """
    return {"source": "SIM:x", "dtype": dtype, "shape": list(shape), **more}


class RunComposer:
    """Collects (name, document) pairs, filling in uids, times, seq_nums and the numbers of the stop.

    Parameters
    ----------
    label : str
        All uids derive from it, so the same calls give the same documents.
    time : float
        Time of the start, seconds since the epoch; each further document comes 0.125 s later.
    **metadata
        Fields of the start document.

    Examples
    --------
    >>> run = RunComposer("example", scan_id=1)
    >>> primary = run.descriptor({"x": data_key("number")})
    >>> run.event(primary, {"x": 1.5})
    >>> run.stop()
    >>> [name for name, _ in run.documents]
    ['start', 'descriptor', 'event', 'stop']
    """

    def __init__(self, label: str, *, time: float = EPOCH, **metadata: Any) -> None:
        self.label = label
        self.documents: list[tuple[str, Document]] = []
        self._clock = time - 0.125
        self._labels = 0
        self._seq_nums: dict[str, int] = {}
        self._streams: dict[str, str] = {}
        self._counts: dict[str, set[int]] = {}
        self.add("start", {"uid": self.uid(), "time": self.time(), **metadata})

    @property
    def run_uid(self) -> str:
        """The uid of the run."""
        return str(self.documents[0][1]["uid"])

    def uid(self) -> str:
        """Make the next uid."""
        self._labels += 1
        # Not random: two processes, and two runs of a test, compose the same documents.
        return str(uuid5(NAMESPACE_URL, f"intake-bluesky:{self.label}:{self._labels}"))

    def time(self) -> float:
        """Advance the clock by 0.125 s, which a float holds exactly, and give the time."""
        self._clock += 0.125
        return self._clock

    def add(self, name: str, doc: Document) -> None:
        """Append any document as it is."""
        self.documents.append((name, doc))

    def descriptor(self, data_keys: Mapping[str, Document], *, stream: str | None = "primary", **more: Any) -> str:
        """Append a descriptor and give its uid; with `stream` None it has no name."""
        uid = self.uid()
        doc = {
            "uid": uid,
            "time": self.time(),
            "run_start": self.run_uid,
            "data_keys": dict(data_keys),
            "configuration": {},
            "hints": {},
            "object_keys": {"device": list(data_keys)},
        }
        self.add("descriptor", doc | ({} if stream is None else {"name": stream}) | more)
        self._streams[uid] = stream or "primary"
        self._counts.setdefault(self._streams[uid], set())
        return uid

    def _seq_num(self, descriptor: str, given: int | None) -> int:
        stream = self._streams[descriptor]
        number = self._seq_nums.get(stream, 0) + 1 if given is None else given
        self._seq_nums[stream] = number
        self._counts[stream].add(number)
        return number

    def make_event(
        self, descriptor: str, data: Mapping[str, Any], *, seq_num: int | None = None, **more: Any
    ) -> Document:
        """Make an event without appending it."""
        time = self.time()
        return {
            "uid": self.uid(),
            "time": time,
            "seq_num": self._seq_num(descriptor, seq_num),
            "descriptor": descriptor,
            "data": dict(data),
            "timestamps": dict.fromkeys(data, time - 0.0625),
            "filled": {},
            **more,
        }

    def event(self, descriptor: str, data: Mapping[str, Any], *, seq_num: int | None = None, **more: Any) -> None:
        """Append one event; without `seq_num` the next of its stream."""
        self.add("event", self.make_event(descriptor, data, seq_num=seq_num, **more))

    def page(
        self, descriptor: str, data: Mapping[str, Sequence[Any]], *, seq_nums: Sequence[int] | None = None
    ) -> None:
        """Append one event page, its columns all of one length."""
        events = len(next(iter(data.values())))
        times = [self.time() for _ in range(events)]
        numbers = seq_nums if seq_nums is not None else [None] * events
        page = {
            "uid": [self.uid() for _ in times],
            "time": times,
            "seq_num": [self._seq_num(descriptor, number) for number in numbers],
            "descriptor": descriptor,
            "data": {key: list(column) for key, column in data.items()},
            "timestamps": {key: [time - 0.0625 for time in times] for key in data},
            "filled": {},
        }
        self.add("event_page", page)

    def stream_resource(self, key: str, *, mimetype: str, uri: str, **parameters: Any) -> str:
        """Append a stream resource and give its uid."""
        uid = self.uid()
        doc = {
            "uid": uid,
            "run_start": self.run_uid,
            "data_key": key,
            "mimetype": mimetype,
            "uri": uri,
            "parameters": parameters,
        }
        self.add("stream_resource", doc)
        return uid

    def stream_datum(
        self,
        resource: str,
        descriptor: str,
        seq_nums: tuple[int, int],
        indices: tuple[int, int] | None = None,
    ) -> None:
        """Append a stream datum over half-open ranges; by default index 0 is seq_num 1."""
        first, last = (seq_nums[0] - 1, seq_nums[1] - 1) if indices is None else indices
        number = sum(name == "stream_datum" and doc["stream_resource"] == resource for name, doc in self.documents)
        doc = {
            "uid": f"{resource}/{number}",
            "stream_resource": resource,
            "descriptor": descriptor,
            "seq_nums": {"start": seq_nums[0], "stop": seq_nums[1]},
            "indices": {"start": first, "stop": last},
        }
        self.add("stream_datum", doc)
        self._counts[self._streams[descriptor]].update(range(*seq_nums))

    def resource(self, spec: str, *, root: str, path: str, **kwargs: Any) -> str:
        """Append a resource (legacy assets) and give its uid."""
        uid = self.uid()
        doc = {
            "uid": uid,
            "run_start": self.run_uid,
            "spec": spec,
            "root": root,
            "resource_path": path,
            "resource_kwargs": kwargs,
            "path_semantics": "posix",
        }
        self.add("resource", doc)
        return uid

    def datum(self, resource: str, number: int, **kwargs: Any) -> str:
        """Append a datum (legacy assets) and give its id."""
        datum_id = f"{resource}/{number}"
        self.add("datum", {"datum_id": datum_id, "resource": resource, "datum_kwargs": kwargs})
        return datum_id

    def stop(self, exit_status: str = "success", reason: str = "", **more: Any) -> None:
        """Append the stop; ``num_events`` counts distinct seq_nums, as the RunEngine does."""
        doc = {
            "uid": self.uid(),
            "time": self.time(),
            "run_start": self.run_uid,
            "exit_status": exit_status,
            "reason": reason,
            "num_events": {stream: len(numbers) for stream, numbers in self._counts.items()},
        }
        self.add("stop", doc | more)
