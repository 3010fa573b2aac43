"""Where a process gets its model from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from connectors.s3.client import S3Config


@dataclass(frozen=True)
class ModelSource:
    """Where a process gets its model from.

    Attributes:
        uri: a registry (`s3://bucket/prefix`), or the folder of one package.
        channel: the registry's channel to follow.
        cache: folder for downloaded packages.
        threads: ONNX Runtime's intra-op threads.
        poll_s: seconds between two polls of the channel; 0 reads it at the start only.
        s3: how to reach S3.
    """

    uri: str
    channel: str
    cache: Path
    threads: int
    poll_s: float
    s3: S3Config
