"""What a server of objects that cannot be asked, or refuses, is told of as: why, where, and what can be done."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
import s3fs  # type: ignore[import-untyped]

from intake_bluesky.objects import objects_at
from intake_bluesky.objects.cloud import CloudObjects
from tests.servers.proxy import Proxy
from tests.servers.s3 import KEY, SECRET, Buckets

pytestmark = pytest.mark.slow

WITH_FSSPEC = {"s3_additional_kwargs": {"ContentType": "text/plain"}}
"""An option that obstore has no word for."""


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Keep connections of one test from the next."""
    yield
    s3fs.S3FileSystem.clear_instance_cache()


def failure(endpoint: str, url: str = "s3://private/runs", **options: Any) -> OSError:
    given = {"key": KEY, "secret": SECRET, "endpoint_url": endpoint, **options}
    objects, name = objects_at(url, given)
    with closing(objects), pytest.raises(OSError) as caught:  # noqa: PT011  # which is returned
        list(objects.list(name))
    assert str(given["secret"]) not in str(caught.value)
    return caught.value


def nobodys_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def answering(status: int, text: str) -> Iterator[str]:
    """Give the address of a server that answers everything alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("options", [{}, WITH_FSSPEC], ids=["obstore", "s3fs"])
def test_a_connection_that_is_refused(options: dict[str, Any]) -> None:
    endpoint = f"http://127.0.0.1:{nobodys_port()}"
    found = failure(endpoint, **options)
    assert isinstance(found, ConnectionError)
    assert f"{endpoint} refuses the connection; check the address and the port in `endpoint_url`" in str(found)
    assert "s3://private" in str(found)


def test_a_server_that_is_not_there_is_asked_once() -> None:
    # Not by `max_retries` and pauses: nothing has been sent when it is told.
    endpoint = f"http://127.0.0.1:{nobodys_port()}"
    objects, _ = objects_at("s3://private", {"key": KEY, "secret": SECRET, "endpoint_url": endpoint})
    assert isinstance(objects, CloudObjects)
    with pytest.raises(ConnectionError):
        objects._make()


@pytest.mark.parametrize("options", [{}, WITH_FSSPEC], ids=["obstore", "s3fs"])
def test_a_name_of_no_server(options: dict[str, Any]) -> None:
    found = failure("https://s3.beamline.invalid", **options)
    assert isinstance(found, ConnectionError)
    assert "https://s3.beamline.invalid is the name of no server; check its spelling" in str(found)


def test_tls_where_there_is_none(buckets: Buckets) -> None:
    found = failure(buckets.endpoint.replace("http://", "https://"))
    assert "speaks no TLS; begin `endpoint_url` with http://" in str(found)


def test_no_tls_where_there_is_some() -> None:
    # As servers answer it.
    text = "Client sent an HTTP request to an HTTPS server."
    with answering(400, text) as endpoint:
        assert "speaks TLS alone; begin `endpoint_url` with https://" in str(failure(endpoint))


@pytest.mark.parametrize(("fault", "why"), [
    ("skewed", "the clock of this machine is wrong"),
    ("elsewhere", "expecting 'eu-central-1'. (s3://private/runs"),
    ("elsewhere", "the bucket is in another region: name that, `client_kwargs: {region_name"),
    ("denied", r"the right to list objects there is missing (s3:ListBucket)"),
])  # fmt: skip
@pytest.mark.parametrize("options", [{}, WITH_FSSPEC], ids=["obstore", "s3fs"])
def test_refusals_say_what_to_do(proxy: Proxy, fault: Any, why: str, options: dict[str, Any]) -> None:
    proxy.fail(fault, "LIST", 9)
    assert why.partition(" (s3://")[0] in str(failure(proxy.endpoint, **options))


@pytest.mark.parametrize("options", [{}, WITH_FSSPEC], ids=["obstore", "s3fs"])
@pytest.mark.parametrize(("given", "why"), [
    ({"secret": "another-secret"}, "the secret does not belong to the key"),
    ({"key": "another-key"}, "the server does not know this key"),
])  # fmt: skip
def test_keys_that_are_wrong(buckets: Buckets, given: dict[str, Any], why: str, options: dict[str, Any]) -> None:
    found = failure(buckets.endpoint, **given, **options)
    assert isinstance(found, PermissionError)
    assert f"(s3://private/runs on {buckets.endpoint}): {why}" in str(found)


@pytest.mark.parametrize("options", [{}, WITH_FSSPEC], ids=["obstore", "s3fs"])
def test_a_bucket_that_is_not_there(buckets: Buckets, options: dict[str, Any]) -> None:
    found = failure(buckets.endpoint, "s3://privat/runs", **options)
    assert not isinstance(found, FileNotFoundError)  # a folder may come, a bucket does not
    assert f"there is no bucket s3://privat on {buckets.endpoint}" in str(found)


def test_a_server_that_does_not_answer_is_left_after_thrice_the_time_given() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = failure(endpoint, config_kwargs={"read_timeout": 0.3})
    assert isinstance(found, TimeoutError)
    assert "does not answer in time; check the address" in str(found)


@pytest.mark.parametrize(("verb", "fault", "right"), [
    ("put", "PUT", "s3:PutObject"), ("get", "GET", "s3:GetObject"), ("delete", "POST", "s3:DeleteObject"),
])  # fmt: skip
def test_the_right_that_lacks(proxy: Proxy, verb: str, fault: str, right: str) -> None:
    objects, name = objects_at(
        f"s3://private/{uuid4().hex}", {"key": KEY, "secret": SECRET, "endpoint_url": proxy.endpoint}
    )
    arguments: dict[str, Any] = {"put": (f"{name}/a", b""), "get": (f"{name}/a",), "delete": ([f"{name}/a"],)}
    proxy.fail("denied", fault)
    with closing(objects), pytest.raises(PermissionError, match=rf"the right to {verb} objects .*\({right}\)"):
        getattr(objects, verb)(*arguments[verb])
