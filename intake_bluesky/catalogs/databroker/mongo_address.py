"""A database of a MongoDB server: from databroker's configuration files to a URI."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote

from intake_bluesky.runtime.secrets import Secrets, ServerURL, names_secret

__all__ = ["DatabrokerAddress", "mongo_address"]

OWN_SOURCE: Final = re.compile(r"authmechanism=(gssapi|mongodb-x509|mongodb-aws|mongodb-oidc)", re.IGNORECASE)
"""Mechanisms of authentication whose users are in no database of the server."""


@dataclass(frozen=True, slots=True)
class DatabrokerAddress(ServerURL):
    """The servers, the database and the user."""

    @property
    def secret(self) -> bool:
        """Whether it holds what must not be shown."""
        return self.user is not None or bool(self.secrets)

    @property
    def secrets(self) -> Secrets:
        """What must not be shown anywhere."""
        return self.split(_is_harmless)[1]

    def shown(self, prefix: str) -> str:
        """The URI with templates of environment variables and dots for what is secret."""
        user = None if self.user is None else f"{{{{ env({prefix}_USER) }}}}"
        password = None if self.password is None else f"{{{{ env({prefix}_PASSWORD) }}}}"
        options = [option.partition("=") for option in self.options.split("&")]
        dotted = "&".join(name + mark + (value if _is_harmless(name) else "...") for name, mark, value in options)
        return replace(self, user=user, password=password, options=dotted).uri


def _is_harmless(name: str) -> bool:
    return not (names_secret(name) or name.lower() == "authmechanismproperties")


def mongo_address(config: Mapping[str, Any], where: str) -> DatabrokerAddress:
    """Read the ``config`` of a part of databroker's configuration.

    Parameters
    ----------
    config : mapping
        ``database`` and ``uri``, or ``host``, ``port``, ``mongo_user``, ``mongo_pwd``, ``authsource``.
    where : str
        For messages, which never show a value: it may be a password.

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
        found = DatabrokerAddress.parse(str(uri))
        if found is None or found.scheme not in ("mongodb", "mongodb+srv") or not found.hosts:
            raise ValueError(
                f"the uri of {where}.config is no MongoDB URI (what it is is not shown: it may hold a password)"
            )
        address = found
    else:
        address = DatabrokerAddress("mongodb", _hosts(host, config.get("port")), "", "", *_who(config))
    return replace(address, path=quote(database), options=_options(address, config.get("authsource")))


def _hosts(host: Any, port: Any) -> str:
    hosts = [str(one) for one in host] if isinstance(host, (list, tuple)) else str(host or "localhost").split(",")
    return ",".join(one if ":" in one or port is None else f"{one}:{port}" for one in hosts)


def _who(config: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """User and password; databroker put them into its URI as they are."""
    if "mongo_user" not in config or "mongo_pwd" not in config:
        return None, None
    # So they may be percent-encoded already: `%` and `+` stay, and what no URI can have is encoded.
    return quote(str(config["mongo_user"]), safe="%+"), quote(str(config["mongo_pwd"]), safe="%+")


def _options(address: DatabrokerAddress, source: Any) -> str:
    """The options, with the database that has the user: without ``authSource`` MongoDB takes the one in the URI."""
    if source:
        return "&".join(filter(None, (address.options, f"authSource={quote(str(source))}")))
    if address.user is None or "authsource=" in address.options.lower() or OWN_SOURCE.search(address.options):
        return address.options
    # Of the specification of connection strings: PLAIN (LDAP) has its users outside, others in `admin`.
    plain = "authmechanism=plain" in address.options.lower()
    source = address.path or ("$external" if plain else "admin")
    return "&".join(filter(None, (address.options, f"authSource={source}")))
