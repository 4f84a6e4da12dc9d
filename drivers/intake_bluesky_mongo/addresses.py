"""Where a database is, without the secrets that a URI holds."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote, unquote_plus

from intake_bluesky.errors import StoreUnavailable

__all__ = ["PASSWORD", "Address"]

PASSWORD: Final = "MONGO_PASSWORD"  # noqa: S105  # the name of a variable
"""The environment variable with the password of an address that was unpickled in another process."""

URI: Final = re.compile(
    r"(?P<scheme>mongodb(?:\+srv)?)://(?:(?P<who>[^/]*)@)?(?P<hosts>[^/?@]+)(?:/(?P<database>[^?@]*))?"
    r"(?:\?(?P<options>[^@]*))?"
)
SECRET: Final = re.compile(r"(?i)(?:^|&)(?P<name>[^&=]*(?:password|token|properties)[^&=]*)=(?P<value>[^&]*)")
_passwords: dict[str, str] = {}  # by address; of this process and those forked from it


@dataclass(frozen=True, slots=True)
class Address:
    """A database of a server: what may be shown of its URI, and apart from that its secrets.

    A pickle holds no secret. Unpickled in a process that has not met the address, its password is that of the
    environment variable ``MONGO_PASSWORD``.

    Attributes
    ----------
    scheme, hosts, database : str
    options : str
        Of the URI, without those that are secret.
    user : str or None
        As it stands in a URI.

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
        options = found["options"] or ""
        secret = "&".join(f"{one['name']}={one['value']}" for one in SECRET.finditer(options))
        address = cls(
            found["scheme"], found["hosts"], found["database"], SECRET.sub("", options).lstrip("&"),
            user or None, password if colon else None, secret,
        )  # fmt: skip
        if colon:
            _passwords[address.shown] = password
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
        options = "&".join(filter(None, (self.options, self._secret_options)))
        if self.user is not None and not re.search(r"(?i)authsource=|authmechanism=(gssapi|mongodb-)", options):
            options = "&".join(filter(None, (options, f"authSource={self.database}")))
        return f"{self.scheme}://{who + '@' if who else ''}{self.hosts}/{'?' if options else ''}{options}"

    def _secret(self) -> str | None:
        if self.user is None or self._password is not None:
            return self._password
        known = _passwords.get(self.shown, os.environ.get(PASSWORD))
        if known is None and not re.search(r"(?i)authmechanism=(gssapi|mongodb-|plain)", self.options):
            raise StoreUnavailable(
                f"{self.shown} needs the password of {self.user!r}, which no pickle holds: set the environment "
                f"variable {PASSWORD} (percent-encoded, as in a URI) where this runs, as on the workers of a cluster"
            )
        return known

    def without_secrets(self, text: str) -> str:
        """Take this address's secrets out of a text."""
        for secret in (self._password, _passwords.get(self.shown), self._secret_options):
            if secret:
                for form in {secret, unquote_plus(secret), quote(unquote_plus(secret))}:
                    text = text.replace(form, "...")
        return text

    def __reduce__(self) -> tuple[object, ...]:
        plain = replace(self, _password=None, _secret_options="")
        return type(self), (plain.scheme, plain.hosts, plain.database, plain.options, plain.user)
