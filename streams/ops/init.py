"""Prepares Kafka, Postgres and S3: topics, schema, model.

Every step can be repeated, and several processes may run it at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

from psycopg.errors import Diagnostic

from connectors import postgres
from connectors.kafka.admin import KafkaAdmin
from connectors.s3 import client as s3_connector
from models.package.folder import bundled_package_path, load_package
from models.package.manifest import Manifest
from models.registry.channels import LATEST, require_channel
from models.registry.location import S3Location, parse_uri
from models.registry.publish import publish_if_empty
from models.registry.version import read_version
from models.text.model_set import check_languages
from streams.connections import kafka_config, s3_config
from streams.setting_types import LanguageModel
from streams.settings import Settings
from streams.sink import topic_ids
from streams.sink.migrations import migrations_folder
from streams.topology import (
    check_classified_is_new_too,
    check_topics,
    keywords_changes,
    raw_limits,
    sink_topics,
    topic_specs,
)
from streams.windows.connect import open_store

Report = Callable[[str], None]
"""Called with a line for each change."""


def init_topics(settings: Settings, report: Report) -> None:
    """Create the missing topics, check the partitions of all topics, and correct settings that would lose data.

    These are the limits of the raw topic, and the compaction of the keywords topic.

    Raises:
        TopologyError: The partitions of a topic differ from the settings.
        ConnectorError: Kafka does not answer, or rejects the call.
    """
    admin = KafkaAdmin(kafka_config(settings))
    existing = admin.partition_counts()
    missing = [spec for spec in topic_specs(settings) if spec.name not in existing]
    for name in admin.create(missing):
        report(f"topic {name} created")
    counts = {**admin.partition_counts(), **existing}
    # The metadata may still lack a topic that was just created.
    counts.update({spec.name: spec.partitions for spec in missing if spec.name not in counts})
    check_topics(settings, counts)
    for topic, needed in ((settings.topic_raw, raw_limits), (settings.topic_keywords, keywords_changes)):
        if topic in existing and (changes := needed(admin.topic_config(topic))):
            admin.set_topic_config(topic, changes)
            changed = " and ".join(f"{name}={value}" for name, value in changes.items())
            report(f"topic {topic}: {changed} set")


def init_postgres(settings: Settings, report: Report) -> None:
    """Apply the missing migrations.

    Raises:
        ConnectorError: Postgres does not answer, or rejects the call.
    """
    migrations = postgres.find_migrations(migrations_folder())
    dsn = settings.postgres_dsn.get_secret_value()
    with postgres.connect(dsn, application_name="emostream-init") as connection:
        connection.add_notice_handler(lambda notice: _report_warning(notice, report))
        for version in postgres.migrate(connection, migrations):
            report(f"migration {version:03d} applied")


def _report_warning(notice: Diagnostic, report: Report) -> None:
    # A migration warns about what its user may not do, such as creating roles.
    if notice.severity_nonlocalized == "WARNING":
        report(f"PostgreSQL: {notice.message_primary}")


def adopt_topics(settings: Settings, report: Report) -> None:
    """Let Redis and Postgres begin anew in topics that were deleted and made again, without losing rows or windows.

    Raises:
        TopologyError: The raw topic is new, but the classified topic holds posts of the former one.
        ConnectorError: A server does not answer, or rejects the call.
    """
    raw, classified = settings.topic_raw, settings.topic_classified
    ids = KafkaAdmin(kafka_config(settings)).require_topic_ids((raw, *sink_topics(settings)))
    asyncio.run(_adopt_in_redis(settings, {name: ids[name] for name in (raw, classified)}, report))
    dsn = settings.postgres_dsn.get_secret_value()
    with (
        postgres.connect(dsn, application_name="emostream-init") as connection,
        postgres.postgres_errors("adopting topics"),
        connection.transaction(),
    ):
        changed = topic_ids.changed_topics(connection, ids)
        check_classified_is_new_too(settings, changed)  # Redis may have been emptied, and then tells nothing
        for topic in changed:
            former = f"{topic} before {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
            topic_ids.archive(connection, topic, ids[topic], former)
            report(f"PostgreSQL: the rows of the former topic {topic} are kept as those of '{former}'")


async def _adopt_in_redis(settings: Settings, ids: Mapping[str, str], report: Report) -> None:
    async with open_store(settings) as store:
        changed = await store.changed_topics(ids)
        check_classified_is_new_too(settings, changed)
        for topic in changed:
            kind: Literal["p", "f"] = "f" if topic == settings.topic_raw else "p"
            await store.forget_positions(kind, settings.partitions, topic, ids[topic])
            report(f"Redis: the positions in the former topic {topic} are removed, and the windows are kept")


def init_model(settings: Settings, report: Report) -> None:
    """Upload the bundled model if the registry has no version, and create the channels `latest` and `stable`.

    If the setting `model_uri` is a folder, only check the package in it. Models for single languages are only checked.

    Raises:
        ModelError: A package is missing or damaged. A registry of a single language lacks the channel, or its version
            does not read the language.
        ConnectorError: S3 does not answer, or rejects the call.
    """
    _init_main_model(settings, report)
    for model in settings.models:
        check_languages(_configured_manifest(settings, model), [model.language])


def _configured_manifest(settings: Settings, model: LanguageModel) -> Manifest:
    """Returns the manifest of the package, or of the version that the channel points to."""
    location = parse_uri(model.uri)
    if not isinstance(location, S3Location):
        return load_package(location).manifest
    with s3_connector.connect(s3_config(settings)) as s3:
        channel = require_channel(location, s3, model.channel or settings.model_channel)
        return read_version(location, s3, channel.pointer.release).manifest


def _init_main_model(settings: Settings, report: Report) -> None:
    location = parse_uri(settings.model_uri)
    if not isinstance(location, S3Location):
        load_package(location)
        return
    package = load_package(bundled_package_path())
    with s3_connector.connect(s3_config(settings)) as s3:
        if s3.ensure_bucket(location.bucket):
            report(f"bucket {location.bucket} created")
        made = publish_if_empty(package, settings.model_uri, s3)
    if LATEST in made:
        report(f"model {package.manifest.name} {package.manifest.version} uploaded to {settings.model_uri}")
    for channel in made:
        report(f"model channel {channel} created")


def init_all(settings: Settings, report: Report) -> None:
    """Create the topics, apply the migrations, adopt topics that were made again, and upload and check the models.

    Raises:
        TopologyError: The partitions of a topic differ from the settings.
        ConnectorError: A server does not answer, or rejects the call.
        ModelError: The model package is missing or damaged.
    """
    init_topics(settings, report)
    init_postgres(settings, report)
    adopt_topics(settings, report)
    init_model(settings, report)
