"""How the sources of any shape are opened. They need the settings: where Kafka and S3 are, and secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from connectors.kafka.config import KafkaConfig
from connectors.sources.protocol import Source
from streams.connections import kafka_config, scan_group
from streams.errors import InputError
from streams.ingest.shaped.options import (
    DOCUMENT_OPTIONS,
    Begin,
    choice,
    document_reader,
    no_endpoint,
    required,
    text,
    where,
)
from streams.ingest.sources.config import SourceSpec
from streams.settings import Settings


@dataclass(frozen=True)
class ShapedKind:
    """A kind of source whose posts have any shape.

    Attributes:
        opener: returns what makes the sources of an instance. It checks the options and connects to nothing.
        options: the options that this kind has in sources.toml, beside those of every source.
    """

    opener: Callable[[SourceSpec, Settings], Callable[[], Source]]
    options: frozenset[str]


def _kafka(spec: SourceSpec, settings: Settings) -> Callable[[], Source]:
    from streams.ingest.shaped.topic import TopicOptions, TopicSource  # noqa: PLC0415 - loads the Kafka client

    no_endpoint(spec)
    topic = required(spec, "topic", "tweets")
    config = _cluster(spec, kafka_config(settings))
    if topic == settings.topic_raw and config.bootstrap == settings.kafka_bootstrap:
        raise InputError(f"{where(spec)}: {topic} is the raw topic, to which the source itself would write")
    options = TopicOptions(
        topic=topic,
        kafka=config,
        group=scan_group(settings),
        begin=choice(spec, "begin", Begin, Begin.LATEST),
        reader=document_reader(spec, settings),
    )
    return lambda: TopicSource(options)


def _cluster(spec: SourceSpec, own: KafkaConfig) -> KafkaConfig:
    """Returns how to reach the cluster of a topic: the deployment's own, or another one without credentials."""
    servers, protocol = text(spec, "servers"), text(spec, "security_protocol")
    if servers is None:
        if protocol is not None:
            raise InputError(f"{where(spec)}: security_protocol is for other servers; give servers too")
        return own
    if protocol not in {None, "PLAINTEXT", "SSL"}:
        raise InputError(f"{where(spec)}: security_protocol is PLAINTEXT or SSL")
    # The credentials of the deployment's own cluster are not sent to another one.
    return KafkaConfig(bootstrap=servers, security_protocol=protocol or "PLAINTEXT", timeout_s=own.timeout_s)


def beginning_now(spec: SourceSpec) -> SourceSpec:
    """Returns a source that does not begin with what is there already, for --from-now."""
    if "begin" not in SHAPED_KINDS[spec.kind].options:
        return spec
    return replace(spec, options={**spec.options, "begin": str(Begin.LATEST)})


SHAPED_KINDS: Final[Mapping[str, ShapedKind]] = {
    "kafka": ShapedKind(_kafka, DOCUMENT_OPTIONS | {"topic", "servers", "security_protocol", "begin"}),
}
"""Every kind of source of any shape, by its name."""
