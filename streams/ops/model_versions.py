"""Lists the versions in the model registry, as rows for a table or for JSON."""

from __future__ import annotations

from typing import Any

from connectors.s3.client import S3
from models.errors import ModelPackageError
from models.registry.catalog import Contents
from models.registry.channels import Channel, Release
from models.registry.location import S3Location
from models.registry.version import read_version
from streams.records import rfc3339


def version_rows(location: S3Location, s3: S3, registry: Contents) -> list[dict[str, Any]]:
    """Returns a row for each version, in the order of `registry.releases`.

    Reads the manifest of each version from S3. `problem` says why a manifest cannot be read; `created_at` is None and
    `metrics` is empty then.

    Raises:
        ConnectorError: S3 does not answer, or rejects the call.
    """
    return [_version_row(location, s3, registry, release) for release in registry.releases]


def _version_row(location: S3Location, s3: S3, registry: Contents, release: Release) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": release.name,
        "version": release.version,
        "bytes": sum(registry.releases[release].values()),
        "created_at": None,
        "metrics": {},
        "channels": channels_of(registry, release),
        "problem": None,
    }
    try:
        manifest = read_version(location, s3, release).manifest
    except ModelPackageError as exc:
        return {**row, "problem": str(exc)}
    return {**row, "created_at": rfc3339(manifest.created_at), "metrics": manifest.metrics}


def problem_rows(registry: Contents) -> list[dict[str, Any]]:
    """Returns a row for each channel whose pointer cannot be read; it has neither name nor version."""
    return [
        {
            "name": None,
            "version": None,
            "bytes": None,
            "created_at": None,
            "metrics": {},
            "channels": [name],
            "problem": problem,
        }
        for name, problem in registry.problems.items()
    ]


def channels_of(registry: Contents, release: Release) -> list[str]:
    """Returns the names of the channels that point to a version, sorted."""
    return sorted(name for name, channel in registry.channels.items() if channel.pointer.release == release)


def dangling_channels(registry: Contents) -> list[Channel]:
    """Returns the channels that point to a version that the registry lacks."""
    return [channel for channel in registry.channels.values() if channel.pointer.release not in registry.releases]
