"""A worker keeps, or finds, a model while S3 does not answer or its cache is damaged."""

from __future__ import annotations

import logging
import shutil

import pytest

from connectors.errors import UnavailableError
from connectors.s3.client import S3
from models.errors import ModelError
from models.registry.channels import Release
from models.registry.publish import promote, publish
from models.serving import served
from tests.integration.registry_support import BUCKET, HERE, URI
from tests.integration.watch_support import (  # noqa: F401 - fixtures
    KEY,
    Worker,
    changed_file,
    first_fixture,
    golden_package,
    package_fixture,
    settings_fixture,
    watch_settings,
    worker_fixture,
)


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
    changed_file(s3, new)
    one = worker()
    one.model.start()
    assert (one.version, one.value("from_cache"), one.refusals()) == ("1.0.0", 1, {"checksum": 1})
    assert "the last good model in the cache serves: tiny 1.0.0" in caplog.text
    one.model.poll()
    assert one.refusals() == {"checksum": 1}


def test_a_start_on_a_refused_version_without_a_good_one_fails(s3, package, worker):
    new = package("2.0.0")
    publish(new, URI, s3)
    changed_file(s3, new)
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
