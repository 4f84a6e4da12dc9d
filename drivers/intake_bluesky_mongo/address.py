"""Where a database is, without the secrets that a URI holds."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote

from intake_bluesky.errors import StoreUnavailable, UntrustedName
from intake_bluesky.runtime.secrets import Secrets, ServerURL
from intake_bluesky.runtime.trust import TRUST, is_here

PASSWORD: Final = "MONGO_PASSWORD"  # noqa: S105  # the name of a variable
"""The environment variable with the password of an address that was unpickled in another process."""
OPTIONS: Final = "MONGO_OPTIONS"
"""The one with its secret options."""

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
PERSONAL: Final = re.compile(
    r"(?i)tls(?:cafile|certificatekeyfile|crlfile)=|authmechanism=(?!(?:DEFAULT|SCRAM-SHA-(?:1|256)|PLAIN)$)|proxy|srvservice"
)
"""Options of what belongs to a user: files, tickets, tokens, keys of a cloud."""
HOSTS: Final = re.compile(r"(?:(?:\[[^\]]+\]|[^:,\[\]]+)(?::\d+)?)(?:,(?:\[[^\]]+\]|[^:,\[\]]+)(?::\d+)?)*")
SCHEMES: Final = frozenset({"mongodb", "mongodb+srv"})
PASSWORDLESS: Final = re.compile(r"(?i)authmechanism=(gssapi|mongodb-|plain)")
OWN_SOURCE: Final = re.compile(r"(?i)authsource=|authmechanism=(gssapi|mongodb-)")


@dataclass(frozen=True, slots=True)
class MongoAddress:
    """A database of a server: what may be shown of its URI, and apart from that its secrets.

    A pickle holds no secret. Unpickled in a process that has not met the address, its password is that of the
    environment variable ``MONGO_PASSWORD``, and its secret options are those of ``MONGO_OPTIONS``.

    Attributes
    ----------
    url : ServerURL
        Without secrets.
    hidden : tuple of str
        The names of options that are secret.
    elsewhere : bool
        Whether a catalog from elsewhere names it: then the environment of this process holds no secrets for it.

    Examples
    --------
    >>> address = MongoAddress.parse("mongodb://me:hunter2@db1,db2/runs?replicaSet=x", "metadatastore_db")
    >>> address
    MongoAddress('mongodb://me@db1,db2/runs?replicaSet=x')
    >>> import pickle
    >>> b"hunter2" in pickle.dumps(address)
    False
    """

    url: ServerURL
    hidden: tuple[str, ...] = ()
    elsewhere: bool = False

    @classmethod
    def parse(cls, uri: str, argument: str, *, elsewhere: bool = False) -> MongoAddress:
        """Read a URI; `argument` names it in messages, which never show the URI.

        Raises
        ------
        ValueError
        """
        url = ServerURL.parse(uri)
        # Without a host, "user:password" looks like one, with a port: it is not shown as such.
        if url is None or url.scheme not in SCHEMES or not HOSTS.fullmatch(url.hosts):
            raise ValueError(
                f"{argument} is no MongoDB URI such as mongodb://host:27017/database (what it is is not shown: it may "
                "hold a password); in a password / : @ and the like are written percent-encoded"
            )
        if not url.path:
            raise ValueError(
                f"{argument} names no database: mongodb://{url.hosts}/DATABASE, with the options behind it"
            )
        bare, secrets = url.split(lambda name: SHOWN.fullmatch(name) is not None, separators="&;")
        hidden = tuple(one.partition("=")[0] for one in secrets.options.split("&") if one)
        address = cls(bare, hidden, elsewhere)
        secrets.remember(address._held_as)
        return address

    @classmethod
    def from_elsewhere(cls, uri: str, argument: str) -> MongoAddress:
        """Read a URI of a catalog from elsewhere, whose server is sent nothing of this user.

        Raises
        ------
        UntrustedName
            For a server on this machine, a user without a password, and options that name files or other credentials.
        ValueError
        """
        address = cls.parse(uri, argument, elsewhere=True)
        if "%2f" in address.url.hosts.lower():
            raise UntrustedName(f"a catalog from elsewhere names a server on this machine as {argument}. {TRUST}")
        options = [one for one in re.split("[&;]", address.url.options) if one]
        odd = [*address.hidden, *(one.partition("=")[0] for one in options if PERSONAL.match(unquote(one)))]
        if odd:
            raise UntrustedName(
                f"a catalog from elsewhere gives {argument} the options {', '.join(odd)}, which may be this user's "
                f"credentials. {TRUST}"
            )
        if address.url.user is not None and not Secrets.of(address._held_as).password:
            raise UntrustedName(f"a catalog from elsewhere gives {argument} a user and no password. {TRUST}")
        return address

    @property
    def _held_as(self) -> str:
        return f"{self.shown} of a catalog from elsewhere" if self.elsewhere else self.shown

    @property
    def database(self) -> str:
        """The name of the database."""
        return self.url.path

    @property
    def remote(self) -> bool:
        """Whether one of its servers is on another machine."""
        hosts = [unquote(re.sub(r":\d+$", "", host)) for host in self.url.hosts.split(",")]
        return self.url.scheme == "mongodb+srv" or not all(map(is_here, hosts))

    @property
    def shown(self) -> str:
        """The URI without secrets."""
        return self.url.uri

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shown!r})"

    @property
    def server(self) -> str:
        """The URI of the server with all that opens it, for nobody to see."""
        secrets = self.secrets
        if self.url.user is not None and secrets.password is None and not PASSWORDLESS.search(self.url.options):
            raise self._lacks(f"the password of {self.url.user!r}", PASSWORD, "percent-encoded")
        if self.hidden and not secrets.options:
            raise self._lacks(f"the options {', '.join(self.hidden)}", OPTIONS, "name=value&...")
        url = self.url.with_secrets(secrets)
        if url.user is not None and not OWN_SOURCE.search(url.options):
            url = replace(url, options="&".join(filter(None, (url.options, f"authSource={self.database}"))))
        return replace(url, path="").uri

    @property
    def secrets(self) -> Secrets:
        """Those that this process was given last with the address, or has in its environment."""
        if self.elsewhere:
            return Secrets.of(self._held_as)
        password = os.environ.get(PASSWORD) if self.url.user is not None else None
        return Secrets.of(self._held_as) or Secrets(password, os.environ.get(OPTIONS, "") if self.hidden else "")

    def _lacks(self, what: str, variable: str, form: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.shown} needs {what}, which no pickle holds: set the environment variable {variable} ({form}, as in "
            "a URI) where this runs, as on the workers of a cluster"
        )
