"""Transient errors of the machine, of a transfer or of rights: a worker keeps serving, and refuses no version."""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.errors import RejectedError
from connectors.s3.client import S3
from models.errors import ModelError
from models.registry.publish import publish
from models.serving import served, steps
from streams.settings import Settings
from tests.integration.registry_support import BUCKET, URI, S3Server
from tests.integration.watch_support import Worker, golden_package, watch_settings

KEY = "emotion/tiny/2.0.0/model.onnx"


@pytest.fixture
def settings(own_s3: S3Server, tmp_path: Path) -> Settings:
    return watch_settings(own_s3, tmp_path / "cache")


@pytest.fixture
def worker(settings: Settings) -> Iterator[Callable[[], Worker]]:
    """Returns a function that makes workers with a common cache."""
    made: list[Worker] = []

    def make() -> Worker:
        made.append(Worker(settings))
        return made[-1]

    yield make
    for one in made:
        one.model.close()


@pytest.fixture
def version(s3: S3, tmp_path: Path) -> Callable[[str], None]:
    """Returns a function that publishes a version to `latest`."""

    def make(number: str) -> None:
        publish(golden_package(tmp_path / "packages" / number, number), URI, s3)

    make("1.0.0")
    return make


def _rejected(monkeypatch: pytest.MonkeyPatch, _cache: Path) -> None:
    def refuse(*_args: object) -> None:
        raise RejectedError("S3 at here, models-bucket/emotion/latest: refused (ExpiredToken, HTTP 403)")

    monkeypatch.setattr(served, "require_channel", refuse)


def _read_only_cache(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Make the cache read-only: the next version cannot be written, and the cached ones can be read."""
    mkdir = Path.mkdir

    def full(self: Path, *args: object, **kwargs: object) -> None:
        if self.name.endswith(".partial"):
            raise OSError(errno.ENOSPC, "No space left on device")
        mkdir(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", full)


def _no_memory(monkeypatch: pytest.MonkeyPatch, _cache: Path) -> None:
    load = steps.OnnxClassifier.load

    def fail(package: object, **kwargs: object) -> object:
        if package.manifest.version == "2.0.0":  # type: ignore[attr-defined]
            raise MemoryError
        return load(package, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(steps.OnnxClassifier, "load", fail)


def _no_descriptors(monkeypatch: pytest.MonkeyPatch, _cache: Path) -> None:
    check = steps.check_golden

    def fail(classifier: object, package: object) -> int:
        if package.manifest.version == "2.0.0":  # type: ignore[attr-defined]
            try:
                raise OSError(errno.EMFILE, "Too many open files")
            except OSError as exc:
                raise steps.ModelPackageError("golden.jsonl cannot be read: Too many open files") from exc
        return check(classifier, package)  # type: ignore[arg-type]

    monkeypatch.setattr(steps, "check_golden", fail)


def _emptied_cache(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Remove the cache between the download and the load."""
    fetch = served.fetch

    def emptied(*args: object) -> object:
        package = fetch(*args)  # type: ignore[arg-type]
        shutil.rmtree(package.path)
        return package

    monkeypatch.setattr(served, "fetch", emptied)


FAULTS = pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (_rejected, "rejected"),
        (_read_only_cache, "cache"),
        (_no_memory, "local"),
        (_no_descriptors, "local"),
        (_emptied_cache, "local"),
    ],
)


@FAULTS
def test_a_transient_error_is_not_a_refusal(version, worker, monkeypatch, caplog, tmp_path, fault, cause):
    one = worker()
    one.model.start()
    version("2.0.0")
    with monkeypatch.context() as patch:
        fault(patch, tmp_path / "cache")
        for _ in range(2):
            assert not one.model.poll()
    assert (one.version, one.refusals()) == ("1.0.0", {})
    assert one.value("poll_failures_total", cause=cause) == 2
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1, "logged once"
    assert one.model.poll()
    assert one.version == "2.0.0"


@FAULTS
def test_a_start_with_a_transient_error_takes_the_last_good_version(
    version, worker, monkeypatch, caplog, tmp_path, fault, cause
):
    worker().model.start()
    version("2.0.0")
    one = worker()
    with monkeypatch.context() as patch:
        fault(patch, tmp_path / "cache")
        one.model.start()
    assert (one.version, one.value("from_cache"), one.refusals()) == ("1.0.0", 1, {})
    assert one.value("poll_failures_total", cause=cause) == 1
    assert "the last good model in the cache serves: tiny 1.0.0" in caplog.text
    assert one.model.poll()
    assert (one.version, one.value("from_cache")) == ("2.0.0", 0)


@FAULTS
def test_a_start_with_a_transient_error_and_an_empty_cache_is_reported_in_one_line(
    s3, worker, monkeypatch, tmp_path, fault, cause
):
    publish(golden_package(tmp_path / "only", "2.0.0"), URI, s3)
    fault(monkeypatch, tmp_path / "cache")
    one = worker()
    with pytest.raises((ModelError, RejectedError)) as info:
        one.model.start()
    assert "\n" not in str(info.value)
    assert one.value("poll_failures_total", cause=cause) == 1


def test_a_transfer_that_failed_once_is_repeated(version, worker, monkeypatch):
    one = worker()
    one.model.start()
    version("2.0.0")
    download, garbled = S3.download, []

    def once(self, bucket, key, file, on_bytes=None):
        found = download(self, bucket, key, file, on_bytes)
        if key == KEY and not garbled:
            garbled.append(key)
            file.write_bytes(file.read_bytes()[::-1])
        return found

    monkeypatch.setattr(S3, "download", once)
    assert one.model.poll()
    assert garbled
    assert (one.version, one.refusals()) == ("2.0.0", {})


def test_a_refused_version_is_tried_again_after_some_time(s3, version, worker, monkeypatch, caplog, tmp_path):
    one = worker()
    one.model.start()
    version("2.0.0")
    good = s3.read(BUCKET, KEY).body
    s3.put(BUCKET, KEY, good[::-1])
    now = 1_000.0
    monkeypatch.setattr(served, "_now", lambda: now)
    one.model.poll()
    now += served.REFUSAL_RETRY_S
    one.model.poll()
    assert (one.version, one.refusals()) == ("1.0.0", {"checksum": 1}), "tried again, and counted once"
    s3.put(BUCKET, KEY, good)
    now += served.REFUSAL_RETRY_S - 1
    one.model.poll()
    assert one.version == "1.0.0", "not at every poll"
    now += 1
    one.model.poll()
    assert (one.version, one.refusals()) == ("2.0.0", {"checksum": 1})
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_a_last_good_record_that_could_not_be_written_is_written_later(
    s3, own_s3, version, worker, monkeypatch, caplog, tmp_path
):
    caplog.set_level(logging.INFO)
    one = worker()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/.last-good").write_text("in the way")
    one.model.start()
    assert one.model.poll()
    assert one.value("poll_failures_total", cause="cache") == 2
    assert "can be followed again" not in caplog.text, "the channel could be read all the time"
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1
    (tmp_path / "cache/.last-good").unlink()
    assert one.model.poll()
    assert one.value("poll_failures_total", cause="cache") == 2
    own_s3.stop()
    other = worker()
    other.model.start()
    assert other.version == "1.0.0"


def test_the_cache_keeps_the_last_versions_and_what_was_last_good(s3, own_s3, version, worker, settings, tmp_path):
    publish(golden_package(tmp_path / "stable", "0.1.0"), URI, s3, channel="stable")
    stable = Worker(settings.model_copy(update={"model_channel": "stable"}))
    stable.model.start()
    one = worker()
    one.model.start()
    leftover = tmp_path / "cache/tiny/.0.0.1-0123456789ab.partial"
    leftover.mkdir()
    for number in range(2, 7):
        version(f"{number}.0.0")
        assert one.model.poll()
    kept = sorted(path.name.partition("-")[0] for path in (tmp_path / "cache/tiny").iterdir())
    assert kept == [".lock", "0.1.0", "4.0.0", "5.0.0", "6.0.0"]
    stable.model.close()
    own_s3.stop()
    again = Worker(settings.model_copy(update={"model_channel": "stable"}))
    again.model.start()
    assert again.version == "0.1.0"
    again.model.close()
