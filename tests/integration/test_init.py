"""`emostream init`: twice, from several places at once, and against topics that cannot work."""

from __future__ import annotations

import subprocess
import sys

import psycopg
import pytest

from connectors.kafka.admin import KafkaAdmin, TopicSpec
from connectors.postgres import find_migrations, migrate
from streams.connections import kafka_config
from streams.errors import TopologyError
from streams.ops.demo.processes import clean_environment
from streams.ops.init import init_all, init_postgres, init_topics
from streams.settings import Settings, load_settings
from streams.sink.migrations import migrations_folder
from streams.topology import topic_specs
from tests.integration.support import configure, free_port
from tests.integration.test_failures import run


def test_topics_have_their_settings(settings: Settings) -> None:
    admin = KafkaAdmin(kafka_config(settings))
    counts = admin.partition_counts()
    for spec in topic_specs(settings):
        assert counts[spec.name] == spec.partitions
        found = admin.topic_config(spec.name)
        assert {key: found[key] for key in spec.config} == dict(spec.config)
    assert admin.topic_config(settings.topic_windows)["cleanup.policy"] == "compact,delete"


def test_a_second_run_finds_nothing_to_do(settings: Settings) -> None:
    lines: list[str] = []
    init_all(settings, lambda line: None)
    init_all(settings, lines.append)
    assert lines == []


def test_a_raw_topic_of_an_earlier_version_gets_its_limits(env: dict[str, str], settings: Settings) -> None:
    """A worker refuses to read it until then."""
    configure(settings, settings.topic_raw, "compression.type", "producer")
    assert "run `emostream init`" in run(env, "worker")
    lines: list[str] = []
    init_topics(settings, lines.append)
    assert lines == [f"topic {settings.topic_raw}: compression.type=snappy set"]
    assert KafkaAdmin(kafka_config(settings)).topic_config(settings.topic_raw)["compression.type"] == "snappy"
    init_topics(settings, lines.append)
    assert len(lines) == 1


def test_five_at_once(env: dict[str, str]) -> None:
    env = {**env, "EMOSTREAM_MODEL_URI": f"s3://{env['EMOSTREAM_GROUP_PREFIX']}-models/emotion"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "streams", "init"],
            env=clean_environment(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(5)
    ]
    results = [process.communicate(timeout=180) for process in processes]
    assert [process.returncode for process in processes] == [0] * 5, results
    output = "".join(out for out, _ in results)
    versions = [migration.version for migration in find_migrations(migrations_folder())]
    assert [output.count(f"migration {version:03d} applied") for version in versions] == [1] * len(versions)
    assert output.count("uploaded to") == 1
    for topic in ("raw", "classified", "windows"):
        assert output.count(f"topic {env['EMOSTREAM_TOPIC_' + topic.upper()]} created") == 1
    with psycopg.connect(env["EMOSTREAM_POSTGRES_DSN"]) as connection:
        applied = connection.execute("SELECT version FROM schema_migrations ORDER BY version").fetchall()
        assert applied == [(version,) for version in versions]


def test_a_database_may_have_several_hosts(env: dict[str, str]) -> None:
    """libpq goes on to the next where the first does not answer."""
    dsn = env["EMOSTREAM_POSTGRES_DSN"].replace("@", f"@127.0.0.1:{free_port()},", 1)
    lines: list[str] = []
    init_postgres(load_settings(env_file=None, environ={**env, "EMOSTREAM_POSTGRES_DSN": dsn}), lines.append)
    assert len(lines) == len(find_migrations(migrations_folder()))


def test_a_database_of_version_0_1_keeps_its_data_under_the_new_names(env: dict[str, str]) -> None:
    migrations = find_migrations(migrations_folder())
    names = migrations.index(next(one for one in migrations if one.path.name == "007_mean_columns.sql"))
    with psycopg.connect(env["EMOSTREAM_POSTGRES_DSN"], autocommit=True) as connection:
        migrate(connection, migrations[:names])
        connection.execute(
            "INSERT INTO emotion_windows (keyword, size_s, start_at, end_at, posts, sentiment_score, models, sources, "
            "first_event, last_event, late, final, revision) VALUES ('tea', 3600, '2026-03-01T12:00Z', "
            "'2026-03-01T13:00Z', 2, 0.25, '{}', '{}', '2026-03-01T12:00Z', '2026-03-01T12:00Z', 0, true, 1)"
        )
        connection.execute(
            "INSERT INTO emotion_window_labels (keyword, size_s, start_at, label, posts, percent, avg_score) "
            "VALUES ('tea', 3600, '2026-03-01T12:00Z', 'joy', 2, 100, 0.75)"
        )
        migrate(connection, migrations)
        assert connection.execute("SELECT mean_sentiment FROM emotion_windows").fetchall() == [(0.25,)]
        assert connection.execute("SELECT mean_confidence FROM emotion_window_labels").fetchall() == [(0.75,)]
        shares = connection.execute("SELECT keyword, emotion, mean_confidence FROM bi.emotion_share").fetchall()
        assert shares == [("tea", "joy", 0.75)]


@pytest.mark.parametrize(
    ("raw", "classified", "message"),
    [(4, 2, "they must have the same number"), (2, 2, "set EMOSTREAM_PARTITIONS=2")],
)
def test_topics_that_cannot_work_are_refused(env: dict[str, str], raw: int, classified: int, message: str) -> None:
    settings = load_settings(env_file=None, environ=env)
    KafkaAdmin(kafka_config(settings)).create(
        [TopicSpec(settings.topic_raw, raw), TopicSpec(settings.topic_classified, classified)]
    )
    with pytest.raises(TopologyError, match=message):
        init_all(settings, lambda line: None)
