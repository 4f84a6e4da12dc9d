"""Addresses of databases, whose passwords are shown nowhere."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from intake_bluesky.errors import UnsupportedOperation

__all__ = ["Address"]

DRIVERS: Final = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
SECRETS: Final = frozenset({"password", "sslpassword"})  # that may be told after the question mark as well
HERE: Final = frozenset({"", "localhost", "127.0.0.1", "::1"})

_passwords: dict[str, dict[str, str]] = {}  # of this process, by addresses without them
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is, without any password: those stay in the memory of the process that was told them.

    Attributes
    ----------
    text : str
        The URL, its password left out.
    """

    text: str

    @classmethod
    def of(cls, uri: str | os.PathLike[str]) -> Address:
        """Read a URL; a path is that of an SQLite file.

        Raises
        ------
        UnsupportedOperation
            For another database than SQLite in a file, or PostgreSQL.

        Examples
        --------
        >>> Address.of("postgresql://reader:hunter2@db.example/runs").text
        'postgresql+psycopg://reader@db.example/runs'
        """
        text = os.fspath(uri)
        if "://" not in text and text:
            text = f"sqlite:///{text}"
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            raise UnsupportedOperation(
                "the uri of a database is sqlite:///runs.db or postgresql+psycopg://user@host/database; what was given "
                f"begins with {text.partition('://')[0]!r} and cannot be read (it is not shown, it may hold a password)"
            ) from None
        if url.drivername not in DRIVERS:
            raise UnsupportedOperation(f"no database of {url.drivername!r} is supported: use {' or '.join(DRIVERS)}")
        return cls._kept(url.set(drivername=DRIVERS[url.drivername]))

    @classmethod
    def _kept(cls, url: URL) -> Address:
        if url.drivername == "sqlite":
            name = url.database or ""
            if not name or name == ":memory:" or name.startswith("file:"):
                raise UnsupportedOperation("a database in memory is nobody else's: name a file, as sqlite:///runs.db")
            return cls(URL.create("sqlite", database=str(Path(name).expanduser().absolute())).render_as_string())
        secrets = {key: value for key in SECRETS if isinstance(value := url.query.get(key), str)}
        if url.password is not None:
            secrets["password"] = str(url.password)
        bare = URL.create(
            url.drivername, url.username, None, url.host, url.port, url.database, url.query
        ).difference_update_query(SECRETS)
        text = bare.render_as_string()
        if secrets:
            with _lock:
                _passwords[text] = secrets
        return cls(text)

    @property
    def url(self) -> URL:
        """The URL to connect to, password and all that this process knows; do not show it."""
        with _lock:
            secrets = _passwords.get(self.text, {})
        url = make_url(self.text)
        if "password" in secrets:
            url = url.set(password=secrets["password"])
        return url.update_query_dict({key: value for key, value in secrets.items() if key != "password"})

    @property
    def path(self) -> Path | None:
        """The file of an SQLite database."""
        return _path(self.text)

    @property
    def remote(self) -> bool:
        """Whether the database is on another machine."""
        return _is_remote(self.text)

    def masked(self, text: str) -> str:
        """A text in which no password of this database stands."""
        with _lock:
            secrets = [secret for secret in _passwords.get(self.text, {}).values() if secret]
        for secret in secrets:
            text = text.replace(secret, "***")
        return text

    def __str__(self) -> str:
        return self.text


@lru_cache  # each run that is listed asks
def _path(text: str) -> Path | None:
    url = make_url(text)
    return Path(str(url.database)) if url.drivername == "sqlite" else None


@lru_cache
def _is_remote(text: str) -> bool:
    url = make_url(text)
    hosts = [url.host or "", *_several(url.query.get("host")), *_several(url.query.get("hostaddr"))]
    return _path(text) is None and not all(host in HERE or host.startswith("/") for host in hosts)


def _several(value: str | tuple[str, ...] | None) -> list[str]:
    texts = (value,) if isinstance(value, str) else value or ()
    return [host for text in texts for host in text.split(",")]
