"""Which catalogs may name Python code and local folders: this machine's, and those that the user trusts."""

from __future__ import annotations

import importlib
import os
import posixpath
from collections.abc import Mapping
from typing import Any, Final

from intake_bluesky.errors import PluginError, UntrustedName
from intake_bluesky.runtime.secrets import shown

__all__ = [
    "SERVERS", "TRUST", "check_remote", "import_dotted", "is_here", "is_local", "origin_of", "resolve_against",
    "without_credentials",
]  # fmt: skip

LOCAL_SCHEMES: Final = frozenset({"file", "local"})
SERVERS: Final = frozenset({"s3", "s3a", "gs", "gcs", "http", "https", "memory"})
"""Schemes that a catalog from elsewhere may name: no local file is behind them, and no credentials need be sent."""
S3_OWN: Final = ("key", "secret")
S3_AMBIENT: Final = frozenset({"anon", "profile", "session"})
HTTP_SENT: Final = ("auth", "cookies", "params", "proxy", "proxy_auth", "proxy_headers")
"""Arguments by which the configuration of fsspec may send something to every web server."""
S3_SETTINGS: Final = frozenset({"s3", "retries", "connect_timeout", "read_timeout", "max_pool_connections"})
"""Of botocore's, those that name no certificate, proxy or other file of this machine."""
TRUST: Final = (
    "Copy the YAML here, or open the entry as cat[name](trust=True), or the file as open_catalog(..., trust=True), if "
    "you trust its authors"
)


def is_local(place: str) -> bool:
    """Whether a path or URL lies on this machine's file systems, or a part of a chained URL does.

    Examples
    --------
    >>> is_local("/data/catalogs/"), is_local("file:///data/"), is_local("simplecache::file:///data")
    (True, True, True)
    >>> is_local("s3://bucket/"), is_local("simplecache::s3://bucket/")
    (False, False)
    """
    *before, last = place.split("::")
    return _is_path(last) or any("/" in part and _is_path(part) for part in before)


def _is_path(place: str) -> bool:
    scheme, separator, _ = place.partition("://")
    return (not separator and not place.startswith("data:")) or scheme.lower() in LOCAL_SCHEMES


def is_here(host: str) -> bool:
    """Whether a server is on this machine: at a socket, or at the address by which a machine calls itself.

    Examples
    --------
    >>> [is_here(host) for host in ("localhost", "127.0.0.1", "[::1]", "/run/postgresql", "db.example")]
    [True, True, True, True, False]
    """
    return host.strip("[]").lower() in {"localhost", "127.0.0.1", "::1"} or host.startswith(("/", "@"))


def check_remote(place: str, purpose: str) -> str:
    """A URL that a catalog from elsewhere names, if it is one of a server.

    Raises
    ------
    UntrustedName
        When it is on this machine, or of a scheme that may lead there.

    Examples
    --------
    >>> check_remote("https://host/runs/", "its paths")
    'https://host/runs/'
    """
    scheme = place.partition("://")[0].lower()
    if is_local(place):
        raise UntrustedName(f"a catalog from elsewhere names {shown(place)!r} on this machine as {purpose}. {TRUST}")
    if "::" in place or scheme not in SERVERS:
        raise UntrustedName(
            f"a catalog from elsewhere names {shown(place)!r} as {purpose}: it may name URLs of "
            f"{', '.join(sorted(SERVERS))}, and no chained ones. {TRUST}"
        )
    return place


def origin_of(url: str) -> str:
    """Scheme and server, or bucket, of a URL.

    Examples
    --------
    >>> origin_of("https://me@host:80/runs/a.jsonl")
    'https://me@host:80'
    """
    return "/".join(url.split("/", 3)[:3])


def without_credentials(url: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options of fsspec by which none of this user's own credentials are sent, only those in the options themselves.

    The user's own are those that libraries find by themselves: environment variables, ``~/.aws``, ``~/.netrc``,
    settings of Google's tools, fsspec's configuration.

    Raises
    ------
    UntrustedName
        When it cannot be kept from sending any.

    Examples
    --------
    >>> without_credentials("s3://bucket/runs", {"client_kwargs": {"endpoint_url": "https://s3.example"}})["anon"]
    True
    >>> found = without_credentials("https://host/runs", {"client_kwargs": {"trust_env": True}})
    >>> found["headers"], found["cookies"], found["client_kwargs"]
    ({}, None, {'trust_env': False})
    """
    scheme, given = url.partition("://")[0].lower(), dict(options or {})
    check_remote(url, "the place of data")
    if scheme in ("http", "https"):
        # aiohttp looks into ~/.netrc, and for proxies, only when it is told to.
        nothing: dict[str, Any] = {"headers": {}, **dict.fromkeys(HTTP_SENT)}
        return {**nothing, **given, "client_kwargs": {**(given.get("client_kwargs") or {}), "trust_env": False}}
    if scheme in ("s3", "s3a"):
        kept = {name: value for name, value in given.items() if name not in S3_AMBIENT}
        settings = kept.get("config_kwargs") or {}
        kept.setdefault("s3_additional_kwargs", {})  # none: else a key to encrypt with is the environment's
        kept["config_kwargs"] = {name: settings[name] for name in settings if name in S3_SETTINGS}
        if all(kept.get(name) for name in S3_OWN):
            return {"token": None, **kept, "anon": False}
        return {**kept, "key": None, "secret": None, "token": None, "anon": True}
    if scheme in ("gs", "gcs"):
        kept = {name: value for name, value in given.items() if name != "session_kwargs"}  # by which aiohttp is told to
        return {**kept, "token": given["token"] if isinstance(given.get("token"), dict) else "anon"}
    return given


def import_dotted(name: str, *, purpose: str, trusted: bool) -> Any:
    """Import ``package.module.object`` (or ``package.module:object``) for a trusted catalog.

    Parameters
    ----------
    name : str
    purpose : str
        What it is wanted for, in messages.
    trusted : bool

    Raises
    ------
    UntrustedName
        When the catalog is not trusted; nothing was imported.
    PluginError
        When there is no such object.

    Examples
    --------
    >>> import_dotted("os.path.join", purpose="an example", trusted=True).__name__
    'join'
    """
    if not trusted:
        raise UntrustedName(
            f"a catalog from elsewhere names the Python object {name!r} as {purpose}: it is imported only for "
            f"catalogs of this machine. {TRUST}"
        )
    module, _, attribute = name.replace(":", ".").rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise PluginError(f"{name!r}, named as {purpose}, cannot be imported: {error}") from error


def resolve_against(folder: str | None, path: str) -> str:
    """A path as seen from a folder or URL; absolute paths and URLs as they are.

    Examples
    --------
    >>> resolve_against("/data/catalogs/", "../raw"), resolve_against("s3://bucket/catalogs", "raw")
    ('/data/raw', 's3://bucket/catalogs/raw')
    """
    path = os.path.expanduser(path)
    if not folder or "://" in path or os.path.isabs(path):
        return path
    scheme, separator, rest = folder.rpartition("://")
    if not separator:
        return os.path.normpath(os.path.join(folder, path))
    # URLs have slashes on Windows, too.
    return f"{scheme}://{posixpath.normpath(posixpath.join(rest, path))}"
