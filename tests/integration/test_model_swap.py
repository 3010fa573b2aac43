"""Models are replaced under load: 50,000 posts flow, four versions are published, and one of them is damaged.

Most versions are tiny, so that a worker processes thousands of posts per second. The last one is as large as a real
one: the bundled network with golden posts. Loading and checking it compete with the batches as in production.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Producer

from connectors.s3 import client as s3_connector
from models.package.folder import ModelPackage, bundled_package_path, load_package, write_package
from models.package.manifest import GOLDEN
from models.registry.channels import Release, move, read_channel
from models.registry.location import registry_at
from models.registry.publish import promote, publish
from models.text.golden import write_golden
from models.text.onnx_classifier import OnnxClassifier
from streams.connections import s3_config
from streams.ops.demo.processes import Role
from streams.records import ClassifiedPost
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.support import (
    KEYWORDS,
    balanced,
    counter,
    failures,
    free_port,
    metric_lines,
    offsets,
    post,
    records,
    wait_for,
)
from tests.tiny_model import TOPIC, network, tiny_package

POSTS = 50_000
RATE = 2_500
"""Posts per second: a third of what a worker processes on two idle cores."""

TEXT = "hello filler"
STRENGTHS = {"1.0.0": 1.0, "1.1.0": 2.0, "1.2.0": 3.0, "1.3.0": 4.0}
"""By version: the logit of its network for the word `hello`. The confidence of a record tells which network
answered."""

HEAVY = "9.0.0"
"""The version with a real network. It serves only the last posts, because it takes some seconds for ten thousand."""

Start = Callable[..., Role]


def confidence(strength: float) -> float:
    """Return the softmax of one logit of this value among zeros."""
    return math.exp(strength) / (math.exp(strength) + len(TOPIC.labels) - 1)


@contextmanager
def flowing(settings: Settings) -> Iterator[threading.Thread]:
    """Produce `POSTS` posts at `RATE` per second in a thread. Their ids are their numbers."""
    values = [post(TEXT, id=str(i), keywords=[KEYWORDS[i % len(KEYWORDS)]], source="flow") for i in range(POSTS)]
    stop = threading.Event()

    def produce() -> None:
        producer = Producer({"bootstrap.servers": settings.kafka_bootstrap, "linger.ms": 5})
        begin = time.monotonic()
        for number, value in enumerate(values):
            if number % 50 == 0 and stop.wait(max(0.0, begin + number / RATE - time.monotonic())):
                break
            producer.produce(settings.topic_raw, value, str(number).encode())
            producer.poll(0)
        assert producer.flush(60) == 0

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join()


KEPT = (
    *("name", "created_at", "base_model", "licence", "training_data", "normalization", "max_tokens"),
    *("heads", "metrics", "tiers"),
)
"""The fields of the bundled manifest that the package keeps."""


def heavy_package(folder: Path) -> ModelPackage:
    """Make a package of the bundled network under another version, with golden posts."""
    shutil.copytree(bundled_package_path(), folder)
    sealed = load_package(folder)
    lines = (Path(__file__).parents[2] / "scripts" / "demo_posts.jsonl").read_text("utf-8").splitlines()
    posts = write_golden(OnnxClassifier.load(sealed), [json.loads(line)["text"] for line in lines], folder / GOLDEN)
    assert posts > 200
    described = sealed.manifest.model_dump(include=set(KEPT))
    return write_package(folder, **described, version=HEAVY, files=[*{*sealed.manifest.files, GOLDEN}], golden=GOLDEN)


async def test_models_are_replaced_while_50000_posts_flow(
    env: dict[str, str], settings: Settings, store: WindowStore, start: Start, tmp_path: Path
) -> None:
    uri, port = f"{settings.model_uri}-{settings.group_prefix}", free_port()
    more = {
        "EMOSTREAM_MODEL_URI": uri,
        "EMOSTREAM_MODEL_CHANNEL": "latest",
        "EMOSTREAM_MODEL_POLL_S": "0.2",
        # With this size a batch takes a fraction of a second with the heavy model too.
        "EMOSTREAM_BATCH_MAX": "128",
        "EMOSTREAM_MODEL_CACHE": str(tmp_path / "cache"),
        "EMOSTREAM_WEB_PORT": str(port),
    }
    packages = {
        version: tiny_package(tmp_path / version, version=version, networks={"model.onnx": network(strength=strength)})
        for version, strength in STRENGTHS.items()
    }
    heavy = heavy_package(tmp_path / "heavy")

    def classified() -> int:
        return offsets(settings, settings.topic_classified)

    with s3_connector.connect(s3_config(settings)) as s3:
        publish(packages["1.0.0"], uri, s3)
        publish(heavy, uri, s3, channel=None)
        worker, sink = start("worker", **more), start("sink")
        wait_for(lambda: counter(port, "emostream_model_info") == 1, seconds=60, what="the worker does not start")
        with flowing(settings) as producer:
            wait_for(lambda: classified() > POSTS * 0.1, seconds=60, what="nothing is classified")
            publish(packages["1.1.0"], uri, s3)
            wait_for(lambda: counter(port, "emostream_model_swaps_total") == 1, seconds=30, what="1.1.0 is not taken")

            wait_for(lambda: classified() > POSTS * 0.3, seconds=60, what="nothing is classified after the first swap")
            publish(packages["1.2.0"], uri, s3, channel=None)
            damaged = bytearray((packages["1.2.0"].path / "model.onnx").read_bytes())
            damaged[len(damaged) // 2] ^= 1
            here = registry_at(uri)
            s3.put(here.bucket, here.key("tiny", "1.2.0", "model.onnx"), bytes(damaged))
            # A promotion would be refused, but the file may also change after a promotion.
            move(here, s3, "latest", Release("tiny", "1.2.0"), seen=read_channel(here, s3, "latest"))
            refused = 'emostream_model_refusals_total{reason="checksum"}'
            wait_for(lambda: counter(port, refused) == 1, seconds=30, what="the damaged version is not refused")

            wait_for(lambda: classified() > POSTS * 0.5, seconds=60, what="nothing is classified after the refusal")
            publish(packages["1.3.0"], uri, s3)
            wait_for(lambda: counter(port, "emostream_model_swaps_total") == 2, seconds=30, what="1.3.0 is not taken")

            wait_for(lambda: classified() > POSTS * 0.6, seconds=60, what="nothing is classified after the second swap")
            promote(here, s3, Release(heavy.manifest.name, HEAVY), "latest")
            wait_for(lambda: counter(port, "emostream_model_swaps_total") == 3, seconds=30, what="2.0.0 is not taken")
            assert producer.is_alive(), "all of it happened while posts were flowing"
            await asyncio.to_thread(producer.join)

    assert failures(await balanced(settings, store, [worker, sink], seconds=120)) == []
    posts = [
        (partition, ClassifiedPost.from_json(value))
        for partition, _, value in records(settings, settings.topic_classified)
    ]
    check_records(posts, heavy)
    assert counter(port, refused) == 1
    assert counter(port, "emostream_model_swaps_total") == 3
    assert metric_lines(port, "emostream_model_info{") == [
        f'emostream_model_info{{channel="latest",name="{heavy.manifest.name}",version="{HEAVY}"}} 1.0'
    ]


def check_records(posts: Sequence[tuple[int, ClassifiedPost]], heavy: ModelPackage) -> None:
    """Check that no post is lost, each record names the version that answered it, and versions do not alternate."""
    assert sorted(int(item.id) for _, item in posts) == list(range(POSTS))
    sure = {version: confidence(strength) for version, strength in STRENGTHS.items()}
    sure[HEAVY] = float(OnnxClassifier.load(heavy).classify([TEXT]).probabilities["emotion"].max())
    for _, item in posts:
        assert abs(item.confidence - sure[item.model.version]) < 0.001
    for partition in {partition for partition, _ in posts}:
        versions = [item.model.version for at, item in posts if at == partition]
        assert [version for version, _ in itertools.groupby(versions)] == ["1.0.0", "1.1.0", "1.3.0", HEAVY]
    times = sorted({item.classified_at for _, item in posts})
    longest = max((after - before).total_seconds() for before, after in itertools.pairwise(times))
    assert longest < 1.0, f"nothing was classified for {longest:.2f} s"
