"""The node about event descriptors, which describe what was recorded, by which devices, and how these were set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query.nodes import Everything, Query, deeper, leaves
from intake_bluesky.query.path_nodes import PathQuery


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AnyDescriptor(Query):
    """The run has an event descriptor that matches a query of its own, one descriptor all of it.

    Parameters
    ----------
    query
        Over keys of the descriptor, by `Descriptor`; `ALL` asks for any descriptor.
    stream
        Look only at the descriptors of this stream; a descriptor without a name is of ``primary``.

    Examples
    --------
    >>> from intake_bluesky.query import Descriptor
    >>> AnyDescriptor(Descriptor("configuration.fccd.data.exposure_time") > 0.1, "primary")
    AnyDescriptor(Descriptor('configuration.fccd.data.exposure_time') > 0.1, stream='primary')
    """

    query: Query
    stream: str | None = None
    depth: int = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.query, Query):
            raise UnsupportedQuery(f"AnyDescriptor takes a query over Descriptor(...), not {self.query!r}")
        for leaf in leaves(self.query):
            over = isinstance(leaf, PathQuery) and leaf.path.document == "descriptor"
            if not (over or isinstance(leaf, Everything)):
                raise UnsupportedQuery(f"inside AnyDescriptor a query is over Descriptor(...), not {leaf!r}")
        self._fill(stream=checked_stream(self.stream), depth=deeper((self.query,)))

    def __repr__(self) -> str:
        return f"AnyDescriptor({self.query!r}{stream_argument(self.stream)})"


def checked_stream(stream: object) -> str | None:
    """Take the name of a stream, or None for any."""
    if stream is not None and not (isinstance(stream, str) and stream):
        raise UnsupportedQuery(f"a stream is named by a text that is not empty, or None for any, not {stream!r}")
    return None if stream is None else str(stream)


def stream_argument(stream: str | None) -> str:
    """Write the argument ``stream`` as it follows others; nothing where it is None."""
    return "" if stream is None else f", stream={stream!r}"


def stream_of(descriptor: Mapping[str, Any]) -> str:
    """Name the stream of a descriptor; those of old writers may have no name and mean ``primary``.

    Examples
    --------
    >>> stream_of({"name": "baseline"}), stream_of({})
    ('baseline', 'primary')
    """
    return str(descriptor.get("name") or "primary")  # as `documents.stream_name`: queries import no numpy
