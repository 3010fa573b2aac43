"""Which versions serve is read from channels and manifests, on a real S3 server, without loading a model."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.errors import UnavailableError
from connectors.s3.client import S3
from models.errors import ModelError, ModelNotFoundError
from models.package.folder import load_package
from models.registry.cache import fetch
from models.registry.cache_retention import remember_good
from models.registry.channels import STABLE, Release, require_channel
from models.registry.publish import promote, publish
from models.registry.version import read_version
from models.serving.versions import ServingVersions
from streams.connections import language_model_sources, model_source
from streams.settings import Settings
from tests.helpers import make_settings
from tests.integration.registry_support import HERE, URI, S3Server, make_package, settings_of
from tests.tiny_model import spanish_package, tiny_package


def versions_of(settings: Settings) -> ServingVersions:
    return ServingVersions(model_source(settings), language_model_sources(settings))


def read(versions: ServingVersions) -> list[str]:
    return [f"{one.name} {one.version}" for one in versions.read()]


def release(folder: Path, s3: S3, version: str) -> None:
    publish(make_package(folder / version, version), URI, s3, channel=STABLE)


def test_it_follows_the_channel(s3: S3, own_s3: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    versions = versions_of(settings_of(own_s3.config, URI, tmp_path))
    with pytest.raises(ModelNotFoundError):
        versions.read()
    release(tmp_path, s3, "1.0.0")
    assert read(versions) == ["tiny 1.0.0"]
    release(tmp_path, s3, "1.1.0")
    assert read(versions) == ["tiny 1.1.0"]
    assert versions.read()[0].heads[0].labels == ("joy", "anger")
    own_s3.stop()
    assert [read(versions), read(versions)] == [["tiny 1.1.0"]] * 2
    assert caplog.text.count("may not be tiny 1.1.0 any more") == 1
    own_s3.start()
    promote(HERE, s3, Release("tiny", "1.0.0"), STABLE)
    assert read(versions) == ["tiny 1.0.0"]
    versions.close()


def test_without_s3_it_starts_with_the_last_good_version(s3: S3, own_s3: S3Server, tmp_path: Path) -> None:
    settings = settings_of(own_s3.config, URI, tmp_path)
    release(tmp_path, s3, "1.0.0")
    own_s3.stop()
    with pytest.raises(UnavailableError):
        versions_of(settings).read()
    own_s3.start()
    version = read_version(HERE, s3, require_channel(HERE, s3, STABLE).pointer.release)
    remember_good(fetch(version, s3, settings.model_cache), URI, STABLE, s3.where, settings.model_cache)
    own_s3.stop()
    assert read(versions_of(settings)) == ["tiny 1.0.0"]


def test_models_for_languages_are_named_once(tmp_path: Path) -> None:
    tiny_package(tmp_path / "main", languages=["en"])
    spanish_package(tmp_path / "iberian", languages=["es", "pt"])
    iberian = tmp_path / "iberian"
    versions = versions_of(
        make_settings(model_uri=str(tmp_path / "main"), models=f"es={iberian},pt={iberian},en={tmp_path / 'main'}")
    )
    main, other = load_package(tmp_path / "main").manifest, load_package(iberian).manifest
    assert read(versions) == [f"{main.name} {main.version}", f"{other.name} {other.version}"]
    shutil.rmtree(iberian)
    assert len(read(versions)) == 2  # a folder is read once
    with pytest.raises(ModelError, match="configured for fr"):
        versions_of(make_settings(model_uri=str(tmp_path / "main"), models=f"fr={tmp_path / 'main'}")).read()


def test_the_warmer_does_not_load_the_model_runtime() -> None:
    script = (
        "import sys, streams.warm.run; assert not {'onnxruntime', 'tokenizers', 'fastapi', 'faust'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
