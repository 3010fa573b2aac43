"""`emostream ingest` while Kafka is away: it waits, and nothing is lost or doubled."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from connectors.local import LocalStack
from streams.ops.demo.processes import Role
from streams.settings import Settings
from tests.integration.own_servers import endpoints  # noqa: F401 - a fixture
from tests.integration.support import wait_for
from tests.integration.test_ingest import fresh, has_begun, ids, wait_for_posts, written_config
from tests.jetstream_server import JetstreamServer, post_id


def test_kafka_goes_away_and_comes_back(
    own_stack: LocalStack, settings: Settings, start: Callable[..., Role], tmp_path: Path
) -> None:
    with JetstreamServer() as server:
        role = start("ingest", "--config", str(written_config(tmp_path, server)))
        wait_for(lambda: has_begun(settings), what="no position is stored")
        server.add(fresh(range(100)))
        wait_for_posts(settings, role, range(100))
        own_stack.stop("kafka")
        before = server.sent
        server.add(fresh(range(100, 5_000)))
        # It reads no more than its buffer holds.
        wait_for(lambda: server.sent > before + 1_000, what="nothing is read")
        role.check()
        own_stack.start("kafka")
        wait_for_posts(settings, role, range(5_000))
        server.add(fresh(range(5_000, 5_100)))
        wait_for_posts(settings, role, range(5_100))
        assert role.stop() == 0
    counts = Counter(ids(settings))
    assert counts == Counter(post_id(number) for number in range(5_100))
