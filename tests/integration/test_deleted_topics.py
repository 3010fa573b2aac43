"""Topics are deleted while a worker and a sink run: both say so and stop, and `emostream init` makes a fresh start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

from confluent_kafka.admin import AdminClient

from streams.ops.demo.processes import Role, clean_environment
from streams.settings import Settings
from streams.windows.store import WindowStore
from tests.integration.support import balanced, failures, good_posts, offsets, produce, wait_for
from tests.integration.test_failures import run
from tests.integration.test_sink import query, rows

Start = Callable[..., Role]


def delete(settings: Settings, topics: Sequence[str]) -> None:
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    for future in admin.delete_topics(list(topics)).values():
        future.result(120)
    wait_for(lambda: not {*topics} & {*admin.list_topics(timeout=10).topics}, what="the topics are not deleted")


def init(env: dict[str, str]) -> str:
    command = [sys.executable, "-m", "streams", "init"]
    done = subprocess.run(command, env=clean_environment(env), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_init_and_a_restart_are_enough(
    env: dict[str, str], settings: Settings, store: WindowStore, start: Start
) -> None:
    """Fewer posts come than before, so their offsets lie below the positions that Redis and Postgres held."""
    worker, sink = start("worker"), start("sink")
    produce(settings, good_posts(200))
    assert failures(await balanced(settings, store, [worker, sink])) == []

    topics = [value for name, value in settings if name.startswith("topic_")]
    delete(settings, topics)
    for role in (worker, sink):
        assert role.wait(180) == 1
        last = role.log.read_text().strip().splitlines()[-1]
        assert last.startswith("emostream: error: ")
        assert "deleted while this process ran" in last
        assert "run `emostream init`" in last
    assert "missing topics" in run(env, "worker")

    report = init(env)
    for topic in (settings.topic_raw, settings.topic_classified):
        assert f"Redis: the positions in the former topic {topic} are removed" in report
        assert f"PostgreSQL: the rows of the former topic {topic} are kept" in report
    assert "former" not in init(env), "a second run finds nothing to do"
    worker, sink = start("worker"), start("sink")
    produce(settings, good_posts(50))
    wait_for(lambda: rows(settings) == 250, what="the new posts are not added to the old ones")
    new = f"SELECT count(*) FROM posts WHERE origin_topic = '{settings.topic_raw}'"
    assert query(settings, new) == [(50,)]
    day = "SELECT sum(posts) FROM emotion_windows WHERE size_s = 86400 AND keyword = '*'"
    wait_for(lambda: query(settings, day) == [(250,)], what="the windows lose the old posts or miss the new ones")
    assert offsets(settings, settings.topic_dead) == 0
    worker.check()
    sink.check()


def test_topics_that_are_made_again_behind_the_back_are_refused(
    env: dict[str, str], settings: Settings, start: Start
) -> None:
    worker, sink = start("worker"), start("sink")
    produce(settings, good_posts(20))
    wait_for(lambda: rows(settings) == 20, what="the posts are not written")
    worker.stop()
    sink.stop()

    delete(settings, [settings.topic_raw])
    assert "missing topics" in run(env, "sink")
    assert f"delete {settings.topic_classified} too" in run(env, "init")
    for command in (["worker"], ["sink"], ["backfill", "--force"]):
        line = run(env, *command)
        assert f"{settings.topic_raw}: deleted and made again" in line
        assert "docs/how-to/recover.md" in line
    delete(settings, [settings.topic_classified])
    assert f"topic {settings.topic_classified} created" in init(env)
    worker, sink = start("worker"), start("sink")
    produce(settings, good_posts(10))
    wait_for(lambda: rows(settings) == 30, what="the new posts are not added to the old ones")
