"""Why a server cannot be asked, or refuses, in words, and what can be done."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from intake_bluesky.objects.options import StoreSettings
from intake_bluesky.runtime.secrets import shown

__all__ = ["Doing", "Failure", "chain_of", "check_reachable", "failure_of", "refusal", "right_to", "server_of"]

Doing: TypeAlias = Literal["list", "get", "put", "delete"]

RIGHTS: Final[dict[Doing, str]] = {
    "list": "s3:ListBucket", "get": "s3:GetObject", "put": "s3:PutObject", "delete": "s3:DeleteObject",
}  # fmt: skip
PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy")
PATIENCE: Final = 10.0
"""Seconds for the first connection."""


class Failure(NamedTuple):
    """One way in which a server cannot be asked.

    Attributes
    ----------
    kind : type
        The error of Python.
    pattern : re.Pattern
        Found in what obstore tells of its errors, or in the errors that led to one of Python.
    why : str
    advice : str
    """

    kind: type[OSError]
    pattern: re.Pattern[str]
    why: str
    advice: str

    def error(self, where: str, server: str) -> OSError:
        """The error about something that was asked of a server."""
        return self.kind(f"{where}: {server} {self.why}; {self.advice}")


FAILURES: Final = (
    Failure(
        ConnectionError, re.compile(r"kind: ConnectionRefused|ConnectionRefusedError"), "refuses the connection",
        "check the address and the port in `endpoint_url`, and whether the server runs",
    ),
    Failure(
        ConnectionError, re.compile(r'"dns error"|gaierror'), "is the name of no server",
        "check its spelling in `endpoint_url`, and whether this machine is in the network that knows it",
    ),
    Failure(
        ConnectionError, re.compile(r"InvalidCertificate|CERTIFICATE_VERIFY_FAILED"),
        "has a certificate that this machine does not trust",
        "name the file of the certificates to trust in the variable SSL_CERT_FILE, for fsspec in AWS_CA_BUNDLE; "
        "`client_kwargs: {verify: false}` trusts anybody",
    ),
    Failure(
        ConnectionError, re.compile(r"InvalidMessage\(|WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE"), "speaks no TLS",
        "begin `endpoint_url` with http://, or give the port for https://",
    ),
    Failure(
        ConnectionError,
        re.compile(r"(?i)plain HTTP request was sent to HTTPS port|sent an HTTP request to an HTTPS server"),
        "speaks TLS alone", "begin `endpoint_url` with https://",
    ),
    Failure(
        TimeoutError, re.compile(r"kind: (?:Timeout|TimedOut)|source: TimedOut|TimeoutError"),
        "does not answer in time",
        "check the address, the network and its firewalls; `config_kwargs: {connect_timeout: 10, read_timeout: 300}` "
        "gives it more time, in seconds",
    ),
    Failure(
        ConnectionError, re.compile(r"kind: (?:ConnectionReset|UnexpectedEof|BrokenPipe|Interrupted)"
                                    r"|IncompleteMessage|ConnectionResetError|ServerDisconnected"),
        "breaks the connection off",
        "where `endpoint_url` begins with http://, the server may want https://",
    ),
)  # fmt: skip
REGION: Final = "the bucket is in another region: name that, `client_kwargs: {region_name: eu-central-1}`"
REFUSALS: Final = {
    "SignatureDoesNotMatch": "the secret does not belong to the key: check both",
    "InvalidAccessKeyId": "the server does not know this key: check it, and whether it is one for this server",
    "RequestTimeTooSkewed": "the clock of this machine is wrong: have it set by a time server",
    "AuthorizationHeaderMalformed": REGION,
    "PermanentRedirect": REGION,
    "AuthenticationFailed": "check the name of the account, its key or token, and the clock of this machine",
}
"""What the codes of refused requests mean."""
REDIRECTED: Final = re.compile("Received redirect without LOCATION")


def failure_of(told: str) -> Failure | None:
    """The failure that a text tells of; None where it is another.

    Examples
    --------
    >>> failure_of("ClientConnectorDNSError: ... gaierror: Name or service not known").why
    'is the name of no server'
    """
    return next((failure for failure in FAILURES if failure.pattern.search(told)), None)


def refusal(code: str, told: str) -> str:
    """What a refusal by this code means, and what can be done; empty where it is about rights, or unknown.

    Examples
    --------
    >>> refusal("RequestTimeTooSkewed", "")
    'the clock of this machine is wrong: have it set by a time server'
    """
    return REFUSALS.get(code, REGION if REDIRECTED.search(told) else "")


def right_to(doing: Doing, scheme: str) -> str:
    """The right that something takes, as the owner of a bucket has to give it.

    Examples
    --------
    >>> right_to("put", "s3"), right_to("list", "gs")
    ('the right to put objects there is missing (s3:PutObject)', 'the right to list objects there is missing')
    """
    name = f" ({RIGHTS[doing]})" if scheme in ("s3", "s3a") else ""
    return f"the right to {doing} objects there is missing{name}"


def chain_of(error: BaseException | None) -> Iterator[str]:
    """Tell an error and those that led to it, the last first."""
    while error is not None:
        yield f"{type(error).__name__}: {error}"
        error = error.__cause__ or error.__context__


def server_of(kind: str, settings: StoreSettings) -> str:
    """The address of the server of some objects, without secrets.

    Examples
    --------
    >>> server_of("gs", StoreSettings()), server_of("s3", StoreSettings({"region": "eu-west-1"}))
    ('https://storage.googleapis.com', 'https://s3.eu-west-1.amazonaws.com')
    """
    config = settings.config
    known = {
        "s3": f"https://s3.{config.get('region')}.amazonaws.com",
        "gs": "https://storage.googleapis.com",
        "az": f"https://{config.get('account_name') or os.environ.get('AZURE_STORAGE_ACCOUNT_NAME')}"
        ".blob.core.windows.net",
    }
    return shown(str(config.get("endpoint") or config.get("base_url") or known[kind]))


def check_reachable(server: str, where: str, client: dict[str, Any]) -> None:
    """Connect to a server once, so that one that is not there is told at once: requests are tried again for long.

    Raises
    ------
    OSError
    """
    parts = urlsplit(server)
    if not parts.hostname or _has_proxy():  # which alone may reach it
        return
    given = client.get("connect_timeout")
    patience = given.total_seconds() if given is not None else PATIENCE
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        socket.create_connection((parts.hostname, port), timeout=patience).close()
    except OSError as error:
        failure = failure_of(f"{type(error).__name__}: {error}")
        if failure is None:
            raise OSError(f"{where}: {server} cannot be reached ({error})") from error
        raise failure.error(where, server) from None


def _has_proxy() -> bool:
    return any(os.environ.get(name) or os.environ.get(name.upper()) for name in PROXIES)
