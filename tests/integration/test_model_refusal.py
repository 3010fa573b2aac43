"""A worker refuses a version that it cannot serve, keeps the one it has, and says why."""

from __future__ import annotations

import logging

import pytest

from connectors.s3.client import S3
from models.package.folder import ModelPackage
from models.registry.channels import Release
from models.registry.publish import promote, publish
from tests.integration.registry_support import BUCKET, HERE, URI, DeletingS3
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
from tests.tiny_model import tiny_package


def _no_manifest(s3: DeletingS3, _package: ModelPackage) -> None:
    s3.delete(BUCKET, "emotion/tiny/2.0.0/manifest.json")


def _bad_manifest(s3: S3, _package: ModelPackage) -> None:
    s3.put(BUCKET, "emotion/tiny/2.0.0/manifest.json", b"{}")


def _missing_file(s3: DeletingS3, _package: ModelPackage) -> None:
    s3.delete(BUCKET, KEY)


def _truncated_file(s3: S3, package: ModelPackage) -> None:
    s3.put(BUCKET, KEY, (package.path / "model.onnx").read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "reason", "message"),
    [
        (_no_manifest, "manifest", "has no tiny 2.0.0"),
        (_bad_manifest, "manifest", "manifest.json is malformed"),
        (_missing_file, "download", "model.onnx is missing"),
        (_truncated_file, "checksum", "model.onnx is damaged"),
        (changed_file, "checksum", "model.onnx is damaged"),
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
    changed_file(s3, new)
    one.model.poll()
    s3.put(BUCKET, KEY, (new.path / "model.onnx").read_bytes())  # repair the file
    one.model.poll()
    assert (one.version, one.refusals()) == ("1.0.0", {"checksum": 1})
    for version in ("1.0.0", "2.0.0"):
        promote(HERE, s3, Release("tiny", version), "latest")
        one.model.poll()
    assert (one.version, one.refusals()) == ("2.0.0", {"checksum": 1})
