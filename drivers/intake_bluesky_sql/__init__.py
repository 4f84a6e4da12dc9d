"""Runs in an SQL database as an Intake catalog: the driver ``bluesky-sql-catalog``."""

from __future__ import annotations

import os
from typing import Any

from intake_bluesky.errors import MissingDependency

try:
    import sqlalchemy  # noqa: F401
except ImportError:
    raise MissingDependency.of("SQLAlchemy", extra="sql", purpose="to keep runs in a database") from None

from intake_bluesky.runs import BlueskyCatalog
from intake_bluesky_sql.address import Address
from intake_bluesky_sql.store import SQLStore

__all__ = ["BlueskySQLCatalog", "SQLStore"]


class BlueskySQLCatalog(BlueskyCatalog):
    """The runs in an SQL database; every other argument is one of `BlueskyCatalog`.

    Parameters
    ----------
    uri : str or Path
        ``sqlite:///runs.db`` or ``postgresql+psycopg://user@host/database``: see `SQLStore`. YAML files write
        ``sqlite:///{{ CATALOG_DIR }}/runs.db`` for a file beside them.
    flush_seconds, flush_bytes, patience : optional
        How long documents that are written may wait: see `SQLStore`.
    """

    name = "bluesky-sql-catalog"
    WITHOUT_SECRETS = {**BlueskyCatalog.WITHOUT_SECRETS, "uri": lambda uri: Address.of(uri).text}  # noqa: RUF012

    def __init__(
        self,
        uri: str | os.PathLike[str],
        *,
        flush_seconds: float | None = None,
        flush_bytes: int | None = None,
        patience: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            SQLStore(uri, flush_seconds=flush_seconds, flush_bytes=flush_bytes, patience=patience), **kwargs
        )
