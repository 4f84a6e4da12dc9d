"""Datums that several runs use: the runs that have them, and their resources."""

from __future__ import annotations

from typing import Final

from intake_bluesky.index.search_form import code_text
from intake_bluesky_sql.database import Database

OWNING: Final = (
    "SELECT uid FROM runs WHERE id IN (SELECT run FROM blocks WHERE name IN ('datum', 'datum_page') AND owner = ? "
    "UNION SELECT run FROM documents WHERE name IN ('datum', 'datum_page') AND owner = ?)"
)
"""The runs that have datums of a resource."""
NAMING: Final = "SELECT uid FROM runs WHERE id IN (SELECT run FROM documents WHERE name = 'resource' AND {found})"
"""The runs that have resources in which a text is."""


def runs_with_datums(database: Database, resource: str) -> list[str]:
    """The uids of the runs that have datums of a resource."""
    possible = code_text(resource) == resource  # no database holds another text
    return [uid for (uid,) in database.ask(OWNING, resource, resource)] if possible else []


def runs_with_resource(database: Database, resource: str) -> list[str]:
    """The uids of the runs among which those are that have a resource."""
    found = "instr(body, ?) > 0" if database.is_sqlite else "position(? in body) > 0"
    return [uid for (uid,) in database.ask(NAMING.format(found=found), resource.encode())]
