"""The S3 connector, with a real S3 server."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from connectors.errors import RejectedError, UnavailableError
from connectors.s3.client import ObjectInfo, S3Config, connect
from tests.integration.registry_support import BUCKET, SECRET, one_line, race


@pytest.fixture
def nobody():
    """A connection to a port where no server listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with connect(S3Config(f"http://127.0.0.1:{port}", "us-east-1", "key", SECRET)) as s3:
        yield s3


@contextmanager
def answering(status: int, *, length: int = 0, body: bytes = b"") -> Iterator[str]:
    """Run a server that gives every request the same answer and closes the connection; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.send_header("ETag", '"an-etag"')
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = answer  # noqa: N815 - the base class requires these names

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_objects_and_files(s3, tmp_path):
    assert s3.read(BUCKET, "a") is None
    assert s3.put(BUCKET, "a", b"1")
    assert s3.put(BUCKET, "a", b"2")
    assert s3.read(BUCKET, "a").body == b"2"
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 40_000)  # large enough for an upload in several parts
    s3.upload(BUCKET, "deep/er/file", source)
    assert s3.download(BUCKET, "deep/er/file", target)
    assert target.read_bytes() == source.read_bytes()
    assert list(s3.list(BUCKET)) == [ObjectInfo("a", 1), ObjectInfo("deep/er/file", source.stat().st_size)]
    assert [info.key for info in s3.list(BUCKET, "deep/")] == ["deep/er/file"]


def test_a_missing_object_leaves_no_file(s3, tmp_path):
    assert not s3.download(BUCKET, "nothing", tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_listing_has_several_pages(s3):
    keys = [f"{n:04}" for n in range(1003)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put(BUCKET, key, b""), keys))
    assert [info.key for info in s3.list(BUCKET)] == keys


def test_a_conditional_write_happens_once(s3):
    assert race(lambda n: s3.put(BUCKET, "once", b"%d" % n, if_absent=True)).count(True) == 1
    assert not s3.put(BUCKET, "once", b"late", if_absent=True)
    assert s3.read(BUCKET, "once").body != b"late"


def test_a_write_on_condition_of_an_etag_happens_once(s3):
    """In each round several writers try to replace the same content. Exactly one of them must succeed."""
    s3.put(BUCKET, "pointer", b"start")
    for round_ in range(10):
        seen = s3.read(BUCKET, "pointer")
        wrote = race(lambda n, seen=seen, r=round_: s3.put(BUCKET, "pointer", b"%d %d" % (r, n), if_match=seen.etag))
        assert wrote.count(True) == 1
        assert s3.read(BUCKET, "pointer").body == b"%d %d" % (round_, wrote.index(True))
    assert not s3.put(BUCKET, "pointer", b"late", if_match=seen.etag)
    assert not s3.put(BUCKET, "nothing here", b"late", if_match=seen.etag)


def test_the_server_does_conditional_writes(s3):
    s3.require_conditional_writes(BUCKET, "probe")
    assert s3.read(BUCKET, "probe") is None


@pytest.mark.parametrize("status", [200, 501])
def test_a_server_without_conditional_writes_is_refused(status):
    """One server ignores the condition and one refuses it. With both, two writers could overwrite each other."""
    with (
        answering(status) as endpoint,
        connect(S3Config(endpoint, "us-east-1", "key", SECRET)) as s3,
        pytest.raises(RejectedError) as info,
    ):
        s3.require_conditional_writes(BUCKET, "probe")
    one_line(info, "does not support conditional writes", f"{BUCKET}/probe")


def test_progress_is_reported_and_can_end_a_transfer(s3, tmp_path):
    class EnoughError(Exception):
        pass

    def stop(_count: int) -> None:
        raise EnoughError

    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(9_000_000))
    counts: list[int] = []
    s3.upload(BUCKET, "file", source, counts.append)
    assert sum(counts) == 9_000_000
    counts.clear()
    assert s3.download(BUCKET, "file", target, counts.append)
    assert sum(counts) == 9_000_000
    target.unlink()
    with pytest.raises(EnoughError):
        s3.download(BUCKET, "file", target, stop)
    assert [file.name for file in tmp_path.iterdir()] == ["source"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # botocore leaves its socket to the GC
def test_a_truncated_answer_is_an_error(tmp_path):
    """The connection ends before the announced length, so the bytes received are not the object."""
    with (
        answering(200, length=1_000, body=b"x" * 10) as endpoint,
        connect(S3Config(endpoint, "us-east-1", "key", SECRET)) as s3,
    ):
        with pytest.raises(UnavailableError) as info:
            s3.read("bucket", "key")
        one_line(info, "bucket/key")
        with pytest.raises(UnavailableError) as info:
            s3.download("bucket", "key", tmp_path / "file")
        one_line(info, "bucket/key")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_a_bucket_is_created_once_by_several_callers(s3_server, region):
    from dataclasses import replace

    with connect(replace(s3_server, region=region)) as s3:
        race(lambda _: s3.ensure_bucket("shared"))
        assert s3.bucket_exists("shared")
        assert not s3.ensure_bucket("shared")


def test_a_missing_bucket_is_reported(no_buckets):
    assert not no_buckets.bucket_exists("absent")
    for call in (
        lambda: no_buckets.read("absent", "key"),
        lambda: no_buckets.put("absent", "key", b""),
        lambda: no_buckets.upload("absent", "key", Path(__file__)),
        lambda: list(no_buckets.list("absent")),
    ):
        with pytest.raises(RejectedError) as info:
            call()
        one_line(info, "127.0.0.1", "absent", "NoSuchBucket")


def test_a_missing_server_is_reported(nobody, tmp_path):
    for call in (
        lambda: nobody.read("bucket", "key"),
        lambda: nobody.bucket_exists("bucket"),
        lambda: nobody.download("bucket", "key", tmp_path / "file"),
        lambda: nobody.upload("bucket", "key", Path(__file__)),
    ):
        with pytest.raises(UnavailableError) as info:
            call()
        one_line(info, "http://127.0.0.1:", "bucket", "no answer", "is it running?")


@pytest.mark.parametrize("status", [500, 503, 403])
def test_a_server_error_is_reported(status):
    expected = RejectedError if status == 403 else UnavailableError
    with (
        answering(status) as endpoint,
        connect(S3Config(endpoint, "us-east-1", "key", SECRET)) as s3,
        pytest.raises(expected) as info,
    ):
        s3.read("bucket", "key")
    one_line(info, "bucket/key", str(status))


def test_secrets_are_not_shown():
    config = S3Config("http://user:pa55word@127.0.0.1:1", access_key_id="key", secret_access_key=SECRET)
    assert SECRET not in repr(config)
    with connect(config) as s3, pytest.raises(UnavailableError) as info:
        s3.read("bucket", "key")
    one_line(info, "http://127.0.0.1:1")
    assert "pa55word" not in str(info.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (S3Config("not a url", "us-east-1", "key", SECRET), "not valid"),
        (S3Config("http://127.0.0.1:1", "us-east-1", "key", None), "set both"),
        (S3Config("http://127.0.0.1:1", "us-east-1", None, SECRET), "set both"),
    ],
)
def test_a_bad_configuration_is_refused(config, message):
    with pytest.raises(RejectedError) as info:
        connect(config)
    one_line(info, message)


def test_missing_credentials_are_reported(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with connect(S3Config("http://127.0.0.1:1")) as s3, pytest.raises(RejectedError) as info:
        s3.read("bucket", "key")
    one_line(info, "no complete credentials are configured")
