"""Where a database is, without the secrets that a URI holds."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, unquote_plus

from intake_bluesky.errors import StoreUnavailable

__all__ = ["OPTIONS", "PASSWORD", "Address"]

PASSWORD: Final = "MONGO_PASSWORD"  # noqa: S105  # the name of a variable
"""The environment variable with the password of an address that was unpickled in another process."""
OPTIONS: Final = "MONGO_OPTIONS"
"""The one with its secret options."""

URI: Final = re.compile(
    r"(?P<scheme>mongodb(?:\+srv)?)://(?:(?P<who>[^/]*)@)?(?P<hosts>[^/?@]+)(?:/(?P<database>[^?@]*))?"
    r"(?:\?(?P<options>[^@]*))?"
)
SHOWN: Final = re.compile(
    "(?i)appname|authmechanism|authsource|compressors|connect|connecttimeoutms|datetime_conversion|directconnection|"
    "fsync|heartbeatfrequencyms|j|journal|tz_aware|unicode_decode_error_handler|tlsdisablecertificaterevocationcheck|"
    "loadbalanced|localthresholdms|max(?:connecting|idletimems|poolsize|stalenessseconds)|minpoolsize|"
    "proxy(?:host|port|username)|readconcernlevel|readpreference(?:tags)?|replicaset|retry(?:reads|writes)|"
    "servermonitoringmode|serverselectiontimeoutms|sockettimeoutms|srv(?:maxhosts|servicename)|ssl|timeoutms|"
    "tls(?:allowinvalidcertificates|allowinvalidhostnames|cafile|certificatekeyfile|crlfile|insecure)?|"
    "tlsdisableocspendpointcheck|uuidrepresentation|w|waitqueuetimeoutms|wtimeoutms|zlibcompressionlevel"
)
"""Options of a URI that hold no secret; any other may."""
_secrets: dict[str, tuple[str | None, str]] = {}
"""Password and secret options by what is shown of an address; of this process and those forked from it."""


@dataclass(frozen=True, slots=True)
class Address:
    """A database of a server: what may be shown of its URI, and apart from that its secrets.

    A pickle holds no secret. Unpickled in a process that has not met the address, its password is that of the
    environment variable ``MONGO_PASSWORD``, and its secret options are those of ``MONGO_OPTIONS``.

    Attributes
    ----------
    scheme, hosts, database : str
    options : str
        Of the URI, without those that are secret.
    user : str or None
        As it stands in a URI.
    hidden : tuple of str
        The names of options that are secret.

    Examples
    --------
    >>> address = Address.parse("mongodb://me:secret@db1,db2/runs?replicaSet=x", "metadatastore_db")
    >>> address
    Address('mongodb://me@db1,db2/runs?replicaSet=x')
    >>> import pickle
    >>> b"secret" in pickle.dumps(address)
    False
    """

    scheme: str
    hosts: str
    database: str
    options: str = ""
    user: str | None = None
    hidden: tuple[str, ...] = field(default=(), repr=False)
    _password: str | None = field(default=None, repr=False, compare=False)
    _secret_options: str = field(default="", repr=False, compare=False)

    @classmethod
    def parse(cls, uri: str, argument: str) -> Address:
        """Read a URI; `argument` names it in messages, which never show the URI.

        Raises
        ------
        ValueError
        """
        found = URI.fullmatch(uri)
        if found is None:
            raise ValueError(
                f"{argument} is no MongoDB URI such as mongodb://host:27017/database (what it is is not shown: it may "
                "hold a password); in a password / : @ and the like are written percent-encoded"
            )
        if not found["database"]:
            raise ValueError(
                f"{argument} names no database: mongodb://{found['hosts']}/DATABASE, with the options behind it"
            )
        user, colon, password = (found["who"] or "").partition(":")
        options = list(filter(None, re.split("[&;]", found["options"] or "")))
        hidden = [one for one in options if not SHOWN.fullmatch(one.partition("=")[0])]
        address = cls(
            found["scheme"], found["hosts"], found["database"], "&".join(one for one in options if one not in hidden),
            user or None, tuple(one.partition("=")[0] for one in hidden), password if colon else None, "&".join(hidden),
        )  # fmt: skip
        if colon or hidden:
            _secrets[address.shown] = password if colon else None, "&".join(hidden)
        return address

    @property
    def shown(self) -> str:
        """The URI without secrets."""
        who = "" if self.user is None else f"{self.user}@"
        return f"{self.scheme}://{who}{self.hosts}/{self.database}{'?' if self.options else ''}{self.options}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown!r})"

    @property
    def server(self) -> str:
        """The URI of the server with all that opens it, for nobody to see."""
        password = self._secret()
        who = "" if self.user is None else self.user if password is None else f"{self.user}:{password}"
        options = "&".join(filter(None, (self.options, self._hidden_options())))
        if self.user is not None and not re.search(r"(?i)authsource=|authmechanism=(gssapi|mongodb-)", options):
            options = "&".join(filter(None, (options, f"authSource={self.database}")))
        return f"{self.scheme}://{who + '@' if who else ''}{self.hosts}/{'?' if options else ''}{options}"

    def _secret(self) -> str | None:
        if self.user is None or self._password is not None:
            return self._password
        known = _secrets[self.shown][0] if self.shown in _secrets else os.environ.get(PASSWORD)
        if known is None and not re.search(r"(?i)authmechanism=(gssapi|mongodb-|plain)", self.options):
            raise StoreUnavailable(
                f"{self.shown} needs the password of {self.user!r}, which no pickle holds: set the environment "
                f"variable {PASSWORD} (percent-encoded, as in a URI) where this runs, as on the workers of a cluster"
            )
        return known

    def _hidden_options(self) -> str:
        if self._secret_options or not self.hidden:
            return self._secret_options
        known = _secrets[self.shown][1] if self.shown in _secrets else os.environ.get(OPTIONS)
        if known is None:
            raise StoreUnavailable(
                f"{self.shown} needs the options {', '.join(self.hidden)}, which no pickle holds: set the environment "
                f"variable {OPTIONS} (name=value&..., as in a URI) where this runs, as on the workers of a cluster"
            )
        return known

    def without_secrets(self, text: str) -> str:
        """Take this address's secrets out of a text."""
        password, options = _secrets.get(self.shown, (self._password, self._secret_options))
        values = [one.partition("=")[2] for one in options.split("&")]
        inner = [part.partition(":")[2] for value in values for part in re.split("[,;]", value)]
        for secret in sorted(filter(None, (password, options, *values, *inner)), key=len, reverse=True):
            for form in {secret, unquote_plus(secret), quote(unquote_plus(secret))}:
                text = text.replace(form, "...")
        return text

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.scheme, self.hosts, self.database, self.options, self.user, self.hidden)
