"""Where models are kept: a local folder, or an S3 prefix with immutable versions and a pointer to the current one.

    s3://bucket/prefix/latest                              {"name": …, "version": …}
    s3://bucket/prefix/<name>/<version>/manifest.json      written after the files it lists, so a version that has a
    s3://bucket/prefix/<name>/<version>/model.onnx …       manifest is complete

A pointer is one small object beside the packages, so that further pointers need no other layout.
"""

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from connectors.errors import RejectedError
from connectors.s3 import S3
from models.errors import ModelError, ModelNotFoundError, ModelPackageError
from models.package import (
    MANIFEST,
    Manifest,
    ModelPackage,
    PackageName,
    PackageVersion,
    load_package,
    parse_manifest,
    verify_file,
)

POINTER: Final = "latest"

# Seconds to wait for another process that downloads the same package: a large model over a slow line.
LOCK_TIMEOUT: Final = 600

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_BUCKET = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")


@dataclass(frozen=True)
class S3Location:
    """A registry in S3."""

    bucket: str
    prefix: str

    def key(self, *parts: str) -> str:
        """The key of something below the prefix."""
        return "/".join(part for part in (self.prefix, *parts) if part)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


class Pointer(BaseModel):
    """The content of a pointer object. Fields of later versions are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: PackageName
    version: PackageVersion


def parse_uri(uri: str) -> S3Location | Path:
    """Read a model URI: ``s3://bucket/prefix``, or the path of a folder.

    Raises:
        ModelError: It is neither.
    """
    if not uri.strip():
        raise ModelError("the model URI is empty: give s3://bucket/prefix or a folder")
    if not _SCHEME.match(uri):
        return Path(uri).expanduser()
    scheme, rest = uri.split("://", 1)
    if scheme.lower() != "s3":
        raise ModelError(f"model URI {scheme}://…: only s3://bucket/prefix or a folder will do")
    bucket, _, prefix = rest.partition("/")
    if not _BUCKET.match(bucket):
        raise ModelError(f"model URI {uri!r}: {bucket!r} is not a bucket name")
    prefix = prefix.strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise ModelError(f"model URI {uri!r}: the prefix has an empty or a dotted part")
    return S3Location(bucket, prefix)


def resolve(uri: str, s3: S3 | None, cache_dir: str | Path) -> ModelPackage:
    """Get the package that a URI stands for, verified, as local files.

    From S3, one process downloads while others on the same cache wait for it; a copy is renamed into place only once
    it is verified. A valid cached copy costs two small reads from S3, a damaged one is downloaded again.

    Args:
        uri: ``s3://bucket/prefix`` or a folder.
        s3: The connection; may be None for a folder.
        cache_dir: Where downloaded packages are kept. May be shared by processes and by registries: a copy is found
            by its manifest's digest.

    Raises:
        ModelNotFoundError: There is no such folder, bucket, pointer or version.
        ModelPackageError: The package in the folder or in S3 is damaged.
        ModelError: The URI is neither form, or the cache cannot be used.
        UnavailableError: S3 did not answer.
        RejectedError: S3 refused.
    """
    location = parse_uri(uri)
    if isinstance(location, Path):
        return load_package(location)
    s3 = _required(s3, location)
    pointer = read_pointer(location, s3)
    if pointer is None:
        raise ModelNotFoundError(f"{location} holds no model: there is no {location.key(POINTER)}")
    content = _get(s3, location, location.key(pointer.name, pointer.version, MANIFEST))
    if content is None:
        raise ModelNotFoundError(f"{location} has no {pointer.name} {pointer.version}, though it points to it")
    where = f"{location}/{pointer.name}/{pointer.version}/{MANIFEST}"
    manifest = parse_manifest(content, where)
    if (manifest.name, manifest.version) != (pointer.name, pointer.version):
        raise ModelPackageError(f"{where} is that of {manifest.name} {manifest.version}")
    try:
        return _cached(location, s3, manifest, content, Path(cache_dir).expanduser())
    except OSError as exc:
        raise ModelError(f"the model cache {cache_dir} cannot be used: {exc.strerror or exc}") from exc


def read_pointer(location: S3Location, s3: S3) -> Pointer | None:
    """Read which version is current; None where nothing has been published.

    Raises:
        ModelNotFoundError: There is no such bucket.
        ModelPackageError: The pointer is malformed.
        UnavailableError: S3 did not answer.
        RejectedError: S3 refused.
    """
    content = _get(s3, location, location.key(POINTER))
    if content is None:
        return None
    try:
        return Pointer.model_validate_json(content)
    except ValidationError as exc:
        raise ModelPackageError(f"{location}/{POINTER} is malformed: it names no model and version") from exc


def publish(package: ModelPackage, uri: str, s3: S3) -> None:
    """Upload a package and make it the current one.

    The files go first, the manifest after them, the pointer last, so that no reader ever meets half a version. A
    version that is there with the same content is not uploaded again.

    Raises:
        ModelNotFoundError: There is no such bucket.
        ModelPackageError: This version is there with other content; versions never change.
        ModelError: The URI is not one of S3.
        UnavailableError: S3 did not answer.
        RejectedError: S3 refused.
    """
    location = _in_s3(uri)
    _upload(package, location, s3)
    s3.put(location.bucket, location.key(POINTER), _pointer_to(package))


def publish_if_empty(package: ModelPackage, uri: str, s3: S3) -> bool:
    """Publish into a registry that points to nothing yet; leave any other alone.

    Safe to run twice and from several places at once: one of them writes the pointer.

    Returns:
        Whether this call wrote the pointer.

    Raises:
        ModelError: As `publish`.
        UnavailableError: S3 did not answer.
        RejectedError: S3 refused.
    """
    location = _in_s3(uri)
    if read_pointer(location, s3) is not None:
        return False
    _upload(package, location, s3)
    return s3.put(location.bucket, location.key(POINTER), _pointer_to(package), if_absent=True)


def _upload(package: ModelPackage, location: S3Location, s3: S3) -> None:
    manifest = package.manifest
    content = (package.path / MANIFEST).read_bytes()
    manifest_key = location.key(manifest.name, manifest.version, MANIFEST)
    present = _get(s3, location, manifest_key)
    if present is None:
        for name in manifest.files:
            s3.upload(location.bucket, location.key(manifest.name, manifest.version, name), package.path / name)
        if s3.put(location.bucket, manifest_key, content, if_absent=True):
            return
        present = _get(s3, location, manifest_key)
    if present != content:
        raise ModelPackageError(
            f"{location} already has {manifest.name} {manifest.version} with other content; publish under a new version"
        )


def _cached(location: S3Location, s3: S3, manifest: Manifest, content: bytes, cache_dir: Path) -> ModelPackage:
    """The verified local copy of a package, downloaded unless there is a valid one."""
    digest = hashlib.sha256(content).hexdigest()[:12]
    parent = cache_dir / manifest.name
    folder = parent / f"{manifest.version}-{digest}"
    parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(parent / f".{folder.name}.lock", timeout=LOCK_TIMEOUT):
            try:
                cached = load_package(folder)
                if cached.manifest == manifest:
                    return cached
            except ModelError:
                pass  # absent or damaged: downloaded below
            # Only the holder of the lock uses this name, so what is found there is what a killed process left.
            partial = parent / f".{folder.name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                _download(location, s3, manifest, partial)
                (partial / MANIFEST).write_bytes(content)
                if folder.exists():
                    shutil.rmtree(folder)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            return ModelPackage(folder, manifest)
    except Timeout as exc:
        raise ModelError(f"the model cache {folder} has been locked by another process for {LOCK_TIMEOUT} s") from exc


def _download(location: S3Location, s3: S3, manifest: Manifest, folder: Path) -> None:
    for name, entry in manifest.files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        source = f"{location}/{manifest.name}/{manifest.version}/{name}"
        if not s3.download(location.bucket, location.key(manifest.name, manifest.version, name), file):
            raise ModelPackageError(f"{source} is missing, though the manifest lists it")
        verify_file(file, entry, source)


def _get(s3: S3, location: S3Location, key: str) -> bytes | None:
    try:
        return s3.get(location.bucket, key)
    except RejectedError as exc:
        # Told apart only once something failed, to save a request each time.
        if not s3.bucket_exists(location.bucket):
            raise ModelNotFoundError(f"{location}: there is no bucket {location.bucket}") from exc
        raise


def _in_s3(uri: str) -> S3Location:
    location = parse_uri(uri)
    if isinstance(location, Path):
        raise ModelError(f"models are published to s3://bucket/prefix, not to the folder {location}")
    return location


def _required(s3: S3 | None, location: S3Location) -> S3:
    if s3 is None:
        raise ModelError(f"{location} needs a connection to S3, and none is configured")
    return s3


def _pointer_to(package: ModelPackage) -> bytes:
    pointer = Pointer(name=package.manifest.name, version=package.manifest.version)
    return (pointer.model_dump_json() + "\n").encode()
