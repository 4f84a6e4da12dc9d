"""PostgreSQL's binary protocol: bytes as they are, where its text protocol sends two digits for each."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.pq import Format


class BinaryCursor(psycopg.Cursor[Any]):
    """A cursor that asks for binary results."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.format = Format.BINARY
