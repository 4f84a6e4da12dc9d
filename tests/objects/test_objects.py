"""Objects in a real S3, in memory behind fsspec, and on disk: one meaning, also when servers and networks fail."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
import s3fs  # type: ignore[import-untyped]

from intake_bluesky.errors import StoreUnavailable, WrongSetting
from intake_bluesky.objects import ObjectInfo, ObjectReplaced, Objects, Span, cloud, objects_at
from intake_bluesky.objects.cloud import CloudObjects
from intake_bluesky.objects.filesystem import FilesystemObjects
from intake_bluesky.objects.options import settings_for
from intake_bluesky_bucket import BlueskyBucketCatalog
from tests.servers.proxy import Proxy
from tests.servers.s3 import KEY, SECRET, Buckets

pytestmark = pytest.mark.slow


def s3_options(endpoint: str) -> dict[str, Any]:
    return {"key": KEY, "secret": SECRET, "client_kwargs": {"endpoint_url": endpoint}}


Place = tuple[Objects, str]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTAKE_BLUESKY_CACHE", str(tmp_path / "cache"))


KINDS = ["obstore", "s3fs", "memory", "disk"]


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    folder = f"test-{uuid4().hex}"
    if request.param == "disk":
        yield objects_at(tmp_path.as_uri())
        return
    if request.param == "memory":
        yield objects_at(f"memory://{folder}")
        return
    endpoint = request.getfixturevalue("buckets").endpoint
    if request.param == "obstore":
        objects, name = objects_at(f"s3://private/{folder}/", s3_options(endpoint))
        assert isinstance(objects, CloudObjects)
        yield objects, name
        objects.close()
    else:
        # What s3fs knows and obstore does not is s3fs's.
        options = {**s3_options(endpoint), "s3_additional_kwargs": {"ContentType": "text/plain"}}
        objects, name = objects_at(f"s3://private/{folder}", options)
        assert isinstance(objects, FilesystemObjects)
        yield objects, name
        objects.close()
        s3fs.S3FileSystem.clear_instance_cache()


def names(found: Iterator[ObjectInfo], folder: str) -> list[str]:
    return [info.name.removeprefix(f"{folder}/") for info in found]


def test_the_seven_verbs(place: Place) -> None:
    objects, folder = place
    tag = objects.put(f"{folder}/a", b"first")
    assert objects.get(f"{folder}/a")[0] == b"first"
    info = objects.head(f"{folder}/a")
    assert (info.size, info.tag) == (5, tag)
    assert info.modified > 1e9
    assert objects.put(f"{folder}/a", b"other") != tag
    created = objects.create(f"{folder}/b", b"content")
    assert objects.head(f"{folder}/b").tag == created
    with pytest.raises(FileExistsError):
        objects.create(f"{folder}/b", b"another")
    assert objects.get(f"{folder}/b")[0] == b"content"
    large = bytes(range(256)) * 50_000
    objects.put(f"{folder}/below/deep/c", BytesIO(large))
    spans = [Span(f"{folder}/below/deep/c", 256, 260), Span(f"{folder}/b", 3, 99), Span(f"{folder}/none", 0, 1)]
    spans += [Span(f"{folder}/below/deep/c", len(large) - 2, len(large) + 9), Span(f"{folder}/b", 7, 9)]
    first, second, missing, last, beyond = objects.ranges(spans)
    assert (first, second, last, beyond) == (b"\0\1\2\3", b"tent", b"\xfe\xff", b"")
    assert isinstance(missing, FileNotFoundError)
    assert objects.range(f"{folder}/a", 1, 3) == b"th"
    assert names(objects.list(folder), folder) == ["a", "b"]
    assert names(objects.list(folder, "a*"), folder) == ["a"]
    assert names(objects.list(folder, "**/c"), folder) == ["below/deep/c"]
    assert names(objects.list(folder, "*/*/?"), folder) == ["below/deep/c"]
    assert next(objects.list(folder)).tag == objects.head(f"{folder}/a").tag
    with pytest.raises(FileExistsError):
        objects.rename(f"{folder}/a", f"{folder}/b")
    objects.rename(f"{folder}/a", f"{folder}/as well")
    assert (objects.get(f"{folder}/b")[0], objects.get(f"{folder}/as well")[0]) == (b"content", b"other")
    objects.rename(f"{folder}/as well", f"{folder}/a")
    assert names(objects.list(folder), folder) == ["a", "b"]
    for failing in (objects.head, objects.get, objects.list):
        with pytest.raises(FileNotFoundError):
            failing(f"{folder}/none")
    other = pickle.loads(pickle.dumps(objects))
    assert other.get(f"{folder}/b")[0] == b"content"
    other.close()
    objects.delete([f"{folder}/a", f"{folder}/b", f"{folder}/none"])
    assert names(objects.list(folder, "**"), folder) == ["below/deep/c"]


def test_of_another_object_in_its_place_nothing_is_given(place: Place) -> None:
    objects, folder = place
    tag = objects.put(f"{folder}/a", b"first")
    assert objects.range(f"{folder}/a", 0, 3, tag) == b"fir"
    objects.put(f"{folder}/a", b"other")
    with pytest.raises(ObjectReplaced):
        objects.range(f"{folder}/a", 0, 3, tag)


@pytest.mark.parametrize("place", ["obstore", "disk"], indirect=True)
def test_one_of_many_creates(place: Place) -> None:
    objects, folder = place
    assert objects.atomic

    def create(number: int) -> int:
        try:
            objects.create(f"{folder}/one", str(number).encode())
        except FileExistsError:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(24))) == 1


@pytest.fixture
def behind(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(cloud, "PAUSES", (0.01, 0.01, 0.01))
    objects, folder = objects_at(f"s3://private/test-{uuid4().hex}", s3_options(proxy.endpoint))
    yield objects, folder
    objects.close()


@pytest.mark.parametrize("fault", ["slow down", "too many", "broken", "drop"])
def test_busy_servers_and_lost_connections_are_asked_again(behind: Place, proxy: Proxy, fault: Any) -> None:
    objects, folder = behind
    for method, action in (
        ("PUT", lambda: objects.put(f"{folder}/a", b"content")),
        ("GET", lambda: objects.get(f"{folder}/a")),
        ("LIST", lambda: list(objects.list(folder))),
        ("HEAD", lambda: objects.head(f"{folder}/a")),
        ("PUT", lambda: objects.create(f"{folder}/b", b"content")),
        ("GET", lambda: objects.range(f"{folder}/b", 0, 3)),
    ):
        proxy.fail(fault, method, times=2)
        assert action()
        assert proxy.faults == []


@pytest.mark.parametrize("fault", ["lose the answer", "drop"])
def test_a_conditional_put_whose_answer_is_lost_is_ones_own(behind: Place, proxy: Proxy, fault: Any) -> None:
    objects, folder = behind
    proxy.fail(fault, "PUT", times=2)
    tag = objects.create(f"{folder}/a", b"mine")
    assert objects.head(f"{folder}/a").tag == tag
    proxy.fail(fault, "PUT", times=2)
    with pytest.raises(FileExistsError):  # and another's is another's, of the same content, too
        objects.create(f"{folder}/a", b"mine")


def test_a_key_that_has_ended_is_looked_for_again(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "credentials").write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    objects, folder = objects_at(f"s3://private/test-{uuid4().hex}", {"endpoint_url": proxy.endpoint})
    objects.put(f"{folder}/a", b"content")
    proxy.fail("expired", "GET")
    assert objects.get(f"{folder}/a")[0] == b"content"
    proxy.fail("expired", "GET", times=2)
    with pytest.raises(PermissionError, match="token has expired"):
        objects.get(f"{folder}/a")
    assert SECRET.encode() not in pickle.dumps(objects)
    assert SECRET not in repr(objects)
    objects.close()


def test_near_ranges_are_one_request(behind: Place, proxy: Proxy) -> None:
    objects, folder = behind
    objects.put(f"{folder}/a", bytes(1_000_000))
    proxy.reset()
    objects.ranges([Span(f"{folder}/a", start, start + 10) for start in (0, 100, 5000, 900_000, 900_050)])
    assert proxy.count("GET") == 2
    assert proxy.received < 6000


def _in_child(objects: Objects, folder: str, queue: Any) -> None:
    objects.put(f"{folder}/child", b"from the child")
    queue.put((objects.get(f"{folder}/parent")[0], [info.name for info in objects.list(folder)]))


def test_parts_of_one_version(place: Place) -> None:
    objects, folder = place
    tag = objects.put(f"{folder}/a", b"first version")
    spans = [Span(f"{folder}/a", 0, 5, tag), Span(f"{folder}/a", 6, 13, "another"), Span(f"{folder}/a", 6, 13)]
    first, another, any_version = objects.ranges(spans)
    assert (first, any_version) == (b"first", b"version")
    assert isinstance(another, ObjectReplaced)
    assert objects.put(f"{folder}/a", b"and the second") != tag
    assert isinstance(objects.ranges(spans[:1])[0], ObjectReplaced)
    objects.delete([f"{folder}/a"])
    assert isinstance(objects.ranges(spans[:1])[0], FileNotFoundError | ObjectReplaced)


def test_a_forked_child_has_its_own_connections(buckets: Buckets) -> None:
    objects, folder = objects_at(f"s3://private/test-{uuid4().hex}", s3_options(buckets.endpoint))
    objects.put(f"{folder}/parent", b"from the parent")
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(objects, folder, queue))
    child.start()
    assert queue.get(timeout=60) == (b"from the parent", [f"{folder}/child", f"{folder}/parent"])
    child.join()
    assert objects.get(f"{folder}/child")[0] == b"from the child"
    objects.close()


def test_given_keys_come_before_those_of_the_environment(monkeypatch: pytest.MonkeyPatch, buckets: Buckets) -> None:
    for variable, value in {
        "AWS_ACCESS_KEY_ID": "of-another", "AWS_SECRET_ACCESS_KEY": "of-another", "AWS_SESSION_TOKEN": "of-another",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", "AWS_SKIP_SIGNATURE": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(variable, value)
    objects, folder = objects_at(f"s3://private/test-{uuid4().hex}", s3_options(buckets.endpoint))
    objects.put(f"{folder}/a", b"content")
    assert objects.get(f"{folder}/a")[0] == b"content"
    objects.close()


def test_the_region_of_a_bucket_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Amazon(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(403)
            self.send_header("x-amz-bucket-region", "eu-central-1")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Amazon)
    Thread(target=server.handle_request, daemon=True).start()
    monkeypatch.setattr(cloud, "AMAZON", f"http://127.0.0.1:{server.server_address[1]}/{{bucket}}")
    assert cloud._region_of("runs") == "eu-central-1"
    server.server_close()
    assert cloud._region_of("runs") == "us-east-1"


def test_a_bucket_that_is_not_there_is_no_empty_folder(buckets: Buckets, cache: None) -> None:
    options = s3_options(buckets.endpoint)
    objects, folder = objects_at("s3://privat/runs", options)
    with pytest.raises(OSError, match="there is no bucket s3://privat"):
        objects.list(folder)
    objects.close()
    catalog = BlueskyBucketCatalog("s3://privat/runs", storage_options=options)
    with pytest.raises(StoreUnavailable, match="there is no bucket s3://privat"):
        len(catalog)
    catalog.store.close()


def test_an_address_without_a_scheme_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WrongSetting, match="begins with http:// or https://"):
        objects_at("s3://runs", {"anon": True, "endpoint_url": "127.0.0.1:9000"})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "s3.example.org")
    with pytest.raises(WrongSetting, match=r"s3\.example\.org"):
        objects_at("s3://runs", {"anon": True})


OPTIONS: dict[str, tuple[str, dict[str, Any], Callable[[dict[str, Any]], bool]]] = {
    "public": ("s3", {"anon": True}, lambda config: config["skip_signature"]),
    "own server": (
        "s3",
        {"client_kwargs": {"endpoint_url": "http://s3"}},
        lambda config: config["endpoint"] == "http://s3",
    ),
    "requester pays": ("s3", {"anon": True, "requester_pays": True}, lambda config: config["request_payer"]),
    "google, public": ("gs", {"token": "anon"}, lambda config: config["skip_signature"]),
    "google, a file": (
        "gs",
        {"token": "/k.json", "project": "p"},
        lambda config: config["service_account"] == "/k.json",
    ),
    "azure, a key": ("az", {"account_name": "a", "account_key": "k"}, lambda config: config["account_name"] == "a"),
    "azure, text": (
        "az",
        {"connection_string": "AccountName=a;AccountKey=k==;BlobEndpoint=http://h/a"},
        lambda config: (config["account_name"], config["endpoint"]) == ("a", "http://h/a"),
    ),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_of_fsspec_are_translated(case: str) -> None:
    scheme, options, holds = OPTIONS[case]
    settings = settings_for(scheme, options)
    assert settings is not None
    assert holds(settings.config)


@pytest.mark.parametrize(
    ("scheme", "options"),
    [("s3", {"session": object()}), ("s3", {"client_kwargs": {"verify": "/ca.pem"}}), ("gs", {"token": "browser"}),
     ("s3", {"config_kwargs": {"proxies": {}}}), ("az", {"credential": object()}), ("s3", {"use_ssl": False})],
)  # fmt: skip
def test_what_obstore_has_no_word_for_is_not_guessed(scheme: str, options: dict[str, Any]) -> None:
    assert settings_for(scheme, options) is None
