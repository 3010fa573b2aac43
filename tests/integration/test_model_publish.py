"""A published version is complete and never changes, and an interrupted publication can be finished; with a real S3."""

import pytest

from connectors.errors import UnavailableError
from models.errors import ModelError, ModelNotFoundError, ModelPackageError
from models.package.folder import load_package
from models.registry.cache import resolve
from models.registry.channels import Release, read_channel
from models.registry.location import S3Location
from models.registry.publish import promote, publish, publish_if_empty
from tests.integration.registry_support import BUCKET, RACERS, URI, CountingS3, make_package, one_line, race


def test_a_published_package_is_resolved(s3, package, tmp_path):
    publish(package, URI, s3)
    got = resolve(URI, s3, tmp_path / "cache")
    assert got.manifest == package.manifest
    assert load_package(got.path) == got
    assert read_channel(S3Location(BUCKET, "emotion"), s3, "latest").pointer.version == "1.0.0"
    assert {info.key for info in s3.list(BUCKET)} == {
        "emotion/latest",
        "emotion/tiny/1.0.0.claim",
        *(f"emotion/tiny/1.0.0/{name}" for name in (*package.manifest.files, "manifest.json")),
    }


@pytest.mark.parametrize("uri", [f"s3://{BUCKET}", f"s3://{BUCKET}/", f"s3://{BUCKET}/a/b/"])
def test_any_prefix_is_accepted(s3, package, tmp_path, uri):
    publish(package, uri, s3)
    assert resolve(uri, s3, tmp_path / "cache").manifest == package.manifest


def test_a_new_version_becomes_current_and_the_old_one_stays(s3, package, tmp_path):
    publish(package, URI, s3)
    newer = make_package(tmp_path / "newer", "1.1.0", b"better")
    publish(newer, URI, s3)
    assert resolve(URI, s3, tmp_path / "cache").manifest == newer.manifest
    assert s3.read(BUCKET, "emotion/tiny/1.0.0/manifest.json") is not None


def test_a_version_never_changes(s3, package, tmp_path):
    publish(package, URI, s3)
    other = make_package(tmp_path / "other", content=b"changed")
    with pytest.raises(ModelPackageError, match=r"already has tiny 1\.0\.0 with other content"):
        publish(other, URI, s3)
    assert resolve(URI, s3, tmp_path / "cache").manifest == package.manifest


def test_of_different_packages_published_at_once_under_one_version_one_is_published(s3, tmp_path):
    """The uploads run at the same time. Without the claim one package could overwrite files of the other."""
    packages = [make_package(tmp_path / str(n), content=b"%07d" % n) for n in range(RACERS)]

    def attempt(number: int) -> bool | str:
        try:
            return publish(packages[number], URI, s3, channel=None).uploaded
        except ModelPackageError as exc:
            return str(exc)

    outcomes = race(attempt)
    assert outcomes.count(True) == 1
    assert all("publish under a new version" in told for told in outcomes if told is not True)
    promote(S3Location(BUCKET, "emotion"), s3, Release("tiny", "1.0.0"), "latest")
    assert resolve(URI, s3, tmp_path / "cache").manifest == packages[outcomes.index(True)].manifest


def test_a_late_upload_of_other_content_changes_nothing(s3, package, tmp_path):
    """The upload began before the version existed, and continues after the other package's manifest was written."""
    other = make_package(tmp_path / "other", content=b"changed")

    class Late(CountingS3):
        def put(self, bucket, key, body, **conditions):
            if "tiny" in key and not self.uploads:
                self.uploads += 1
                publish(package, URI, s3)
            return super().put(bucket, key, body, **conditions)

    with pytest.raises(ModelPackageError, match=r"tiny 1\.0\.0 .*publish under a new version"):
        publish(other, URI, Late(s3))
    assert resolve(URI, s3, tmp_path / "cache").manifest == package.manifest


def test_publishing_again_repairs_the_manifest(s3, package, tmp_path):
    """The claim tells to which package the version belongs."""
    publish(package, URI, s3)
    s3.put(BUCKET, "emotion/tiny/1.0.0/manifest.json", b"{}")
    with pytest.raises(ModelPackageError, match="with other content"):
        publish(make_package(tmp_path / "other", content=b"changed"), URI, s3)
    assert publish(package, URI, s3).uploaded
    assert resolve(URI, s3, tmp_path / "cache").manifest == package.manifest


@pytest.mark.parametrize("damage", ["changed", "truncated", "gone"])
def test_publishing_again_repairs(s3, package, tmp_path, damage):
    publish(package, URI, s3)
    key = "emotion/tiny/1.0.0/model.onnx"
    match damage:
        case "changed":
            s3.put(BUCKET, key, b"x" * 7000)
        case "truncated":
            s3.put(BUCKET, key, b"x")
        case _:
            s3.delete(BUCKET, key)
    counting = CountingS3(s3)
    assert publish(package, URI, counting).uploaded
    assert counting.uploads == 1, "correct files are not uploaded again"
    assert resolve(URI, s3, tmp_path / "cache").manifest == package.manifest
    assert not publish(package, URI, s3).uploaded


def test_an_unfinished_publication_keeps_its_version(s3, package, tmp_path):
    class Dies(CountingS3):
        def upload(self, *args):
            raise UnavailableError("cut off")

    with pytest.raises(UnavailableError):
        publish(package, URI, Dies(s3))
    other = make_package(tmp_path / "other", content=b"changed")
    with pytest.raises(ModelPackageError) as info:
        publish(other, URI, s3)
    one_line(info, "tiny 1.0.0", "publish under a new version", "emotion/tiny/1.0.0.claim")
    assert publish(package, URI, s3).uploaded


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
    made = [channel for channels in race(lambda _: publish_if_empty(package, URI, s3)) for channel in channels]
    assert sorted(made) == ["latest", "stable"]
    assert resolve(URI, s3, tmp_path / "cache").manifest == package.manifest


def test_an_interrupted_publication_is_invisible_and_can_be_finished(s3, package, tmp_path):
    class Dies(CountingS3):
        def upload(self, bucket, key, file, on_bytes=None):
            if self.uploads == 2:
                raise UnavailableError("cut off")
            super().upload(bucket, key, file, on_bytes)

    with pytest.raises(UnavailableError, match="cut off"):
        publish_if_empty(package, URI, Dies(s3))
    with pytest.raises(ModelNotFoundError, match="has no channel latest"):
        resolve(URI, s3, tmp_path / "cache")
    assert publish_if_empty(package, URI, s3)
    assert resolve(URI, s3, tmp_path / "cache").manifest == package.manifest


def test_only_s3_can_be_published_to(s3, package, tmp_path):
    with pytest.raises(ModelError, match="not the folder"):
        publish(package, str(tmp_path), s3)
