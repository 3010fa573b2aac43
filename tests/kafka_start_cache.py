"""Makes the starts of the embedded Kafka cheap: Java loads and links its classes ahead of time (JEP 514).

A start takes 2.7 s of processor time with the cache, and 6.5 s without. The suite starts Kafka some forty times.

`python -m tests.kafka_start_cache FILE` runs Kafka once, and writes the cache. Whoever starts Kafka before the file is
there does without it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from connectors.errors import LocalStackError
from connectors.local import LocalStack
from connectors.local.java import find_java, java_version

FIRST_JAVA = 25
"""The first version of Java that writes such a cache in one run."""

OPTIONS = "JDK_JAVA_OPTIONS"
"""The environment variable with options for every `java` program."""


def is_possible() -> bool:
    """Returns whether the embedded Kafka's Java has such caches."""
    try:
        return java_version(find_java()) >= FIRST_JAVA
    except LocalStackError:
        return False


def reading(cache: Path) -> str:
    """Returns Java's options for a start that uses the cache, if it is there, and says nothing if it is not."""
    return f"-XX:AOTCache={cache} -Xlog:disable"


def begin(cache: Path) -> subprocess.Popen[bytes]:
    """Write the cache in another process."""
    return subprocess.Popen(
        [sys.executable, "-m", __name__, str(cache)], cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL
    )


def write(cache: Path) -> None:
    """Write the cache. It appears under its name when it is complete."""
    unfinished = cache.with_suffix(".unfinished")
    os.environ[OPTIONS] = f"-XX:TieredStopAtLevel=1 -XX:AOTCacheOutput={unfinished}"
    with tempfile.TemporaryDirectory(prefix="kafka-start-cache-") as folder:
        stack = LocalStack(Path(folder))
        try:
            stack.start("kafka")
            stack.stop("kafka")  # a clean end, at which Java writes the cache
        finally:
            stack.down()
    unfinished.rename(cache)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which waits for this process
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # pytest ended before the cache was written
    write(Path(sys.argv[1]))
