"""The S3 connector and the model registry against a real HTTP server that speaks S3."""

import json
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.errors import RejectedError, UnavailableError
from connectors.s3 import S3, ObjectInfo, S3Config, connect
from models.errors import ModelError, ModelNotFoundError, ModelPackageError
from models.package import DataSource, Head, ModelPackage, load_package, write_package
from models.registry import (
    S3Location,
    parse_uri,
    publish,
    publish_if_empty,
    read_pointer,
    resolve,
)

SECRET = "s3cr3t-that-must-not-be-seen"
BUCKET = "models-bucket"
URI = f"s3://{BUCKET}/emotion"
RACERS = 6


@pytest.fixture
def config():
    """A server of its own for each test, so that no state is shared."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        # moto keeps its state in the process, beyond the server.
        endpoint = f"http://{host}:{port}"
        _reset(endpoint)
        yield S3Config(endpoint=endpoint, access_key_id="key", secret_access_key=SECRET)
    finally:
        server.stop()


@pytest.fixture
def empty(config):
    """A connection to a server without buckets."""
    with connect(config) as s3:
        yield s3


@pytest.fixture
def s3(empty: S3) -> S3:
    """A connection to a server with an empty bucket."""
    assert empty.ensure_bucket(BUCKET)
    return empty


@pytest.fixture
def nobody():
    """A connection to a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with connect(S3Config(f"http://127.0.0.1:{port}", "us-east-1", "key", SECRET)) as s3:
        yield s3


def make_package(folder: Path, version: str = "1.0.0", content: bytes = b"network") -> ModelPackage:
    (folder / "licences").mkdir(parents=True)
    files = {"model.onnx": content * 1000, "tokenizer.json": b"{}", "MODEL_CARD.md": b"# card", "licences/A": b"yes"}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return write_package(
        folder,
        name="tiny",
        version=version,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        base_model="none",
        licence="Apache-2.0",
        training_data=[DataSource(name="made up", licence="CC0-1.0")],
        normalization="v1",
        max_tokens=16,
        heads=[Head(name="emotion", labels=("joy", "anger"), output="emotion")],
        metrics={},
        files=list(files),
    )


@pytest.fixture
def package(tmp_path: Path) -> ModelPackage:
    return make_package(tmp_path / "package")


def _reset(endpoint: str) -> None:
    import urllib.request

    request = urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def race(function):
    """Run `function` in several threads that start together; their results."""
    gate = threading.Barrier(RACERS)

    def start(number: int):
        gate.wait()
        return function(number)

    with ThreadPoolExecutor(RACERS) as pool:
        return list(pool.map(start, range(RACERS)))


def one_line(info: pytest.ExceptionInfo[BaseException], *parts: str) -> None:
    """The error is one line that holds these parts and no secret."""
    message = str(info.value)
    assert "\n" not in message
    assert SECRET not in message
    for part in parts:
        assert part in message


class CountingS3(S3):
    """Counts what is asked of the server."""

    def __init__(self, other: S3) -> None:
        self.__dict__.update(other.__dict__)
        self.downloads = 0
        self.uploads = 0

    def download(self, bucket, key, file):
        self.downloads += 1
        return super().download(bucket, key, file)

    def upload(self, bucket, key, file):
        self.uploads += 1
        return super().upload(bucket, key, file)


# --- the connector ----------------------------------------------------------------------------------------------


def test_objects_and_files(s3, tmp_path):
    assert s3.get(BUCKET, "a") is None
    assert s3.put(BUCKET, "a", b"1")
    assert s3.put(BUCKET, "a", b"2")
    assert s3.get(BUCKET, "a") == b"2"
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 40_000)  # beyond the size at which uploads have several parts
    s3.upload(BUCKET, "deep/er/file", source)
    assert s3.download(BUCKET, "deep/er/file", target)
    assert target.read_bytes() == source.read_bytes()
    assert list(s3.list(BUCKET)) == [ObjectInfo("a", 1), ObjectInfo("deep/er/file", source.stat().st_size)]
    assert [info.key for info in s3.list(BUCKET, "deep/")] == ["deep/er/file"]


def test_a_missing_object_leaves_no_file(s3, tmp_path):
    assert not s3.download(BUCKET, "nothing", tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_listing_goes_beyond_one_page(s3):
    keys = [f"{n:04}" for n in range(1003)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put(BUCKET, key, b""), keys))
    assert [info.key for info in s3.list(BUCKET)] == keys


def test_a_conditional_write_happens_once(s3):
    assert race(lambda n: s3.put(BUCKET, "once", b"%d" % n, if_absent=True)).count(True) == 1
    assert not s3.put(BUCKET, "once", b"late", if_absent=True)
    assert s3.get(BUCKET, "once") != b"late"


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_a_bucket_is_created_once_however_many_try(config, region):
    from dataclasses import replace

    with connect(replace(config, region=region)) as s3:
        race(lambda _: s3.ensure_bucket("shared"))
        assert s3.bucket_exists("shared")
        assert not s3.ensure_bucket("shared")


def test_no_bucket(empty, tmp_path):
    assert not empty.bucket_exists("absent")
    for call in (
        lambda: empty.get("absent", "key"),
        lambda: empty.put("absent", "key", b""),
        lambda: empty.upload("absent", "key", Path(__file__)),
        lambda: list(empty.list("absent")),
    ):
        with pytest.raises(RejectedError) as info:
            call()
        one_line(info, "127.0.0.1", "absent", "NoSuchBucket")


def test_no_server(nobody, tmp_path):
    for call in (
        lambda: nobody.get("bucket", "key"),
        lambda: nobody.bucket_exists("bucket"),
        lambda: nobody.download("bucket", "key", tmp_path / "file"),
        lambda: nobody.upload("bucket", "key", Path(__file__)),
        lambda: resolve("s3://bucket/emotion", nobody, tmp_path),
    ):
        with pytest.raises(UnavailableError) as info:
            call()
        one_line(info, "http://127.0.0.1:", "bucket", "no answer", "is it running?")


@pytest.mark.parametrize("status", [500, 503, 403])
def test_a_server_that_answers_badly(status):
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        expected = RejectedError if status == 403 else UnavailableError
        with (
            connect(S3Config(f"http://127.0.0.1:{server.server_port}", "us-east-1", "key", SECRET)) as s3,
            pytest.raises(expected) as info,
        ):
            s3.get("bucket", "key")
        one_line(info, "bucket/key", str(status))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_secrets_are_not_shown():
    config = S3Config("http://user:pa55word@127.0.0.1:1", access_key_id="key", secret_access_key=SECRET)
    assert SECRET not in repr(config)
    with connect(config) as s3, pytest.raises(UnavailableError) as info:
        s3.get("bucket", "key")
    one_line(info, "http://127.0.0.1:1")
    assert "pa55word" not in str(info.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (S3Config("not a url", "us-east-1", "key", SECRET), "not valid"),
        (S3Config("http://127.0.0.1:1", "us-east-1", "key", None), "both halves"),
        (S3Config("http://127.0.0.1:1", "us-east-1", None, SECRET), "both halves"),
    ],
)
def test_a_bad_configuration_is_refused(config, message):
    with pytest.raises(RejectedError) as info:
        connect(config)
    one_line(info, message)


def test_no_credentials_anywhere(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with connect(S3Config("http://127.0.0.1:1")) as s3, pytest.raises(RejectedError) as info:
        s3.get("bucket", "key")
    one_line(info, "no complete credentials are configured")


# --- the registry -----------------------------------------------------------------------------------------------


def test_published_is_resolved(s3, package, tmp_path):
    publish(package, URI, s3)
    got = resolve(URI, s3, tmp_path / "cache")
    assert got.manifest == package.manifest
    assert load_package(got.path) == got
    assert read_pointer(S3Location(BUCKET, "emotion"), s3).version == "1.0.0"
    assert {info.key for info in s3.list(BUCKET)} == {
        "emotion/latest",
        *(f"emotion/tiny/1.0.0/{name}" for name in (*package.manifest.files, "manifest.json")),
    }


@pytest.mark.parametrize("uri", [f"s3://{BUCKET}", f"s3://{BUCKET}/", f"s3://{BUCKET}/a/b/"])
def test_any_prefix_will_do(s3, package, tmp_path, uri):
    publish(package, uri, s3)
    assert resolve(uri, s3, tmp_path / "cache").manifest == package.manifest


def test_a_folder_is_resolved_without_s3(package, tmp_path):
    assert resolve(str(package.path), None, tmp_path / "cache") == package
    assert not (tmp_path / "cache").exists()


def test_a_new_version_becomes_current_and_the_old_one_stays(s3, package, tmp_path):
    publish(package, URI, s3)
    newer = make_package(tmp_path / "newer", "1.1.0", b"better")
    publish(newer, URI, s3)
    assert resolve(URI, s3, tmp_path / "cache").manifest == newer.manifest
    assert s3.get(BUCKET, "emotion/tiny/1.0.0/manifest.json") is not None


def test_a_version_never_changes(s3, package, tmp_path):
    publish(package, URI, s3)
    other = make_package(tmp_path / "other", content=b"changed")
    with pytest.raises(ModelPackageError, match=r"already has tiny 1\.0\.0 with other content"):
        publish(other, URI, s3)
    assert resolve(URI, s3, tmp_path / "cache").manifest == package.manifest


def test_publishing_again_uploads_nothing(s3, package):
    publish(package, URI, s3)
    counting = CountingS3(s3)
    publish(package, URI, counting)
    assert counting.uploads == 0


def test_publish_if_empty_leaves_what_is_there(s3, package, tmp_path):
    assert publish_if_empty(package, URI, s3)
    assert not publish_if_empty(make_package(tmp_path / "newer", "2.0.0"), URI, s3)
    assert resolve(URI, s3, tmp_path / "cache").manifest.version == "1.0.0"


def test_publish_if_empty_from_several_places_at_once(s3, package, tmp_path):
    assert race(lambda _: publish_if_empty(package, URI, s3)).count(True) == 1
    assert resolve(URI, s3, tmp_path / "cache").manifest == package.manifest


def test_an_interrupted_publication_is_invisible_and_can_be_finished(s3, package, tmp_path):
    class Dies(CountingS3):
        def upload(self, bucket, key, file):
            if self.uploads == 2:
                raise UnavailableError("cut off")
            super().upload(bucket, key, file)

    with pytest.raises(UnavailableError, match="cut off"):
        publish_if_empty(package, URI, Dies(s3))
    with pytest.raises(ModelNotFoundError, match="holds no model"):
        resolve(URI, s3, tmp_path / "cache")
    assert publish_if_empty(package, URI, s3)
    assert resolve(URI, s3, tmp_path / "cache").manifest == package.manifest


def test_a_valid_copy_is_not_downloaded_again(s3, package, tmp_path):
    publish(package, URI, s3)
    counting = CountingS3(s3)
    first = resolve(URI, counting, tmp_path / "cache")
    assert counting.downloads == len(package.manifest.files)
    assert resolve(URI, counting, tmp_path / "cache") == first
    assert counting.downloads == len(package.manifest.files)


@pytest.mark.parametrize("damage", ["changed", "missing file", "no manifest", "bad manifest"])
def test_a_damaged_copy_is_downloaded_again(s3, package, tmp_path, damage):
    publish(package, URI, s3)
    first = resolve(URI, s3, tmp_path / "cache")
    match damage:
        case "changed":
            first.model_file.write_bytes(b"x" * 7000)
        case "missing file":
            first.tokenizer_file.unlink()
        case "no manifest":
            (first.path / "manifest.json").unlink()
        case _:
            (first.path / "manifest.json").write_text("{")
    counting = CountingS3(s3)
    assert resolve(URI, counting, tmp_path / "cache") == first
    assert load_package(first.path).manifest == package.manifest
    assert counting.downloads == len(package.manifest.files)


def test_what_a_killed_download_left_is_cleared(s3, package, tmp_path):
    publish(package, URI, s3)
    first = resolve(URI, s3, tmp_path / "cache")
    first.path.rename(first.path.with_name(f".{first.path.name}.partial"))
    assert resolve(URI, s3, tmp_path / "cache") == first
    assert [p.name for p in first.path.parent.iterdir() if p.is_dir()] == [first.path.name]


def test_threads_share_one_download(s3, package, tmp_path):
    publish(package, URI, s3)
    counting = CountingS3(s3)
    results = race(lambda _: resolve(URI, counting, tmp_path / "cache"))
    assert {str(got.path) for got in results} == {str(results[0].path)}
    assert counting.downloads == len(package.manifest.files)


def test_processes_share_one_cache(s3, config, package, tmp_path):
    publish(package, URI, s3)
    program = (
        "import sys; from connectors.s3 import *; from models.registry import resolve\n"
        "s3 = connect(S3Config(sys.argv[1], access_key_id='key', secret_access_key='x'))\n"
        "print(resolve(sys.argv[2], s3, sys.argv[3]).path)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, config.endpoint, URI, str(tmp_path / "cache")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(outputs) == 1
    assert load_package(outputs.pop()).manifest == package.manifest


def test_registries_with_the_same_version_do_not_share_copies(s3, package, tmp_path):
    other = make_package(tmp_path / "other", content=b"another")
    publish(package, URI, s3)
    publish(other, f"s3://{BUCKET}/elsewhere", s3)
    assert resolve(URI, s3, tmp_path / "cache").manifest == package.manifest
    assert resolve(f"s3://{BUCKET}/elsewhere", s3, tmp_path / "cache").manifest == other.manifest
    assert resolve(URI, s3, tmp_path / "cache").manifest == package.manifest


@pytest.mark.parametrize(
    ("key", "content", "message"),
    [
        ("tiny/1.0.0/model.onnx", b"x" * 7000, r"s3://.*/tiny/1\.0\.0/model\.onnx is damaged: expected sha256"),
        ("tiny/1.0.0/model.onnx", b"", r"model\.onnx is damaged: .*\(7000 bytes\).*\(0 bytes\)"),
        ("tiny/1.0.0/manifest.json", b"{}", r"manifest\.json is malformed"),
        ("latest", b"not json", r"s3://.*/latest is malformed"),
        ("latest", b'{"name": "../up", "version": "1.0.0"}', r"latest is malformed"),
    ],
)
def test_a_damaged_registry_is_reported(s3, tmp_path, key, content, message):
    publish(make_package(tmp_path / "package"), URI, s3)
    s3.put(BUCKET, f"emotion/{key}", content)
    with pytest.raises(ModelPackageError, match=message) as info:
        resolve(URI, s3, tmp_path / "cache")
    one_line(info)
    # Nothing half made stays behind.
    cache = tmp_path / "cache"
    assert not cache.exists() or [p for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock"] == []


def test_a_file_that_is_gone_from_the_registry_is_reported(s3, package, tmp_path):
    publish(package, URI, s3)
    s3._client.delete_object(Bucket=BUCKET, Key="emotion/tiny/1.0.0/tokenizer.json")
    with pytest.raises(ModelPackageError, match=r"tokenizer\.json is missing"):
        resolve(URI, s3, tmp_path / "cache")


def test_a_manifest_of_another_version_is_reported(s3, package, tmp_path):
    publish(package, URI, s3)
    other = make_package(tmp_path / "other", "9.9.9")
    s3.put(BUCKET, "emotion/tiny/1.0.0/manifest.json", (other.path / "manifest.json").read_bytes())
    with pytest.raises(ModelPackageError, match=r"is that of tiny 9\.9\.9"):
        resolve(URI, s3, tmp_path / "cache")


def test_a_pointer_to_nothing_is_reported(s3, tmp_path):
    s3.put(BUCKET, "emotion/latest", json.dumps({"name": "tiny", "version": "3.0.0"}).encode())
    with pytest.raises(ModelNotFoundError, match=r"has no tiny 3\.0\.0"):
        resolve(URI, s3, tmp_path / "cache")


def test_no_bucket_is_no_model(empty, package, tmp_path):
    for call in (
        lambda: resolve(URI, empty, tmp_path),
        lambda: publish(package, URI, empty),
        lambda: publish_if_empty(package, URI, empty),
    ):
        with pytest.raises(ModelNotFoundError) as info:
            call()
        one_line(info, f"there is no bucket {BUCKET}")


def test_an_empty_registry(s3, tmp_path):
    with pytest.raises(ModelNotFoundError, match="holds no model: there is no emotion/latest"):
        resolve(URI, s3, tmp_path)


def test_a_cache_that_cannot_be_used(s3, package, tmp_path):
    publish(package, URI, s3)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match=r"the model cache .* cannot be used"):
        resolve(URI, s3, tmp_path / "file")


def test_only_s3_can_be_published_to(s3, package, tmp_path):
    with pytest.raises(ModelError, match="not to the folder"):
        publish(package, str(tmp_path), s3)


def test_s3_needs_a_connection(tmp_path):
    with pytest.raises(ModelError, match="needs a connection"):
        resolve(URI, None, tmp_path)


@pytest.mark.parametrize(
    "uri",
    ["", "  ", "http://x/y", "S3x://a/b", "s3://", "s3:///x", "s3://A_B/x", "s3://bucket/a//b", "s3://bucket/../b"],
)
def test_a_bad_uri_is_refused(uri):
    with pytest.raises(ModelError, match="model URI"):
        parse_uri(uri)


def test_uris():
    assert parse_uri("s3://bucket/a/b/") == S3Location("bucket", "a/b")
    assert parse_uri("s3://bucket") == S3Location("bucket", "")
    assert parse_uri("models/here") == Path("models/here")
    assert parse_uri("~/m") == Path.home() / "m"
    assert S3Location("bucket", "").key("latest") == "latest"
    assert str(S3Location("bucket", "")) == "s3://bucket"


def test_the_shipped_package_can_be_copied(tmp_path, package):
    copy = tmp_path / "copy"
    shutil.copytree(package.path, copy)
    assert resolve(str(copy), None, tmp_path).manifest == package.manifest
