"""Helpers that tests of S3 and of the model registry share: packages, races, and a connection that counts calls."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import httpx
import pytest
from werkzeug.serving import BaseWSGIServer

from connectors.local.moto_server import serve
from connectors.s3.client import S3, S3Config
from models.package.folder import ModelPackage, write_package
from models.package.manifest import DataSource, Head
from models.registry.location import S3Location
from streams.settings import Settings
from tests.helpers import make_settings

SECRET = "s3cr3t-that-must-not-be-seen"
BUCKET = "models-bucket"
URI = f"s3://{BUCKET}/emotion"
HERE = S3Location(BUCKET, "emotion")
RACERS = 6


class S3Server:
    """moto's S3 server on its own port. It keeps its data while it is stopped."""

    def __init__(self) -> None:
        self._server: BaseWSGIServer | None = self._serve(0)
        self._port = self._server.server_port
        self.config = S3Config(f"http://127.0.0.1:{self._port}", access_key_id="key", secret_access_key=SECRET)

    def empty(self) -> None:
        """Start the server if it is stopped, and delete all buckets. This is much faster than a new server."""
        self.start()
        answer = httpx.post(f"{self.config.endpoint}/moto-api/reset", timeout=60, trust_env=False)
        assert answer.status_code == 200

    def _serve(self, port: int) -> BaseWSGIServer:
        server = serve("127.0.0.1", port)
        Thread(target=server.serve_forever, daemon=True).start()
        return server

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def start(self) -> None:
        if self._server is None:
            self._server = self._serve(self._port)


def make_package(
    folder: Path, version: str = "1.0.0", content: bytes = b"network", *, name: str = "tiny"
) -> ModelPackage:
    """Write a sealed package whose network is not an ONNX file, because the registry does not read it."""
    (folder / "licences").mkdir(parents=True)
    files = {"model.onnx": content * 1000, "tokenizer.json": b"{}", "MODEL_CARD.md": b"# card", "licences/A": b"yes"}
    for file, data in files.items():
        (folder / file).write_bytes(data)
    return write_package(
        folder,
        name=name,
        version=version,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        base_model="none",
        licence="Apache-2.0",
        training_data=[DataSource(name="made up", licence="CC0-1.0")],
        normalization="v2",
        max_tokens=16,
        heads=[Head(name="emotion", labels=("joy", "anger"), output="emotion")],
        metrics={},
        files=list(files),
    )


def settings_of(server: S3Config, uri: str, folder: Path) -> Settings:
    """Returns settings for a registry on this server, with the cache in `folder`."""
    return make_settings(
        s3_endpoint=server.endpoint,
        s3_access_key_id="key",
        s3_secret_access_key=SECRET,
        model_uri=uri,
        model_cache=folder / "cache",
    )


def race(function):
    """Call `function` in `RACERS` threads that start together, each with its number. Returns their results."""
    gate = threading.Barrier(RACERS)

    def start(number: int):
        gate.wait()
        return function(number)

    with ThreadPoolExecutor(RACERS) as pool:
        return list(pool.map(start, range(RACERS)))


def one_line(info: pytest.ExceptionInfo[BaseException], *parts: str) -> None:
    """Assert that an error is one line that contains `parts` and no secret."""
    message = str(info.value)
    assert "\n" not in message
    assert SECRET not in message
    for part in parts:
        assert part in message


class DeletingS3(S3):
    """A connection that can also remove an object, which the application never does."""

    def __init__(self, other: S3) -> None:
        self.__dict__.update(other.__dict__)

    def delete(self, bucket: str, key: str) -> None:
        self._client.delete_object(Bucket=bucket, Key=key)


class CountingS3(S3):
    """A connection that counts downloads and uploads."""

    def __init__(self, other: S3) -> None:
        self.__dict__.update(other.__dict__)
        self.downloads = 0
        self.uploads = 0

    def download(self, bucket, key, file, on_bytes=None):
        self.downloads += 1
        return super().download(bucket, key, file, on_bytes)

    def upload(self, bucket, key, file, on_bytes=None):
        self.uploads += 1
        return super().upload(bucket, key, file, on_bytes)
