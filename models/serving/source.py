"""The source of a process's model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from connectors.s3.client import S3Config


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
