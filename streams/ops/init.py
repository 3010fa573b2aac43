"""Prepares the outside systems: topics, schema, model. Every step may be repeated, and run from two places at once."""

from __future__ import annotations

from collections.abc import Callable

from psycopg.errors import Diagnostic

from connectors import postgres
from connectors.kafka.admin import KafkaAdmin
from connectors.s3 import client as s3_connector
from models.package.folder import bundled_package_path, load_package
from models.registry.channels import LATEST
from models.registry.location import S3Location, parse_uri
from models.registry.publish import publish_if_empty
from streams.connections import kafka_config, s3_config
from streams.settings import Settings
from streams.sink.migrations import migrations_folder
from streams.topology import check_topics, topic_specs

Report = Callable[[str], None]


def init_topics(settings: Settings, report: Report) -> None:
    """Create missing topics, then check that all of them agree."""
    admin = KafkaAdmin(kafka_config(settings))
    existing = admin.partition_counts()
    missing = [spec for spec in topic_specs(settings) if spec.name not in existing]
    for name in admin.create(missing):
        report(f"topic {name} created")
    counts = {**admin.partition_counts(), **existing}
    # Fresh metadata may lag behind the creation it follows.
    counts.update({spec.name: spec.partitions for spec in missing if spec.name not in counts})
    check_topics(settings, counts)


def init_postgres(settings: Settings, report: Report) -> None:
    """Apply missing migrations."""
    migrations = postgres.find_migrations(migrations_folder())
    dsn = settings.postgres_dsn.get_secret_value()
    with postgres.connect(dsn, application_name="emostream-init") as connection:
        connection.add_notice_handler(lambda notice: _report_warning(notice, report))
        for version in postgres.migrate(connection, migrations):
            report(f"migration {version:03d} applied")


def _report_warning(notice: Diagnostic, report: Report) -> None:
    # What the migrations may not do themselves, such as creating roles, they tell with a warning.
    if notice.severity_nonlocalized == "WARNING":
        report(f"PostgreSQL: {notice.message_primary}")


def init_model(settings: Settings, report: Report) -> None:
    """Upload the bundled model where the registry is empty, and make the channels `latest` and `stable`."""
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
    """All three steps.

    Raises:
        EmostreamError, ConnectorError, ModelError: the user can act on it.
    """
    init_topics(settings, report)
    init_postgres(settings, report)
    init_model(settings, report)
