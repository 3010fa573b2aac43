"""Tells which versions serve, for a process that uses no model: it reads channels and manifests, and loads nothing.

A process that serves models (`served.ServedModel`) reads the same channels. It takes over a new version only after it
has downloaded and checked it, so for some seconds it serves an older version than this module names; and if it refuses
the version, until the channel moves on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from connectors.errors import ConnectorError
from connectors.s3 import client as s3_connector
from connectors.s3.client import S3
from models.errors import ModelError
from models.package.folder import read_manifest
from models.package.manifest import Manifest
from models.registry.cache_retention import last_good
from models.registry.channels import require_channel
from models.registry.location import S3Location, parse_uri
from models.registry.version import read_version
from models.serving.source import ModelSource, distinct_sources
from models.text.model_set import check_languages

logger = logging.getLogger(__name__)


class ServingVersions:
    """Follows the manifests of the models that serve. Call its methods in one thread at a time."""

    def __init__(self, main: ModelSource, by_language: Mapping[str, ModelSource]) -> None:
        """Prepare to read. Nothing is read or sent yet.

        Args:
            main: The main model.
            by_language: The models that are configured for a language, by its subtag of BCP 47.

        Raises:
            ModelError: A model URI is neither a registry nor a folder.
            RejectedError: The S3 endpoint is not valid.
        """
        self._followed = [_Followed(source) for source in distinct_sources(main, by_language)]

    def read(self) -> list[Manifest]:
        """Returns the manifest of each model, the main one first.

        A version that cannot be read, or that does not read its languages, leaves the one before it. The first read
        takes the version that was last good on this machine instead, as a process that serves does.

        Raises:
            ModelError, UnavailableError, RejectedError: A model was never read, and none was last good.
        """
        return [followed.read() for followed in self._followed]

    def close(self) -> None:
        """Close the connections to S3."""
        for followed in self._followed:
            followed.close()


class _Followed:
    """One model: the package in a folder, which never changes, or the version that a channel points to."""

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self._location: S3Location | Path = parse_uri(source.uri)
        self._s3: S3 | None = s3_connector.connect(source.s3) if isinstance(self._location, S3Location) else None
        self._manifest: Manifest | None = None
        self._etag = ""
        self._failing = False

    def read(self) -> Manifest:
        """Returns the manifest that serves now; see `ServingVersions.read`."""
        if self._s3 is None and self._manifest is not None:
            return self._manifest
        try:
            self._manifest = self._read()
        except (ModelError, ConnectorError) as exc:
            self._manifest = self._manifest or self._last_good()
            if self._manifest is None:
                raise
            if not self._failing:
                name, version = self._manifest.name, self._manifest.version
                logger.warning("the version that serves may not be %s %s any more: %s", name, version, exc)
            self._failing = True
        else:
            self._failing = False
        return self._manifest

    def close(self) -> None:
        """Close the connection to S3."""
        if self._s3 is not None:
            self._s3.close()

    def _read(self) -> Manifest:
        """Returns the manifest of the folder, or of the version that the channel points to now."""
        if self._s3 is None or not isinstance(self._location, S3Location):
            manifest = read_manifest(Path(str(self._location)))
            check_languages(manifest, self._source.languages)
            return manifest
        channel = require_channel(self._location, self._s3, self._source.channel)
        if self._manifest is not None and channel.etag == self._etag:
            return self._manifest
        manifest = read_version(self._location, self._s3, channel.pointer.release).manifest
        check_languages(manifest, self._source.languages)
        self._etag = channel.etag
        return manifest

    def _last_good(self) -> Manifest | None:
        """Returns the manifest of the channel's version that was last good on this machine; None if none was."""
        if self._s3 is None:
            return None
        try:
            package = last_good(self._source.uri, self._source.channel, self._s3.where, self._source.cache.expanduser())
        except ModelError:
            return None
        return None if package is None else package.manifest
