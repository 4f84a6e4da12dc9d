"""Secrets in URLs, options and errors: what of them may be shown, and where they are instead of in pickles."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self
from urllib.parse import quote, quote_plus, unquote, unquote_plus

__all__ = ["Secrets", "ServerURL", "names_secret", "shown", "without_secrets"]

URL: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?:(?P<who>[^/]*)@)?(?P<hosts>[^/?@]*)(?:/(?P<path>[^?@]*))?"
    r"(?:\?(?P<options>[^@]*))?"
)
ODD: Final = re.compile("[;#]")
USER: Final = re.compile(r"://(?:[^/?#\s]*|[^/?#\s:@\[]*:(?!\d*[/?#])[^\s'\"]*)@")
"""User and password. There / ? and # should be percent-encoded, and are hidden all the same: no port has them."""
QUERY: Final = re.compile(r"([?&;#][\w.~%-]+)=[^&#;\s'\")\]]+")
BARE: Final = re.compile(r"(?<=[?&#])[^\s'\")\]&#;?*/=\[]{8,}(?=$|[\s'\")\]&#;,])")
"""What has no name: a signature, or the end of a pattern such as ``run_?234567.jsonl``."""
ENDING: Final = re.compile(r"\.\w{1,8}$")
SECRET: Final = re.compile(
    r"(?i)pass(word|wd|phrase|code)|secret|token|credential|authorization|cookie|connection_string|key(_?id)?$"
    r"|(?:^|[^a-z])(?:auth$|(?:bearer|jwt|pass|pat|pwd?|sas|sig|signature)(?:$|[^a-z]))"
)
CAMEL: Final = re.compile("(?<=[a-z0-9])(?=[A-Z])")
VALUE: Final = re.compile(r"(?i)\s*(?:basic|bearer|digest|negotiate|token)\s+\S|eyJ[\w-]+\.[\w-]+\.")
"""What is a secret whatever its name: headers of authorization, and JSON web tokens."""
SHORT: Final = 4  # characters of a secret that may be part of any word
_held: dict[str, Secrets] = {}
"""By what is shown of an address; of this process and those forked from it."""


def shown(text: str) -> str:
    """A URL, or a text with URLs, without the users, passwords and signatures in them.

    Examples
    --------
    >>> shown("https://user:p@ss@host/x.jsonl?sig=abc&se=2026"), shown("s3://bucket/run_?.jsonl")
    ('https://host/x.jsonl?sig=...&se=...', 's3://bucket/run_?.jsonl')
    >>> shown("https://host/x.jsonl;jwt=abc#pat=def"), shown("https://host/x.jsonl?c2lnbmF0dXJl")
    ('https://host/x.jsonl;jwt=...#pat=...', 'https://host/x.jsonl?...')
    """
    if "://" not in text:
        return text
    without = QUERY.sub(r"\1=...", USER.sub("://", text))
    return BARE.sub(lambda found: found[0] if ENDING.search(found[0]) else "...", without)


def names_secret(name: str) -> bool:
    """Whether an option of this name holds a secret, as far as its name says.

    Examples
    --------
    >>> [name for name in ("db_pwd", "userPat", "X-JWT", "path", "authSource", "api_key") if names_secret(name)]
    ['db_pwd', 'userPat', 'X-JWT', 'api_key']
    """
    return SECRET.search(CAMEL.sub("_", unquote_plus(name))) is not None


def _is_secret(name: str, value: Any) -> bool:
    return names_secret(name) or (isinstance(value, str) and VALUE.match(value) is not None)


def without_secrets(value: Any) -> Any:
    """An argument without what is secret in it: URLs as `shown`, options that are secrets by their names left out.

    Examples
    --------
    >>> without_secrets({"key": "me", "secret": "hunter2", "client_kwargs": {"endpoint_url": "https://s3.example"}})
    {'client_kwargs': {'endpoint_url': 'https://s3.example'}}
    >>> without_secrets(["https://user:hunter2@host/runs", "/data"])
    ['https://host/runs', '/data']
    """
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {name: without_secrets(item) for name, item in value.items() if not _is_secret(str(name), item)}
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    if isinstance(value, tuple):
        return tuple(map(without_secrets, value))
    return value


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a URL holds that is to be shown nowhere.

    Attributes
    ----------
    password : str or None
        As it stands in a URL, percent-encoded.
    options : str
        ``name=value&name=value``, as in a URL.

    Examples
    --------
    >>> secrets = Secrets("p%40ss", "sslpassword=hunter2")
    >>> secrets
    Secrets()
    >>> secrets.hide("user 'me' has not the password p@ss, hunter2 neither")
    "user 'me' has not the password ..., ... neither"
    """

    password: str | None = field(default=None, repr=False)
    options: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return self.password is not None or bool(self.options)

    def __reduce__(self) -> Any:
        raise TypeError("secrets are not pickled: pickle what may be shown, which Secrets.of() takes")

    def remember(self, shown: str) -> None:
        """Hold these, if there are any, for the address of which so much may be shown."""
        if self:
            _held[shown] = self

    @classmethod
    def of(cls, shown: str) -> Secrets:
        """What this process was given last of an address, or nothing."""
        return _held.get(shown, cls())

    def hide(self, text: str) -> str:
        """A text with dots for every secret in it, encoded or not."""
        # The longest first, for of alternatives the first that fits is taken, and would leave the rest of a longer one.
        forms = sorted({form for secret in self._values() for form in _forms(secret)}, key=len, reverse=True)
        return re.sub("|".join(map(_pattern, forms)), "...", text) if forms else text

    def are_in(self, error: BaseException | None) -> bool:
        """Whether the traceback of an error would show any."""
        while error is not None:
            texts = (str(error), repr(error), *getattr(error, "__notes__", ()))
            if any(self.hide(text) != text for text in texts):
                return True
            # The chain that a traceback prints.
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return False

    def _values(self) -> Iterator[str]:
        if self.password:
            yield self.password
        for option in filter(None, self.options.split("&")):
            _, equals, value = option.partition("=")
            value = value if equals else option  # a signature has no name
            # A value may be a list of NAME:secret, as in MongoDB's authMechanismProperties, or hold another option.
            inner = (re.split("[:=]", part, maxsplit=1)[1:] for part in re.split("[,;#]", value))
            yield from filter(None, (value, *(secret for each in inner for secret in each)))


def _forms(secret: str) -> Iterator[str]:
    plain = unquote_plus(secret)
    for form in (secret, unquote(secret), plain, quote(plain), quote(plain, safe=""), quote_plus(plain)):
        yield form
        # As messages quote it; and with percent codes in lower case, which RFC 3986 takes for the same.
        yield repr(form)[1:-1]
        yield re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), form)


def _pattern(form: str) -> str:
    """How a form is found: a short one only as a word, or dots in every other word would spell it."""
    return rf"(?<![^\W_]){re.escape(form)}(?![^\W_])" if len(form) < SHORT else re.escape(form)


@dataclass(frozen=True, slots=True)
class ServerURL:
    """A URL of a server taken apart, each part as it stands in there, percent-encoded.

    Attributes
    ----------
    scheme, hosts, path : str
        Hosts with their ports; the path, or name of a database, without its slash.
    options : str
        ``name=value&name=value``.
    user, password : str or None

    Examples
    --------
    >>> url = ServerURL.parse("mongodb://me:p%40ss@db1,[::1]:27018/runs?replicaSet=x&proxyPassword=hunter2")
    >>> url.hosts, url.path, url.user
    ('db1,[::1]:27018', 'runs', 'me')
    >>> bare, secrets = url.split(lambda name: name == "replicaSet")
    >>> bare.uri, secrets.options
    ('mongodb://me@db1,[::1]:27018/runs?replicaSet=x', 'proxyPassword=hunter2')
    """

    scheme: str
    hosts: str
    path: str = ""
    options: str = field(default="", repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Take a URL apart; None for what is none, which nothing of it may be shown of."""
        found = URL.fullmatch(text)
        if found is None or ODD.search(f"{found['hosts']}{found['path']}"):
            return None
        user, colon, password = (found["who"] or "").partition(":")
        parts = found["scheme"], found["hosts"], found["path"] or "", found["options"] or ""
        return cls(*parts, user or None, password if colon else None)

    @property
    def uri(self) -> str:
        """The whole URL; not to be shown where there are `Secrets` in it."""
        who = "" if self.user is None and self.password is None else f"{self.user or ''}"
        who += "" if self.password is None else f":{self.password}"
        options = f"?{self.options}" if self.options else ""
        return f"{self.scheme}://{who}{'@' if who else ''}{self.hosts}/{self.path}{options}"

    def split(self, is_harmless: Callable[[str], bool], separators: str = "&") -> tuple[Self, Secrets]:
        """The URL without secrets, and those: the password, and options but those whose names are harmless."""
        options = list(filter(None, re.split(f"[{separators}]", self.options)))
        # With ; or # in it, a value may be that of another option: `sslmode=require;password=...`.
        harmless = [one for one in options if is_harmless(unquote_plus(one.partition("=")[0])) and not ODD.search(one)]
        secret = [one for one in options if one not in harmless]
        bare = replace(self, password=None, options="&".join(harmless))
        return bare, Secrets(self.password, "&".join(secret))

    def with_secrets(self, secrets: Secrets) -> Self:
        """The URL with secrets that were split from it."""
        options = "&".join(filter(None, (self.options, secrets.options)))
        return replace(self, password=secrets.password, options=options)
