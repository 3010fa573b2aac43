"""The model that a worker serves, and how it follows its channel: every step fails once, with a real S3 server."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.errors import UnavailableError
from connectors.s3.client import S3
from models.errors import ModelError
from models.package.folder import ModelPackage
from models.registry.channels import Release
from models.registry.publish import promote, publish
from models.serving import served
from models.serving.watch import ChannelWatch
from streams.settings import Settings
from tests.integration.registry_support import BUCKET, HERE, URI, DeletingS3, S3Server
from tests.integration.support import wait_for
from tests.integration.watch_support import Worker, golden_package, watch_settings
from tests.tiny_model import tiny_package

KEY = "emotion/tiny/2.0.0/model.onnx"


@pytest.fixture
def settings(own_s3: S3Server, tmp_path: Path) -> Settings:
    return watch_settings(own_s3, tmp_path / "cache")


@pytest.fixture
def worker(settings: Settings) -> Iterator[Callable[..., Worker]]:
    """Returns a function that makes workers with a common cache."""
    made: list[Worker] = []

    def make(**overrides: object) -> Worker:
        made.append(Worker(settings.model_copy(update=overrides)))
        return made[-1]

    yield make
    for one in made:
        one.model.close()


@pytest.fixture
def package(tmp_path: Path) -> Callable[..., ModelPackage]:
    """Returns a function that makes packages with golden posts."""

    def make(version: str, **more: float) -> ModelPackage:
        return golden_package(tmp_path / "packages" / version, version, **more)

    return make


@pytest.fixture
def first(s3: S3, package: Callable[..., ModelPackage]) -> ModelPackage:
    """Version 1.0.0, published."""
    made = package("1.0.0")
    publish(made, URI, s3)
    return made


def test_a_new_version_takes_over(s3, first, package, worker):
    one = worker()
    one.model.start()
    assert one.model.poll_s > 0
    assert one.version == "1.0.0"
    before = one.model.current()
    assert one.model.poll()
    assert one.model.current() is before, "the channel has not moved"

    publish(package("2.0.0"), URI, s3)
    assert one.model.poll()
    assert one.version == "2.0.0"
    assert one.serves() == {("tiny", "2.0.0", "latest")}
    assert one.value("swaps_total") == 1
    assert one.refusals() == {}
    assert one.value("last_poll_seconds") > 0

    promote(HERE, s3, Release("tiny", "1.0.0"), "latest")
    assert one.model.poll()
    assert one.version == "1.0.0"


def test_the_old_version_answers_until_the_new_one_is_loaded(s3, first, package, worker, monkeypatch):
    one = worker()
    one.model.start()
    publish(package("2.0.0"), URI, s3)
    loads, may_load, failures = threading.Event(), threading.Event(), []
    load = served.load_checked

    def held(*args, **more):
        loads.set()
        assert may_load.wait(60)
        return load(*args, **more)

    monkeypatch.setattr(served, "load_checked", held)
    watch = ChannelWatch(one.model, 0.01, failures.append)
    watch.start()
    try:
        assert loads.wait(60)
        assert one.version == "1.0.0"
        assert len(one.model.current().classify(["hello good"])) == 1
        may_load.set()
        wait_for(lambda: one.version == "2.0.0", what="the new version does not take over")
    finally:
        may_load.set()
        watch.stop()
    assert failures == []


def test_each_worker_follows_its_own_channel(s3, first, package, worker):
    promote(HERE, s3, Release("tiny", "1.0.0"), "stable")
    publish(package("2.0.0"), URI, s3)
    stable, latest = worker(model_channel="stable"), worker()
    for one in (stable, latest):
        one.model.start()
    assert (stable.version, latest.version) == ("1.0.0", "2.0.0")
    assert stable.serves() == {("tiny", "1.0.0", "stable")}


def test_a_folder_is_served_and_not_watched(first, worker):
    one = worker(model_uri=str(first.path))
    one.model.start()
    assert one.version == "1.0.0"
    assert one.model.poll_s == 0
    assert worker(model_poll_s=0.0).model.poll_s == 0


def _no_manifest(s3: DeletingS3, _package: ModelPackage) -> None:
    s3.delete(BUCKET, "emotion/tiny/2.0.0/manifest.json")


def _bad_manifest(s3: S3, _package: ModelPackage) -> None:
    s3.put(BUCKET, "emotion/tiny/2.0.0/manifest.json", b"{}")


def _missing_file(s3: DeletingS3, _package: ModelPackage) -> None:
    s3.delete(BUCKET, KEY)


def _truncated_file(s3: S3, package: ModelPackage) -> None:
    s3.put(BUCKET, KEY, (package.path / "model.onnx").read_bytes()[:-1])


def _changed_file(s3: S3, package: ModelPackage) -> None:
    content = bytearray((package.path / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    s3.put(BUCKET, KEY, bytes(content))


@pytest.mark.parametrize(
    ("damage", "reason", "message"),
    [
        (_no_manifest, "manifest", "has no tiny 2.0.0"),
        (_bad_manifest, "manifest", "manifest.json is malformed"),
        (_missing_file, "download", "model.onnx is missing"),
        (_truncated_file, "checksum", "model.onnx is damaged"),
        (_changed_file, "checksum", "model.onnx is damaged"),
    ],
)
def test_a_damaged_version_is_refused_and_the_old_one_stays(
    s3, first, package, worker, caplog, damage, reason, message
):
    one = worker()
    one.model.start()
    new = package("2.0.0")
    publish(new, URI, s3)
    damage(s3, new)

    for _ in range(3):
        assert one.model.poll(), "S3 did answer"
    assert one.version == "1.0.0"
    assert one.refusals() == {reason: 1}, "tried once, not at every poll"
    assert one.value("swaps_total") == 0
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "the model on channel latest is refused" in record.message
    assert "tiny 1.0.0 keeps serving" in record.message
    assert message in record.message

    # The next version is not affected.
    publish(package("3.0.0"), URI, s3)
    assert one.model.poll()
    assert one.version == "3.0.0"


def test_a_model_that_cannot_be_loaded_is_refused(s3, first, tmp_path, worker, caplog):
    one = worker()
    one.model.start()
    publish(tiny_package(tmp_path / "2", version="2.0.0", networks={"model.onnx": b"not a network"}), URI, s3)
    one.model.poll()
    assert (one.version, one.refusals()) == ("1.0.0", {"load": 1})


def test_a_model_with_other_answers_to_its_golden_posts_is_refused(s3, first, package, worker, caplog):
    """The checksums are right, but another network made the golden posts."""
    one = worker()
    one.model.start()
    publish(package("2.0.0", strength=1.0, golden_of=3.0), URI, s3)
    one.model.poll()
    assert (one.version, one.refusals()) == ("1.0.0", {"golden": 1})


@pytest.mark.parametrize("content", [b"not json", None])
def test_a_channel_that_is_damaged_or_missing_is_refused(s3, first, worker, content):
    one = worker()
    one.model.start()
    pointer = s3.read(BUCKET, "emotion/latest").body
    if content is None:
        s3.delete(BUCKET, "emotion/latest")
    else:
        s3.put(BUCKET, "emotion/latest", content)
    for _ in range(3):
        assert one.model.poll()
    assert (one.version, one.refusals()) == ("1.0.0", {"channel": 1})
    s3.put(BUCKET, "emotion/latest", pointer)
    one.model.poll()
    assert (one.version, one.value("swaps_total")) == ("1.0.0", 0)


def test_a_refused_version_is_tried_again_when_the_channel_moves_to_it_again(s3, first, package, worker):
    one = worker()
    one.model.start()
    new = package("2.0.0")
    publish(new, URI, s3)
    _changed_file(s3, new)
    one.model.poll()
    s3.put(BUCKET, KEY, (new.path / "model.onnx").read_bytes())  # repair the file
    one.model.poll()
    assert (one.version, one.refusals()) == ("1.0.0", {"checksum": 1})
    for version in ("1.0.0", "2.0.0"):
        promote(HERE, s3, Release("tiny", version), "latest")
        one.model.poll()
    assert (one.version, one.refusals()) == ("2.0.0", {"checksum": 1})


def test_s3_goes_away_and_comes_back(s3, own_s3, first, package, worker, caplog):
    caplog.set_level(logging.INFO)
    one = worker()
    one.model.start()
    publish(package("2.0.0"), URI, s3)
    own_s3.stop()
    for _ in range(2):
        assert not one.model.poll()
    assert one.version == "1.0.0"
    assert one.value("poll_failures_total", cause="unavailable") == 2
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1, "logged once"
    assert "the channel latest cannot be followed, tiny 1.0.0 keeps serving" in warnings[0].message
    own_s3.start()
    assert one.model.poll()
    assert one.version == "2.0.0"
    assert "the channel latest can be followed again" in caplog.messages


def test_s3_goes_away_in_the_middle_of_a_download(s3, own_s3, first, package, worker, monkeypatch):
    one = worker()
    one.model.start()
    publish(package("2.0.0"), URI, s3)
    download = S3.download

    def stopping(self, bucket, key, file, on_bytes=None):
        own_s3.stop()
        return download(self, bucket, key, file, on_bytes)

    with monkeypatch.context() as patch:
        patch.setattr(S3, "download", stopping)
        assert not one.model.poll()
    assert (one.version, one.refusals()) == ("1.0.0", {})
    own_s3.start()
    assert one.model.poll(), "the poll decided nothing, so it is repeated"
    assert one.version == "2.0.0"


def test_a_start_without_s3_takes_the_last_good_version(s3, own_s3, first, package, worker, caplog):
    before = worker()
    before.model.start()
    own_s3.stop()

    one = worker()
    one.model.start()
    assert one.version == "1.0.0"
    assert one.value("from_cache") == 1
    assert one.value("poll_failures_total", cause="unavailable") == 1
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "no answer" in warning.message
    assert "the last good model in the cache serves: tiny 1.0.0" in warning.message
    assert not one.model.poll()

    own_s3.start()
    assert one.model.poll()
    assert (one.version, one.value("from_cache"), one.value("swaps_total")) == ("1.0.0", 0, 0)
    publish(package("2.0.0"), URI, s3)
    assert one.model.poll()
    assert (one.version, one.value("swaps_total")) == ("2.0.0", 1)


def test_the_last_good_version_is_that_of_the_same_registry_and_channel(s3, own_s3, first, package, worker):
    promote(HERE, s3, Release("tiny", "1.0.0"), "stable")
    publish(package("2.0.0"), URI, s3)
    for channel in ("stable", "latest"):
        worker(model_channel=channel).model.start()
    own_s3.stop()
    one = worker(model_channel="stable")
    one.model.start()
    assert one.version == "1.0.0"
    for others in ({"model_channel": "candidate"}, {"model_uri": f"s3://{BUCKET}/other"}):
        with pytest.raises(UnavailableError, match="no answer"):
            worker(**others).model.start()


def test_a_start_without_s3_and_without_a_copy_fails(own_s3, worker):
    own_s3.stop()
    with pytest.raises(UnavailableError, match="no answer"):
        worker().model.start()


def test_a_damaged_copy_does_not_serve(s3, own_s3, first, worker, caplog, tmp_path):
    worker().model.start()
    own_s3.stop()
    (copy,) = (tmp_path / "cache").glob("tiny/1.0.0-*/model.onnx")
    copy.write_bytes(b"x")
    with pytest.raises(UnavailableError):
        worker().model.start()
    assert "the last good model in the cache cannot serve either" in caplog.text
    (record,) = (tmp_path / "cache/.last-good").iterdir()
    record.write_text("{")
    with pytest.raises(UnavailableError):
        worker().model.start()


def test_a_start_on_a_refused_version_takes_the_last_good_one(s3, first, package, worker, caplog):
    worker().model.start()
    new = package("2.0.0")
    publish(new, URI, s3)
    _changed_file(s3, new)
    one = worker()
    one.model.start()
    assert (one.version, one.value("from_cache"), one.refusals()) == ("1.0.0", 1, {"checksum": 1})
    assert "the last good model in the cache serves: tiny 1.0.0" in caplog.text
    one.model.poll()
    assert one.refusals() == {"checksum": 1}


def test_a_start_on_a_refused_version_without_a_good_one_fails(s3, package, worker):
    new = package("2.0.0")
    publish(new, URI, s3)
    _changed_file(s3, new)
    with pytest.raises(ModelError, match=r"model\.onnx is damaged"):
        worker().model.start()


def test_a_cache_that_can_no_longer_be_used(s3, first, package, worker, tmp_path):
    one = worker()
    one.model.start()
    publish(package("2.0.0"), URI, s3)
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("in the way")
    assert not one.model.poll()
    assert (one.version, one.value("poll_failures_total", cause="cache")) == ("1.0.0", 1)
    (tmp_path / "cache").unlink()
    assert one.model.poll()
    assert one.version == "2.0.0"


def test_a_download_ends_when_the_worker_stops(s3, first, package, worker, tmp_path):
    one = worker()
    one.model.start()
    publish(package("2.0.0"), URI, s3)
    one.model.cancel()
    with pytest.raises(served.StoppedError):
        one.model.poll()
    assert one.version == "1.0.0"
    assert not list((tmp_path / "cache/tiny").glob(".*.partial"))
