"""A run's documents, event pages as columns, headers, statistics.

Every store gives these, and every reader takes them. Names and fields follow event-model 1.24; older forms are brought
to today's by `normalise`.
"""

from __future__ import annotations

from intake_bluesky.documents.columns import observe
from intake_bluesky.documents.header import HeaderBuilder
from intake_bluesky.documents.model import (
    ALL_KEYS,
    DEFAULT_STREAM,
    MAX_TIME,
    NAMES,
    STREAM_EXTERNAL,
    DatumPage,
    Document,
    EventPage,
    Keys,
    ReadOnlyDocument,
    RunHeader,
    RunSummary,
    Span,
    StreamAsset,
    StreamLayout,
    identical,
    is_external,
    is_streamed,
    stream_name,
    to_plain,
)
from intake_bluesky.documents.pages import event_page, events_of, gather, normalise
from intake_bluesky.documents.run_documents import RunDocuments

__all__ = [
    "ALL_KEYS",
    "DEFAULT_STREAM",
    "MAX_TIME",
    "NAMES",
    "STREAM_EXTERNAL",
    "DatumPage",
    "Document",
    "EventPage",
    "HeaderBuilder",
    "Keys",
    "ReadOnlyDocument",
    "RunDocuments",
    "RunHeader",
    "RunSummary",
    "Span",
    "StreamAsset",
    "StreamLayout",
    "event_page",
    "events_of",
    "gather",
    "identical",
    "is_external",
    "is_streamed",
    "normalise",
    "observe",
    "stream_name",
    "to_plain",
]
