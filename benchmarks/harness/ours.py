"""What the harness knows of `emostream worker`: how it is divided into processes, and whether all of them work."""

from __future__ import annotations

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from connectors.local import ports
from streams.processes import web_ports
from streams.settings import Settings

_TIMEOUT_S = 5.0


def division(threads: int, partitions: int) -> dict[str, str]:
    """Settings for a process per core, as it has by default, or per partition where there are fewer.

    Args:
        threads: of ONNX Runtime that every system has.
        partitions: of the raw topic.
    """
    processes = min(threads, partitions)
    first = ports.choose(["web"], {}, set(), lambda port: all(map(ports.is_free, range(port, port + processes))))
    return {
        "EMOSTREAM_WORKER_PROCESSES": str(processes),
        "EMOSTREAM_MODEL_THREADS": str(threads // processes),
        "EMOSTREAM_WEB_PORT": str(first["web"]),
    }


def all_at_work(settings: Settings) -> bool:
    """Whether every process has classified a post; until then, some are starting, or wait for partitions."""
    return all(_classified(port) > 0 for port in web_ports(settings.web_port, settings.worker_processes))


def _classified(port: int) -> float:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=_TIMEOUT_S) as answer:
            text = answer.read().decode()
    except OSError:
        return 0.0
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == "emostream_posts_classified_total")
