"""The cache hands out only complete and correct copies, and loads each version once; with a real S3 server."""

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from models.errors import ModelCacheError, ModelError, ModelNotFoundError, ModelPackageError
from models.package.folder import load_package
from models.registry.cache import fetch, resolve
from models.registry.channels import Release
from models.registry.location import S3Location
from models.registry.publish import publish, publish_if_empty
from models.registry.version import read_version
from tests.integration.registry_support import BUCKET, URI, CountingS3, make_package, one_line, race


def test_a_valid_copy_is_not_downloaded_again(s3, package, tmp_path):
    publish(package, URI, s3)
    counting = CountingS3(s3)
    first = resolve(URI, counting, tmp_path / "cache")
    assert counting.downloads == len(package.manifest.files)
    assert resolve(URI, counting, tmp_path / "cache") == first
    assert counting.downloads == len(package.manifest.files)


def test_objects_of_another_size_than_listed_are_not_downloaded(s3, package, tmp_path):
    publish(package, URI, s3)
    s3.put(BUCKET, "emotion/tiny/1.0.0/tokenizer.json", bytes(10_000))
    counting = CountingS3(s3)
    with pytest.raises(ModelPackageError, match=r"tokenizer\.json is damaged: .*10000 bytes.* 2 bytes"):
        resolve(URI, counting, tmp_path / "cache")
    assert counting.downloads == 0


@pytest.mark.parametrize("key", ["latest", "tiny/1.0.0/manifest.json"])
def test_of_a_huge_object_only_the_beginning_is_read(s3, package, tmp_path, key):
    publish(package, URI, s3)
    s3.put(BUCKET, f"emotion/{key}", b" " * (8 << 20))
    largest = 0

    class Measuring(CountingS3):
        def read(self, *args, **kwargs):
            nonlocal largest
            stored = super().read(*args, **kwargs)
            largest = max(largest, len(stored.body))
            return stored

    with pytest.raises(ModelPackageError, match=r"is larger than 1048576 bytes"):
        resolve(URI, Measuring(s3), tmp_path / "cache")
    assert largest <= (1 << 20) + 1


def test_a_wait_for_the_cache_can_be_ended(s3, package, tmp_path):
    """A worker does this if it must stop while another worker downloads."""

    class EnoughError(Exception):
        pass

    def enough(_count: int) -> None:
        raise EnoughError

    publish(package, URI, s3)
    version = read_version(S3Location(BUCKET, "emotion"), s3, Release("tiny", "1.0.0"))
    (tmp_path / "cache/tiny").mkdir(parents=True)
    with FileLock(tmp_path / "cache/tiny/.lock"), pytest.raises(EnoughError):
        fetch(version, s3, tmp_path / "cache", enough)


def test_a_copy_that_cannot_be_read_now_is_kept(s3, package, tmp_path, monkeypatch):
    """An error such as too many open files says nothing about the copy, and another worker may be about to load it."""
    publish(package, URI, s3)
    first = resolve(URI, s3, tmp_path / "cache")
    inode = first.path.stat().st_ino
    opened = Path.open

    def fail(self: Path, *args, **kwargs):
        if self.name == "model.onnx" and "r" in (*args, "r")[0]:
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        with pytest.raises(ModelCacheError, match="Too many open files"):
            resolve(URI, s3, tmp_path / "cache")
    assert first.path.stat().st_ino == inode
    assert resolve(URI, s3, tmp_path / "cache") == first


@pytest.mark.parametrize("damage", ["changed", "missing file", "no manifest", "bad manifest"])
def test_a_damaged_copy_is_downloaded_again(s3, package, tmp_path, damage):
    publish(package, URI, s3)
    first = resolve(URI, s3, tmp_path / "cache")
    match damage:
        case "changed":
            first.tier_files[-1].write_bytes(b"x" * 7000)
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


def test_the_files_of_a_killed_download_are_removed(s3, package, tmp_path):
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


def test_processes_share_one_cold_cache(s3, s3_server, package, tmp_path):
    publish(package, URI, s3)
    program = (
        "import sys; from connectors.s3.client import *; from models.registry.cache import resolve\n"
        "s3 = connect(S3Config(sys.argv[1], access_key_id='key', secret_access_key='x'))\n"
        "print(resolve(sys.argv[2], s3, sys.argv[3]).path)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, s3_server.endpoint, URI, str(tmp_path / "cache")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = {process.communicate(timeout=180)[0].strip() for process in processes}
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
        ("tiny/1.0.0/model.onnx", b"", r"model\.onnx is damaged: .*has 0 bytes.* 7000 bytes"),
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
    # No incomplete copy is left.
    cache = tmp_path / "cache"
    assert not cache.exists() or [p for p in cache.rglob("*") if p.is_file() and p.name != ".lock"] == []


def test_a_file_that_is_missing_in_the_registry_is_reported(s3, package, tmp_path):
    publish(package, URI, s3)
    s3.delete(BUCKET, "emotion/tiny/1.0.0/tokenizer.json")
    with pytest.raises(ModelPackageError, match=r"tokenizer\.json is missing"):
        resolve(URI, s3, tmp_path / "cache")


def test_a_manifest_of_another_version_is_reported(s3, package, tmp_path):
    publish(package, URI, s3)
    other = make_package(tmp_path / "other", "9.9.9")
    s3.put(BUCKET, "emotion/tiny/1.0.0/manifest.json", (other.path / "manifest.json").read_bytes())
    with pytest.raises(ModelPackageError, match=r"is the manifest of tiny 9\.9\.9"):
        resolve(URI, s3, tmp_path / "cache")


def test_a_pointer_to_nothing_is_reported(s3, tmp_path):
    s3.put(BUCKET, "emotion/latest", json.dumps({"name": "tiny", "version": "3.0.0"}).encode())
    with pytest.raises(ModelNotFoundError, match=r"has no tiny 3\.0\.0"):
        resolve(URI, s3, tmp_path / "cache")


def test_a_missing_bucket_is_reported(no_buckets, package, tmp_path):
    for call in (
        lambda: resolve(URI, no_buckets, tmp_path),
        lambda: publish(package, URI, no_buckets),
        lambda: publish_if_empty(package, URI, no_buckets),
    ):
        with pytest.raises(ModelNotFoundError) as info:
            call()
        one_line(info, f"there is no bucket {BUCKET}")


def test_an_empty_registry(s3, tmp_path):
    with pytest.raises(ModelNotFoundError, match="no emotion/latest; `emostream init` creates it"):
        resolve(URI, s3, tmp_path)


def test_a_cache_that_cannot_be_used_is_an_error(s3, package, tmp_path):
    publish(package, URI, s3)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match=r"the model cache .* cannot be used"):
        resolve(URI, s3, tmp_path / "file")


def test_a_folder_is_not_a_registry(s3, package, tmp_path):
    with pytest.raises(ModelError, match="not the folder"):
        resolve(str(package.path), s3, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_the_shipped_package_can_be_copied(tmp_path, package):
    copy = tmp_path / "copy"
    shutil.copytree(package.path, copy)
    assert load_package(copy).manifest == package.manifest
