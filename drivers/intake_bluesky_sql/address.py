"""Addresses of databases, whose passwords are shown nowhere."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from intake_bluesky.errors import StoreUnavailable, UnsupportedOperation
from intake_bluesky.runtime.secrets import Secrets, ServerURL
from intake_bluesky.runtime.trust import is_here

DRIVERS: Final = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
SHOWN: Final = re.compile(
    "application_name|channel_binding|client_encoding|connect_timeout|dbname|fallback_application_name|gssdelegation|"
    "gssencmode|gsslib|host|hostaddr|keepalives(_count|_idle|_interval)?|krbsrvname|load_balance_hosts|"
    "(max|min)_protocol_version|oauth_(client_id|issuer|scope)|options|passfile|port|replication|require_auth|"
    "requirepeer|service|servicefile|ssl_(max|min)_protocol_version|sslcert|sslcertmode|sslcompression|sslcrl|sslcrldir|"
    "sslkey|sslkeylogfile|sslmode|sslnegotiation|sslrootcert|sslsni|target_session_attrs|tcp_user_timeout|user"
)
"""Options of libpq, given after the question mark, that hold no secret; any other may."""
ALMOST: Final = re.compile(r"(?i)[a-z][a-z+]+:/|.*\bpassword\s*=")  # a URL short of a slash, or libpq's own form
FROM_ELSEWHERE: Final = "require_auth=password"
"""In addresses of catalogs from elsewhere that have a password of their own: this user's is not sent in its place."""
HOSTS: Final = ("PGHOST", "PGHOSTADDR")
"""What libpq asks where an address names no host."""


@dataclass(frozen=True, slots=True)
class SQLAddress:
    """Where a database is, without any password: those stay in the memory of the process that was given them."""

    text: str  # the URL, its password left out

    @classmethod
    def of(cls, uri: str | os.PathLike[str]) -> SQLAddress:
        """Read a URL; a path is that of an SQLite file.

        Raises
        ------
        UnsupportedOperation
            For another database than SQLite in a file, or PostgreSQL.

        Examples
        --------
        >>> SQLAddress.of("postgresql://reader:hunter2@db.example/runs").text
        'postgresql+psycopg://reader@db.example/runs'
        """
        text = os.fspath(uri)
        if text and "://" not in text and not ALMOST.match(text):
            return cls._file(text)
        if DRIVERS.get(text.partition("://")[0]) == "sqlite":
            return cls._file_of(text)
        url = ServerURL.parse(text)
        if url is None or text.count("@") > 1:  # part of a password would be taken for a host, and shown
            raise _unreadable(text)
        if url.scheme not in DRIVERS:
            raise UnsupportedOperation(f"no database of {url.scheme!r} is supported: use {' or '.join(DRIVERS)}")
        return cls._server(replace(url, scheme=DRIVERS[url.scheme]))

    @classmethod
    def _file_of(cls, text: str) -> SQLAddress:
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            raise _unreadable(text) from None
        if url.query:
            raise UnsupportedOperation(
                f"{', '.join(url.query)}: an SQLite uri takes no options; a ? in the name of a file is written %3F, "
                "and one that may not be written is opened as it is"
            )
        return cls._file(url.database or "")

    @classmethod
    def _file(cls, name: str) -> SQLAddress:
        if not name or name == ":memory:" or name.startswith("file:"):
            raise UnsupportedOperation("a database in memory is nobody else's: name a file, as sqlite:///runs.db")
        if not _is_text(name):
            raise UnsupportedOperation(
                f"the name of an SQLite file is text, which {name!r} is not: give it another name"
            )
        return cls(URL.create("sqlite", database=str(Path(name).expanduser().absolute())).render_as_string())

    @classmethod
    def _server(cls, url: ServerURL) -> SQLAddress:
        bare, secrets = url.split(lambda name: SHOWN.fullmatch(name) is not None)
        try:
            text = make_url(bare.uri).render_as_string()
        except (ArgumentError, ValueError):
            raise _unreadable(url.uri) from None
        secrets.remember(text)
        return cls(text)

    @property
    def url(self) -> URL:
        """The URL to connect to, password and all that this process knows; do not show it."""
        url, secrets = make_url(self.text), Secrets.of(self.text)
        if FROM_ELSEWHERE in self.text and not secrets:
            raise StoreUnavailable(
                f"{self.text} needs the password of the catalog from elsewhere that names it, which no pickle holds: "
                "open that catalog where this runs"
            )
        if secrets.password is not None:
            url = url.set(password=unquote(secrets.password))
        return url.update_query_string(secrets.options) if secrets.options else url

    @property
    def path(self) -> Path | None:
        """The file of an SQLite database."""
        return _path(self.text)

    @property
    def remote(self) -> bool:
        """Whether the database is on another machine."""
        if self.path is not None:
            return False
        hosts, elsewhere = _hosts(self.text)
        named = hosts or [host for name in HOSTS for host in os.environ.get(name, "").split(",")]
        unknown = elsewhere or (not hosts and "PGSERVICE" in os.environ)
        return unknown or not all(is_here(host) for host in named if host)

    def masked(self, text: str) -> str:
        """A text without any password of this database."""
        return (Secrets.of(self.text) or Secrets(os.environ.get("PGPASSWORD"))).hide(text)

    def __str__(self) -> str:
        return self.text


def _unreadable(text: str) -> UnsupportedOperation:
    return UnsupportedOperation(
        "the uri of a database is sqlite:///runs.db or postgresql+psycopg://user@host/database; what was given, of "
        f"{len(text)} characters, cannot be read (it is not shown, it may hold a password); in a user and a password "
        "@ : / and the like are written percent-encoded"
    )


def _is_text(name: str) -> bool:
    """Whether a file can have this name, and a URL hold it."""
    return "\0" not in name and name == name.encode(errors="replace").decode()


@lru_cache  # each run that is listed asks
def _path(text: str) -> Path | None:
    url = make_url(text)
    return Path(str(url.database)) if url.drivername == "sqlite" else None


@lru_cache
def _hosts(text: str) -> tuple[list[str], bool]:
    """The hosts that the address of a server names, and whether a service file may name others."""
    url = make_url(text)
    given = [url.host or "", *_several(url.query.get("host")), *_several(url.query.get("hostaddr"))]
    return [host for one in given for host in one.split(",") if host], "service" in url.query


def _several(value: str | tuple[str, ...] | None) -> list[str]:
    texts = (value,) if isinstance(value, str) else value or ()
    return [host for text in texts for host in text.split(",")]
