"""Runs in an SQL database as an Intake catalog: the driver ``bluesky-sql-catalog``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from intake_bluesky.catalogs.run_catalog import BlueskyCatalog
from intake_bluesky.errors import MissingDependency

if TYPE_CHECKING:
    from intake_bluesky_sql.store import SQLStore

__all__ = ["BlueskySQLCatalog", "SQLStore"]


def __getattr__(name: str) -> Any:
    if name != "SQLStore":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from intake_bluesky_sql.store import SQLStore
    except ModuleNotFoundError as error:
        if error.name != "sqlalchemy":
            raise
        raise MissingDependency.of("SQLAlchemy", extra="sql", purpose="to keep runs in a database") from error
    return SQLStore


def _shown(uri: Any) -> str:
    from intake_bluesky_sql.address import SQLAddress

    return SQLAddress.of(uri).text


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
    signatures = (b"SQLite format 3\0",)
    url_schemes = ("sqlite", "postgresql", "postgresql+psycopg")
    WITHOUT_SECRETS = {**BlueskyCatalog.WITHOUT_SECRETS, "uri": _shown}

    def __init__(
        self,
        uri: str | os.PathLike[str],
        *,
        flush_seconds: float | None = None,
        flush_bytes: int | None = None,
        patience: float | None = None,
        **kwargs: Any,
    ) -> None:
        make = __getattr__("SQLStore")
        super().__init__(make(uri, flush_seconds=flush_seconds, flush_bytes=flush_bytes, patience=patience), **kwargs)

    @classmethod
    def from_elsewhere(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """A server alone, which is sent no password but that of the uri, and no certificate or ticket."""
        if "uri" not in arguments:  # the user's own
            return arguments
        from intake_bluesky_sql.elsewhere import without_credentials

        return {**arguments, "uri": without_credentials(str(arguments["uri"]))}
