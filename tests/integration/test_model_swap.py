"""Models are replaced while posts flow: four versions are published, and one of them is damaged.

The producer goes on until the last version has taken over, however long that takes. Most models are tiny, so that
thousands of posts a second flow. The last has the weight of a real one, the bundled network with golden posts, so that
loading and trying it compete with the batches as they do in production.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from connectors.s3 import client as s3_connector
from connectors.s3.client import S3
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
from tests.integration.flow import CHUNK, Flow, ends
from tests.integration.gate_proxy import GateProxy
from tests.integration.support import (
    KEYWORDS,
    balanced,
    counter,
    failures,
    free_port,
    metric_lines,
    post,
    records,
    wait_for,
)
from tests.tiny_model import TOPIC, network, tiny_package

RATE = 2_500
"""Posts a second at most: a third of what the worker takes on two idle cores."""

AHEAD = 3_000
"""So many posts may wait to be classified: what the heavy model has before it when it takes over."""

STEP = 300
"""Results that every partition gets from one version before the next one is published."""

TEXT = "hello filler"
STRENGTHS = {"1.0.0": 1.0, "1.1.0": 2.0, "1.2.0": 3.0, "1.3.0": 4.0}
"""By version: the logit of its network for the word `hello`. The confidence of a record tells which network
answered."""

HEAVY = "9.0.0"
"""The version with a real network. It serves the last posts only: ten thousand take it some seconds."""

Start = Callable[..., Role]


def confidence(strength: float) -> float:
    """Returns the softmax of one logit of this value among zeros."""
    return math.exp(strength) / (math.exp(strength) + len(TOPIC.labels) - 1)


def flow_post(number: int) -> bytes:
    """Its id is its number."""
    return post(TEXT, id=str(number), keywords=[KEYWORDS[number % len(KEYWORDS)]], source="flow")


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


def publish_damaged(package: ModelPackage, uri: str, s3: S3) -> None:
    """The version is on the channel, and a bit of its network has changed since."""
    publish(package, uri, s3, channel=None)
    damaged = bytearray((package.path / "model.onnx").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    here, release = registry_at(uri), Release(package.manifest.name, package.manifest.version)
    s3.put(here.bucket, here.key(release.name, release.version, "model.onnx"), bytes(damaged))
    # Promoting it would be refused; the bits may as well have changed after that.
    move(here, s3, "latest", release, seen=read_channel(here, s3, "latest"))


async def test_models_are_replaced_while_posts_flow(
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
    download = GateProxy(settings.s3_endpoint, holds=f"/{HEAVY}/model.onnx")
    with s3_connector.connect(s3_config(settings)) as s3, download:
        publish(packages["1.0.0"], uri, s3)
        publish(heavy, uri, s3, channel=None)
        worker, sink = start("worker", EMOSTREAM_S3_ENDPOINT=download.url, **more), start("sink")

        def more_results(count: int) -> None:
            """Wait until every partition has so many more."""
            before = ends(settings)

            def are_there() -> bool:
                worker.check()
                now = ends(settings)
                return all(now[partition] >= begin + count for partition, begin in before.items())

            wait_for(are_there, what="nothing is classified")

        def swapped(times: int) -> bool:
            return counter(port, "emostream_model_swaps_total") == times

        wait_for(lambda: counter(port, "emostream_model_info") == 1, what="the worker does not start")
        with Flow(settings, flow_post, ahead=AHEAD, rate=RATE) as flow:
            more_results(STEP)
            publish(packages["1.1.0"], uri, s3)
            wait_for(lambda: swapped(1), what="1.1.0 is not taken")

            more_results(STEP)
            publish_damaged(packages["1.2.0"], uri, s3)
            refused = 'emostream_model_refusals_total{languages="*",reason="checksum"}'
            wait_for(lambda: counter(port, refused) == 1, what="the damaged version is not refused")

            more_results(STEP)
            publish(packages["1.3.0"], uri, s3)
            wait_for(lambda: swapped(2), what="1.3.0 is not taken")

            more_results(STEP)
            promote(registry_at(uri), s3, Release(heavy.manifest.name, HEAVY), "latest")
            assert await asyncio.to_thread(download.reached.wait, 120), f"{HEAVY} is not downloaded"
            begin = ends(settings)
            more_results(STEP)
            during_download = {partition: range(begin[partition], end) for partition, end in ends(settings).items()}
            assert swapped(2)
            download.open.set()
            wait_for(lambda: swapped(3), what=f"{HEAVY} is not taken")

            more_results(CHUNK)
            await asyncio.to_thread(flow.finish)

    assert failures(await balanced(settings, store, [worker, sink])) == []
    posts: dict[int, list[ClassifiedPost]] = {}
    for partition, _, value in records(settings, settings.topic_classified):
        posts.setdefault(partition, []).append(ClassifiedPost.from_json(value))
    check_records(posts, flow.sent, heavy)
    for partition, results in posts.items():
        assert {results[at].model.version for at in during_download[partition]} == {"1.3.0"}
    assert counter(port, refused) == 1
    assert counter(port, "emostream_model_swaps_total") == 3
    assert metric_lines(port, "emostream_model_info{") == [
        f'emostream_model_info{{channel="latest",languages="*",name="{heavy.manifest.name}",version="{HEAVY}"}} 1.0'
    ]


def check_records(posts: Mapping[int, Sequence[ClassifiedPost]], sent: int, heavy: ModelPackage) -> None:
    """Nothing is lost; a record names the version whose network answered it; versions do not alternate."""
    every = [item for results in posts.values() for item in results]
    assert sorted(int(item.id) for item in every) == list(range(sent))
    sure = {version: confidence(strength) for version, strength in STRENGTHS.items()}
    sure[HEAVY] = float(OnnxClassifier.load(heavy).classify([TEXT]).probabilities["emotion"].max())
    for item in every:
        assert abs(item.confidence - sure[item.model.version]) < 0.001
    for results in posts.values():
        versions = [item.model.version for item in results]
        assert [version for version, _ in itertools.groupby(versions)] == ["1.0.0", "1.1.0", "1.3.0", HEAVY]
    times = sorted({item.classified_at for item in every})
    longest = max((after - before).total_seconds() for before, after in itertools.pairwise(times))
    print(f"{sent} posts; the longest time without a result was {longest:.2f} s")
