"""A database of a MongoDB server, as databroker's configuration files say it and as a URI does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote

__all__ = ["MongoAddress", "mongo_address"]

URI: Final = re.compile(
    r"(?P<scheme>mongodb(?:\+srv)?)://(?:(?P<who>[^/]*)@)?(?P<hosts>[^/?@]+)(?:/(?P<path>[^?@]*))?(?:\?(?P<options>[^@]*))?"
)
OWN_SOURCE: Final = re.compile(r"authmechanism=(gssapi|mongodb-x509|mongodb-aws|mongodb-oidc)", re.IGNORECASE)
"""Ways of authentication whose users are in no database."""
SECRET: Final = re.compile(r"(?i)([^&=]*(?:password|token|properties)[^&=]*)=[^&]*")


@dataclass(frozen=True, slots=True)
class MongoAddress:
    """Where a database is and who asks.

    Attributes
    ----------
    scheme, hosts, database : str
    options : str
        Of the URI, without the question mark.
    user, password : str or None
        As they stand in a URI, percent-encoded.
    """

    scheme: str
    hosts: str
    database: str
    options: str = ""
    user: str | None = None
    password: str | None = None

    @property
    def uri(self) -> str:
        """The URI that a driver takes."""
        who = "" if self.user is None else self.user if self.password is None else f"{self.user}:{self.password}"
        options = f"?{self.options}" if self.options else ""
        return f"{self.scheme}://{who + '@' if who else ''}{self.hosts}/{quote(self.database)}{options}"

    @property
    def secret(self) -> bool:
        """Whether it holds what must not be shown."""
        return self.user is not None or SECRET.search(self.options) is not None

    def shown(self, prefix: str) -> str:
        """The URI with templates of environment variables and dots for what is secret."""
        user = None if self.user is None else f"{{{{ env({prefix}_USER) }}}}"
        password = None if self.password is None else f"{{{{ env({prefix}_PASSWORD) }}}}"
        return replace(self, user=user, password=password, options=SECRET.sub(r"\1=...", self.options)).uri


def mongo_address(config: Mapping[str, Any], where: str) -> MongoAddress:
    """Read the ``config`` of a part of databroker's configuration.

    Parameters
    ----------
    config : mapping
        ``database`` and ``uri``, or ``host``, ``port``, ``mongo_user``, ``mongo_pwd``, ``authsource``.
    where : str
        For messages, which never say a value: it may be a password.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> mongo_address({"host": "xf01-db", "port": 27017, "database": "runs"}, "assets").uri
    'mongodb://xf01-db:27017/runs'
    >>> mongo_address({"uri": "mongodb://me:pw@db1,db2/?replicaSet=x", "database": "runs"}, "assets").uri
    'mongodb://me:pw@db1,db2/runs?replicaSet=x&authSource=admin'
    """
    database = config.get("database")
    if not isinstance(database, str) or not database:
        raise ValueError(f"{where}.config names no database")
    host = config.get("host")
    uri = config.get("uri") or (host if isinstance(host, str) and "://" in host else None)
    if config.get("uri") and (host or config.get("port")):
        raise ValueError(f"{where}.config says uri and also host or port: one of them has to go")
    if uri:
        found = URI.fullmatch(str(uri))
        if found is None:
            raise ValueError(
                f"the uri of {where}.config is no MongoDB URI (what it is is not shown: it may hold a password)"
            )
        user, colon, password = (found["who"] or "").partition(":")
        address = MongoAddress(
            found["scheme"], found["hosts"], found["path"] or "", found["options"] or "",
            user or None, password if colon else None,
        )  # fmt: skip
    else:
        address = MongoAddress("mongodb", _hosts(host, config.get("port")), "", "", *_who(config))
    return replace(address, database=database, options=_options(address, config.get("authsource")))


def _hosts(host: Any, port: Any) -> str:
    hosts = [str(one) for one in host] if isinstance(host, (list, tuple)) else str(host or "localhost").split(",")
    return ",".join(one if ":" in one or port is None else f"{one}:{port}" for one in hosts)


def _who(config: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """User and password; databroker took them as they would stand in a URI."""
    if "mongo_user" not in config or "mongo_pwd" not in config:
        return None, None
    return quote(str(config["mongo_user"]), safe="%+"), quote(str(config["mongo_pwd"]), safe="%+")


def _options(address: MongoAddress, source: Any) -> str:
    """The options, and where the user is known: with a database in the URI that would be this one."""
    if source:
        return "&".join(filter(None, (address.options, f"authSource={quote(str(source))}")))
    if address.user is None or "authsource=" in address.options.lower() or OWN_SOURCE.search(address.options):
        return address.options
    plain = "authmechanism=plain" in address.options.lower()
    source = address.database or ("$external" if plain else "admin")
    return "&".join(filter(None, (address.options, f"authSource={source}")))
