"""A proxy before a server of objects, which counts requests and bytes, and answers some of them badly."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.servers.s3 import Buckets

ANSWERS: Final = {
    "slow down": (503, "SlowDown", "Please reduce your request rate."),
    "too many": (429, "TooManyRequests", "Too many requests."),
    "broken": (500, "InternalError", "We encountered an internal error."),
    "expired": (400, "ExpiredToken", "The provided token has expired."),
    "denied": (403, "AccessDenied", "Access Denied."),
    "skewed": (403, "RequestTimeTooSkewed", "The difference between the request time and the server's is too large."),
    "elsewhere": (400, "AuthorizationHeaderMalformed", "The region 'us-east-1' is wrong; expecting 'eu-central-1'."),
}

Fault = Literal[
    "slow down", "too many", "broken", "expired", "denied", "skewed", "elsewhere", "drop", "lose the answer"
]


class Request(NamedTuple):
    """One request as it came; a listing has the method LIST."""

    method: str
    path: str
    received: int  # bytes of the answer's body
    sent: int = 0  # bytes of its own


@dataclass
class Proxy:
    """What came through, and what is to go wrong."""

    endpoint: str
    upstream: str
    requests: list[Request] = field(default_factory=list)
    faults: list[tuple[Fault, str]] = field(default_factory=list)  # each for the next request of a method, once
    delay: float = 0.0  # seconds before each answer
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self) -> None:
        """Forget what came, and let everything go well."""
        with self.lock:
            self.requests.clear()
            self.faults.clear()
            self.delay = 0.0

    def fail(self, fault: Fault, method: str, times: int = 1) -> None:
        """Let the next requests of a method go wrong."""
        self.faults += [(fault, method)] * times

    def next_fault(self, method: str) -> Fault | None:
        with self.lock:
            for number, (fault, of) in enumerate(self.faults):
                if of == method:
                    del self.faults[number]
                    return fault
        return None

    def count(self, method: str) -> int:
        return sum(request.method == method for request in self.requests)

    @property
    def sent(self) -> int:
        return sum(request.sent for request in self.requests)

    @property
    def received(self) -> int:
        return sum(request.received for request in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    proxy: Proxy
    _connection: http.client.HTTPConnection | None = None

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()
        if self._connection is not None:
            self._connection.close()

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        listing = self.command == "GET" and ("list-type=" in self.path or "comp=list" in self.path)
        method = "LIST" if listing else self.command
        fault = self.proxy.next_fault(method)
        threading.Event().wait(self.proxy.delay)
        if fault in ANSWERS:
            self._note(method, 0)
            self._refuse(*ANSWERS[fault])
        elif fault == "drop":
            self._note(method, 0)
            self.close_connection = True
        else:
            self._answer(method, body, lost=fault == "lose the answer")

    def _note(self, method: str, size: int, sent: int = 0) -> None:
        with self.proxy.lock:
            self.proxy.requests.append(Request(method, self.path, size, sent))

    def _refuse(self, status: int, code: str, message: str) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _answer(self, method: str, body: bytes, *, lost: bool) -> None:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(urlsplit(self.proxy.upstream).netloc, timeout=60)
        sent = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
        self._connection.request(self.command, self.path, body or None, sent)
        answer = self._connection.getresponse()
        data = answer.read()
        self._note(method, len(data), len(body))
        if lost:
            self.close_connection = True
            return
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        if length is not None and answer.status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward  # noqa: N815  # names of http.server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away in the middle of an answer, as they may."""


@pytest.fixture(scope="session")
def proxied(buckets: Buckets) -> Iterator[Proxy]:
    """Give a proxy before the server of S3; `proxy` gives it reset."""
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}", buckets.endpoint)
    handler.proxy = proxy  # type: ignore[attr-defined]  # of the class just made
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield proxy
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def proxy(proxied: Proxy) -> Iterator[Proxy]:
    """Give a proxy that has seen nothing yet."""
    proxied.reset()
    yield proxied
    proxied.reset()
