"""How the sources of any shape are opened. They need the settings: where Kafka and S3 are, and secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from connectors.kafka.config import KafkaConfig
from connectors.sources.protocol import Source
from streams.connections import kafka_config, s3_config, scan_group
from streams.errors import InputError
from streams.ingest.shaped.options import (
    DOCUMENT_OPTIONS,
    FILE_OPTIONS,
    Begin,
    address,
    choice,
    document_reader,
    file_shape,
    header_name,
    no_endpoint,
    number,
    required,
    text,
    where,
)
from streams.ingest.sources.config import SourceSpec
from streams.process.listening import is_loopback
from streams.settings import Settings

if TYPE_CHECKING:
    from streams.ingest.shaped.new_files import NewFilesOptions


_SHORTEST_SECRET: Final = 16


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


def _files(spec: SourceSpec, settings: Settings) -> Callable[[], Source]:
    from streams.ingest.shaped.folder import FolderStore, checked_pattern  # noqa: PLC0415 - loads what reads files
    from streams.ingest.shaped.new_files import NewFilesSource  # noqa: PLC0415

    no_endpoint(spec)
    folder = _folder(spec)
    options = _new_files(spec, settings, interval_s=1.0)
    pattern, settle_s = text(spec, "pattern") or "*", number(spec, "settle_s", 3.0, least=0.0, most=86_400.0)
    with _named_problems(spec):
        checked_pattern(pattern)
    return lambda: NewFilesSource(FolderStore(folder, pattern=pattern, settle_s=settle_s), options)


def _folder(spec: SourceSpec) -> Path:
    given = required(spec, "path", "/var/spool/posts")
    try:
        folder = Path(given).expanduser()
        is_there = folder.is_dir()
    except OSError as exc:
        raise InputError(f"{where(spec)}: {given} cannot be opened: {exc.strerror}") from exc
    except RuntimeError as exc:
        raise InputError(f"{where(spec)}: {given} begins with the home of a user that is not known") from exc
    if not is_there:
        raise InputError(f"{where(spec)}: {folder} is no folder")
    return folder


def _s3(spec: SourceSpec, settings: Settings) -> Callable[[], Source]:
    from connectors.s3.reader import connect_reader  # noqa: PLC0415 - loads boto3
    from streams.ingest.shaped.bucket import MAX_OBJECT_BYTES, BucketStore, parse_prefix  # noqa: PLC0415
    from streams.ingest.shaped.new_files import NewFilesSource  # noqa: PLC0415

    no_endpoint(spec)
    options = _new_files(spec, settings, interval_s=30.0)
    pattern, config = text(spec, "pattern") or "*", s3_config(settings)
    max_bytes = int(number(spec, "max_bytes", MAX_OBJECT_BYTES, least=1, most=MAX_OBJECT_BYTES))
    with _named_problems(spec):
        place = parse_prefix(required(spec, "uri", "s3://bucket/prefix/"))

    def open_source() -> Source:
        reader = connect_reader(config)
        return NewFilesSource(BucketStore(place, reader, pattern=pattern, max_bytes=max_bytes), options)

    return open_source


def _webhook(spec: SourceSpec, settings: Settings) -> Callable[[], Source]:
    from connectors.sources.webhook.server import ServerLimits  # noqa: PLC0415 - loads the HTTP library
    from connectors.sources.webhook.signature import SignatureRules  # noqa: PLC0415
    from streams.ingest.shaped.webhook import Webhook, WebhookOptions  # noqa: PLC0415

    no_endpoint(spec)
    host, port = address(spec, "listen", "127.0.0.1:8090")
    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret is not None else None
    if secret is not None and len(secret) < _SHORTEST_SECRET:
        raise InputError(f"{where(spec)}: EMOSTREAM_WEBHOOK_SECRET has at least {_SHORTEST_SECRET} characters")
    if secret is None and not is_loopback(host):
        raise InputError(
            f"{where(spec)}: anybody who reaches {host} could send posts; set EMOSTREAM_WEBHOOK_SECRET, or listen on "
            "127.0.0.1"
        )
    signature = None
    if secret is not None:
        signature = SignatureRules(
            secret.encode(),
            header_name(spec, "signature_header") or SignatureRules.header,
            header_name(spec, "timestamp_header"),
            number(spec, "tolerance_s", SignatureRules.tolerance_s, least=1.0, most=86_400.0),
        )
    limits = ServerLimits(
        body_bytes=int(number(spec, "max_bytes", ServerLimits.body_bytes, least=1_000, most=10_000_000)),
        connections=int(number(spec, "connections", ServerLimits.connections, least=1, most=1_000)),
        request_s=number(spec, "request_s", ServerLimits.request_s, least=0.1, most=300.0),
    )
    options = WebhookOptions(
        host=host,
        port=port,
        reader=document_reader(spec, settings),
        signature=signature,
        limits=limits,
        most_posts=int(number(spec, "max_posts", 1_000, least=1, most=10_000)),
        answer_s=number(spec, "answer_s", 30.0, least=0.1, most=300.0),
    )
    return Webhook(options)


def _new_files(spec: SourceSpec, settings: Settings, *, interval_s: float) -> NewFilesOptions:
    from streams.ingest.shaped.new_files import NewFilesOptions  # noqa: PLC0415

    return NewFilesOptions(
        kind=spec.kind,
        instance=spec.instance,
        shape=file_shape(spec, settings),
        begin=choice(spec, "begin", Begin, Begin.LATEST),
        interval_s=number(spec, "interval_s", interval_s, least=0.01, most=86_400.0),
    )


@contextmanager
def _named_problems(spec: SourceSpec) -> Iterator[None]:
    """Put the name of a source before the problems of its options."""
    try:
        yield
    except InputError as exc:
        raise InputError(f"{where(spec)}: {exc}") from exc


def beginning_now(spec: SourceSpec) -> SourceSpec:
    """Returns a source that does not begin with what is there already, for --from-now."""
    if "begin" not in SHAPED_KINDS[spec.kind].options:
        return spec
    return replace(spec, options={**spec.options, "begin": str(Begin.LATEST)})


_WEBHOOK = DOCUMENT_OPTIONS | {
    *("listen", "signature_header", "timestamp_header", "tolerance_s"),
    *("max_bytes", "max_posts", "connections", "request_s", "answer_s"),
}

_NEW_FILES = FILE_OPTIONS | {"pattern", "begin", "interval_s"}

SHAPED_KINDS: Final[Mapping[str, ShapedKind]] = {
    "files": ShapedKind(_files, _NEW_FILES | {"path", "settle_s"}),
    "kafka": ShapedKind(_kafka, DOCUMENT_OPTIONS | {"topic", "servers", "security_protocol", "begin"}),
    "s3": ShapedKind(_s3, _NEW_FILES | {"uri", "max_bytes"}),
    "webhook": ShapedKind(_webhook, _WEBHOOK),
}
"""Every kind of source of any shape, by its name."""
