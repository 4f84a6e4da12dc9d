"""Addresses that a catalog from elsewhere names: libpq sends no server of those what it finds of this user's."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from intake_bluesky.errors import UntrustedName
from intake_bluesky.runtime.secrets import ServerURL
from intake_bluesky.runtime.trust import TRUST

__all__ = ["NOTHING", "OWN", "without_credentials"]

HARMLESS: Final = re.compile(
    "application_name|channel_binding|client_encoding|connect_timeout|keepalives(_idle|_interval|_count)?|"
    "load_balance_hosts|password|sslmode|target_session_attrs|tcp_user_timeout"
)
NOTHING: Final = "passfile=%2Fdev%2Fnull%2Fnone&sslcertmode=disable&gssencmode=disable"
"""Options against ~/.pgpass, which is looked up by host; the certificate in ~/.postgresql; and Kerberos tickets."""
OWN: Final = "require_auth=password,md5,scram-sha-256,none"
"""Where the uri has a password."""


def without_credentials(uri: str) -> str:
    """The URL of a server, with options by which none of this user's credentials are sent there.

    Raises
    ------
    UntrustedName
        For a database on this machine, and for options that name files, services or other hosts.

    Examples
    --------
    >>> without_credentials("postgresql://reader@db.example/runs").partition("?")[2].split("&")[-1]
    'require_auth=none'
    """
    url = ServerURL.parse(uri)
    if url is None or not url.scheme.startswith("postgres"):
        raise UntrustedName(f"a catalog from elsewhere names a database that is on no server. {TRUST}")
    hosts = [unquote(host) for host in url.hosts.split(",")]
    if not all(hosts) or any(host.startswith(("/", "@")) for host in hosts):
        raise UntrustedName(f"a catalog from elsewhere names a database on this machine. {TRUST}")
    if url.user is None:
        raise UntrustedName("a catalog from elsewhere names no user of its database: the name of yours is not sent")
    names = [unquote(option.partition("=")[0]) for option in url.options.split("&") if option]
    odd = [name for name in names if not HARMLESS.fullmatch(name)]
    if odd:
        raise UntrustedName(f"a catalog from elsewhere gives its database the options {', '.join(odd)}. {TRUST}")
    has_own = bool(url.password) or "password" in names
    options = "&".join(filter(None, (url.options, NOTHING, OWN if has_own else "require_auth=none")))
    return f"{uri.partition('?')[0]}?{options}"
