"""The HTTP service answers from networks, with the bundled model, over HTTP."""

from collections.abc import Callable
from pathlib import Path

from api.client import Client
from streams.ops.demo.processes import Role
from streams.settings import Settings
from tests.fetch_support import table
from tests.integration.api_support import address_of
from tests.integration.support import records, wait_for
from tests.source_servers.hackernews import HackerNewsServer
from tests.source_servers.http import Reply
from tests.source_servers.threaded import threaded

JOY, ANGER = "coffee, what a lovely day, I am so happy", "I am so angry about this coffee"


def raw_ids(settings: Settings) -> list[str]:
    return sorted((key or b"").decode() for _, key, _ in records(settings, settings.topic_raw))


def parts_of(client: Client) -> dict[str, bool]:
    """Returns the parts of the readiness, and whether each is well."""
    return {part.name: part.ok for part in client.ready().parts}


def test_an_answer_with_too_few_posts_comes_from_a_network(
    start: Callable[..., Role], settings: Settings, tmp_path: Path
) -> None:
    with threaded(HackerNewsServer()) as network:
        texts = [JOY] * 5 + [ANGER] * 3 + ["coffeehouses are closed"]
        numbers = [network.call(lambda server, text=text: server.add(text)) for text in texts]  # type: ignore[misc]
        sources = tmp_path / "sources.toml"
        sources.write_text(table("hackernews", network.server.url))
        service = start("api", EMOSTREAM_API_PORT="0", EMOSTREAM_QUERY_SOURCES=str(sources))
        with Client(address_of(service)) as client:
            answer = client.query("coffee")
            assert (answer.count, answer.source, answer.complete) == (8, "inference", True), answer
            assert {row.label: row.count for row in answer.agg if row.count} == {"joy": 5, "anger": 3}
            assert client.query("coffee").source == "cache"
            wanted = sorted(f"hackernews:{number}" for number in numbers[:-1])
            wait_for(lambda: raw_ids(settings) == wanted, what="the posts are not in the raw topic")
            network.call(lambda server: server.fail("/api/v1/search", Reply(429, headers={"Retry-After": "600"})))
            # The answer is what is known without it, and says so.
            limited = client.query("rain")
            assert limited.count == 0
            assert any("search for more failed" in note for note in limited.notes), limited.notes
            # Kafka may have the posts before it has confirmed them.
            wait_for(lambda: parts_of(client)["fetch"], what="posts still wait")
        assert service.stop() == 0
