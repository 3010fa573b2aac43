"""The sources of a process's models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from connectors.s3.client import S3Config
from models.registry.location import S3Location, parse_uri


@dataclass(frozen=True)
class ModelSource:
    """Where a process gets its model from, and how it loads it.

    Attributes:
        uri: A registry (`s3://bucket/prefix`), or the folder of one package.
        channel: The registry's channel to follow.
        cache: The folder for downloaded packages.
        threads: ONNX Runtime's intra-op threads.
        poll_s: Seconds between two polls of the channel. 0 reads the channel at the start only.
        s3: How to reach S3.
        languages: Subtags of BCP 47. A version that does not read all of them is refused.
    """

    uri: str
    channel: str
    cache: Path
    threads: int
    poll_s: float
    s3: S3Config
    languages: tuple[str, ...] = ()


def distinct_sources(main: ModelSource, by_language: Mapping[str, ModelSource]) -> list[ModelSource]:
    """Returns the source of each model once, with the languages that it is configured for. The main one is the first.

    Args:
        main: The main model.
        by_language: The models that are configured for a language, by its subtag of BCP 47.

    Raises:
        ModelError: A model URI is neither a registry nor a folder.
    """
    groups: dict[tuple[S3Location | Path, str], tuple[ModelSource, list[str]]] = {_identity(main): (main, [])}
    for language, source in by_language.items():
        groups.setdefault(_identity(source), (source, []))[1].append(language)
    return [replace(source, languages=tuple(languages)) for source, languages in groups.values()]


def _identity(source: ModelSource) -> tuple[S3Location | Path, str]:
    """Returns what two sources of the same model have in common. The channel does not matter for a folder.

    Raises:
        ModelError: The URI is neither a registry nor a folder.
    """
    location = parse_uri(source.uri)
    return location, source.channel if isinstance(location, S3Location) else ""
