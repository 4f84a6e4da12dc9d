"""What the tables in SQLite are to the translator of queries."""

from __future__ import annotations

from typing import Final

from intake_bluesky.index.search_form import COMMON
from intake_bluesky.index.tables import HAS_FTS5, SIMILAR
from intake_bluesky.index.translator import Column, Columns, Translator

SQLITE: Final = Translator(
    Columns(
        special={
            ("start", ("uid",)): Column("uid", "uid"),
            ("start", ("time",)): Column("time", "number"),
            ("start", ("scan_id",)): Column("scan_id", "number"),
            **{place: Column(name, "text") for place, name in COMMON.items()},
        },
        documents={"start": "form_start", "stop": "form_stop"},
        words="id IN (SELECT rowid FROM texts WHERE texts MATCH ?)" if HAS_FTS5 else None,
        lists="id IN (SELECT l.id FROM runs AS l WHERE l.lists AND {})",
        listing={"start": "l.form_start", "stop": "l.form_stop"},
        similar=SIMILAR if HAS_FTS5 else None,
        listed="1",
    )
)
