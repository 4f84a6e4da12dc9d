"""What the text form of queries may call: nothing but what these tables name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from intake_bluesky.errors import UnsupportedQuery
from intake_bluesky.query.data_nodes import Data, StatisticName
from intake_bluesky.query.descriptor_nodes import AnyDescriptor
from intake_bluesky.query.device_builders import Config, DataKey, Device
from intake_bluesky.query.nodes import ALL, Query
from intake_bluesky.query.run_nodes import PartialUID, ScanID, ScanIDRange
from intake_bluesky.query.words import FullText, Fuzzy

MAX_WORDS: Final = 4096
"""How many characters a text to search for has: what Unicode calls normalization is not linear in them."""


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The event descriptors of a stream, or with None all: ``stream('primary')``, ``stream()``."""

    stream: str | None = None

    def exists(self) -> Query:
        """Match where there is one."""
        return AnyDescriptor(ALL, self.stream)

    def any(self, query: Query) -> Query:
        """Match where one of them matches a query over its keys."""
        return AnyDescriptor(query, self.stream)


def _limited(node: Callable[..., Query]) -> Callable[..., Query]:
    def make(text: str, *arguments: Any, **named: Any) -> Query:
        if isinstance(text, str) and len(text) > MAX_WORDS:
            raise UnsupportedQuery(f"a text to search for has at most {MAX_WORDS} characters here")
        return node(text, *arguments, **named)

    return make


ABOUT_RUNS: Final[Mapping[str, tuple[Callable[..., Query], str]]] = {
    "everything": (lambda: ALL, "everything()"),
    "text": (_limited(FullText), "text('nickel foil')"),
    "fuzzy": (_limited(Fuzzy), "fuzzy('nickle foil', threshold=0.3)"),
    "uid": (PartialUID, "uid('9acjef', '0b21')"),
    "scan_id": (ScanID, "scan_id(5, 6, duplicates='all')"),
    "scan_id_range": (ScanIDRange, "scan_id_range(5, 10, duplicates='all')"),
}
"""Conditions on a run as a whole: what makes each, and how it is written."""

ABOUT_DATA: Final[Mapping[str, tuple[Callable[..., Any], str]]] = {
    "data": (Data, "data('theta', stream='primary').max() > 5"),
    "datakey": (DataKey, "datakey('theta')"),
    "device": (Device, "device('fccd')"),
    "config": (Config, "config('fccd', 'exposure_time') > 0.1"),
    "stream": (Descriptors, "stream('primary')"),
}
"""What a condition may be about, other than a key of start or stop. No key begins with one of these names."""

FUNCTIONS: Final[Mapping[str, tuple[Callable[..., Any], str]]] = {**ABOUT_RUNS, **ABOUT_DATA}

METHODS: Final[Mapping[type, tuple[str, ...]]] = {Data: get_args(StatisticName), DataKey: ("field",)}
"""What may be called after a dot."""

CONDITIONS: Final = (DataKey, Device, Descriptors)
"""What is a condition by itself, that there is one."""
