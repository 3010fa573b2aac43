"""The topics that the application needs, and checks that the topics in Kafka match them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

from connectors.kafka.admin import TopicSpec
from connectors.kafka.config import MAX_RESPONSE_BYTES
from connectors.kafka.producer import MAX_MESSAGE_BYTES
from streams.errors import TopologyError
from streams.settings import Settings

RAW_MAX_BYTES = 1_048_588
"""Most bytes of a batch in the raw topic, as it is stored: Kafka's default. The dead letter of a message of this size
fits `MAX_MESSAGE_BYTES`."""

RAW_COMPRESSION = "snappy"
"""How the broker stores the batches of the raw topic, however their producers have compressed them."""

MAX_DECOMPRESSED_BYTES = MAX_RESPONSE_BYTES - 1024 * 1024
"""Most bytes of a batch in the raw topic, when it is decompressed. A consumer decompresses a batch as a whole. A batch
that is not compressed must fit into an answer, which has some other fields."""

COMPRESSION_RATIOS = {"uncompressed": 1.0, "snappy": 64 / 3, "lz4": 255.0, "gzip": 1_032.0}
"""How many bytes one byte may become when it is decompressed, by the format's definition. Zstandard has no such limit,
and `producer` leaves the choice to the producer."""

KEYWORDS_MAX_BYTES = 65_536
"""Most bytes of a batch in the keywords topic."""

KEYWORDS_CONFIG = {
    "cleanup.policy": "compact",
    # How long a deletion is kept at least. A process that reads nothing for half of it reads the topic anew
    # (`connectors.kafka.table`).
    "delete.retention.ms": "86400000",
    "max.message.bytes": str(KEYWORDS_MAX_BYTES),
}
"""Settings of the keywords topic in Kafka. Another cleanup policy would remove keywords after a time."""

DELETIONS_LONGER_MS = 8 * 86_400_000
"""How much longer than a post its deletion stays in Kafka. Kafka deletes whole segments, and closes one after a week by
default, so a post may stay a week longer than its retention."""


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """Returns every topic that the application uses, with its partitions, retention and compaction."""
    copies = settings.replication_factor
    kept = {"retention.ms": str(int(settings.retention_hours * 3_600_000)), "cleanup.policy": "delete"}
    for_a_day = {"retention.ms": "86400000", "cleanup.policy": "delete"}
    longest = str(max(size.kept_ms + size.seconds * 1_000 for size in settings.window_sizes))
    large = {**kept, "max.message.bytes": str(MAX_MESSAGE_BYTES)}
    # The broker sets the timestamps: they rise along a partition, and a record has the same one at every read.
    by_broker = {"message.timestamp.type": "LogAppendTime"}
    return [
        TopicSpec(
            settings.topic_raw,
            settings.partitions,
            copies,
            # A post is from the future if it is ahead of this timestamp, however much later it is read again.
            {
                **kept,
                **by_broker,
                "compression.type": RAW_COMPRESSION,
                "max.message.bytes": str(RAW_MAX_BYTES),
            },
        ),
        TopicSpec(settings.topic_classified, settings.partitions, copies, {**large, **by_broker}),
        TopicSpec(settings.topic_dead, 1, copies, large),
        TopicSpec(settings.topic_late, 1, copies, kept),
        TopicSpec(
            settings.topic_windows,
            settings.partitions,
            copies,
            # Kafka compacts closed segments only. Segments of an hour keep the topic near one record per window.
            # A window leaves the topic when it has left the window tables.
            {
                "cleanup.policy": "compact,delete",
                "retention.ms": longest,
                "segment.ms": "3600000",
                "max.message.bytes": str(MAX_MESSAGE_BYTES),
            },
        ),
        TopicSpec(settings.topic_totals, 1, copies, for_a_day),
        # One partition: the end of an incident comes after its start.
        TopicSpec(settings.topic_alerts, 1, copies, large),
        TopicSpec(settings.topic_control, 1, copies, for_a_day),
        # One partition: all processes see the changes in the same order.
        TopicSpec(settings.topic_keywords, 1, copies, KEYWORDS_CONFIG),
        # Nothing else tells where a source was, so its last record is never deleted.
        TopicSpec(
            settings.topic_sources,
            1,
            copies,
            {"cleanup.policy": "compact", "segment.ms": "3600000", "max.message.bytes": str(MAX_MESSAGE_BYTES)},
        ),
        # A gap is known as long as a window with the gap is kept.
        TopicSpec(settings.topic_gaps, 1, copies, {"cleanup.policy": "delete", "retention.ms": longest}),
        TopicSpec(
            settings.topic_deletions,
            1,
            copies,
            {
                "cleanup.policy": "delete",
                "retention.ms": str(int(settings.retention_hours * 3_600_000) + DELETIONS_LONGER_MS),
            },
        ),
    ]


def stateful_topics(settings: Settings) -> tuple[str, str, str]:
    """Returns the topics in which Redis and Postgres hold positions: raw, classified and windows.

    Redis holds none in the windows topic. Postgres also holds those in the deletions topic (`sink_topics`).
    """
    return settings.topic_raw, settings.topic_classified, settings.topic_windows


def sink_topics(settings: Settings) -> tuple[str, str, str]:
    """Returns the topics that the sink reads: classified, windows and deletions."""
    return settings.topic_classified, settings.topic_windows, settings.topic_deletions


def check_same_topics(changed: Iterable[str], holder: str) -> None:
    """Refuse topics that were deleted and made again.

    `changed` has the topics whose ids are not those that `holder`, Redis or PostgreSQL, has stored.

    Raises:
        TopologyError: There is such a topic. The message says what to do.
    """
    if names := ", ".join(sorted(changed)):
        raise TopologyError(
            f"{names}: deleted and made again, or of another cluster, and {holder} holds positions in the former "
            'topic; see "Topics were deleted" in docs/how-to/recover.md'
        )


def check_classified_is_new_too(settings: Settings, changed: Collection[str]) -> None:
    """Refuse a raw topic that was made again without the classified topic.

    `changed` has the topics that were made again.

    Raises:
        TopologyError: The classified topic holds posts of the former raw topic, and their offsets.
    """
    raw, classified = settings.topic_raw, settings.topic_classified
    if raw in changed and classified not in changed:
        raise TopologyError(
            f"{raw} was deleted and made again, but {classified} still holds posts of the former topic; delete "
            f"{classified} too, and run `emostream init` again"
        )


def check_assigned(topic: str, assigned: Iterable[int], partitions: int) -> None:
    """Refuse partitions that were added to the topic while the process ran.

    Raises:
        TopologyError: A partition in `assigned` is not below `partitions`, the number that the windows are counted for.
    """
    new = min((partition for partition in assigned if partition >= partitions), default=None)
    if new is not None:
        raise TopologyError(
            f'{topic} has a partition {new}, but EMOSTREAM_PARTITIONS is {partitions}; see "More partitions" in '
            "docs/operations.md"
        )


def raw_limits(config: Mapping[str, str]) -> dict[str, str]:
    """Returns the settings of the raw topic that must change, so that no batch is too large when it is decompressed.

    `config` has the present settings of the topic. The result is empty if they limit the size to
    `MAX_DECOMPRESSED_BYTES`.
    """
    compression, most = config["compression.type"], int(config["max.message.bytes"])
    if most * COMPRESSION_RATIOS.get(compression, math.inf) <= MAX_DECOMPRESSED_BYTES:
        return {}
    changes = {} if compression == RAW_COMPRESSION else {"compression.type": RAW_COMPRESSION}
    if most > RAW_MAX_BYTES:
        changes["max.message.bytes"] = str(RAW_MAX_BYTES)
    return changes


def check_raw_limits(settings: Settings, config: Mapping[str, str]) -> None:
    """Refuse a raw topic whose batches may be too large when they are decompressed.

    `config` has the settings of the topic.

    Raises:
        TopologyError: The settings do not limit the size to `MAX_DECOMPRESSED_BYTES`. The message says what to do.
    """
    if raw_limits(config):
        raise TopologyError(
            f"{settings.topic_raw} has compression.type={config['compression.type']} and "
            f"max.message.bytes={config['max.message.bytes']}, so a batch of a producer could fill the memory of a "
            "worker; run `emostream init`, which sets the limits"
        )


def keywords_changes(config: Mapping[str, str]) -> dict[str, str]:
    """Returns the settings of the keywords topic that must change, so that no keyword is lost.

    `config` has the present settings of the topic.
    """
    deletions_ms = "delete.retention.ms"
    changes = {}
    if config["cleanup.policy"] != KEYWORDS_CONFIG["cleanup.policy"]:
        changes["cleanup.policy"] = KEYWORDS_CONFIG["cleanup.policy"]
    if int(config[deletions_ms]) < int(KEYWORDS_CONFIG[deletions_ms]):
        changes[deletions_ms] = KEYWORDS_CONFIG[deletions_ms]
    return changes


def check_topics(settings: Settings, counts: Mapping[str, int]) -> None:
    """Refuse topics that are missing or have wrong numbers of partitions.

    `counts` has the number of partitions of each topic that exists.

    Raises:
        TopologyError: A topic is missing, the raw and the classified topic differ in their number of partitions, the
            number is not that of the settings, or the keywords topic has more than one partition. The message says
            what to do.
    """
    missing = [spec.name for spec in topic_specs(settings) if spec.name not in counts]
    if missing:
        raise TopologyError(f"missing topics: {', '.join(missing)}; run `emostream init`")
    if (partitions := counts[settings.topic_keywords]) != 1:
        raise TopologyError(
            f"{settings.topic_keywords} has {partitions} partitions; it must have one, so that all "
            "processes see changes in the same order; delete it, run `emostream init`, and add the keywords again"
        )
    raw, classified = counts[settings.topic_raw], counts[settings.topic_classified]
    if raw != classified:
        raise TopologyError(
            f"{settings.topic_raw} has {raw} partitions and {settings.topic_classified} has {classified}; "
            "they must have the same number, because a classified post keeps its raw post's partition; add partitions "
            "to the one that has fewer"
        )
    if raw != settings.partitions:
        raise TopologyError(
            f"{settings.topic_raw} has {raw} partitions, but EMOSTREAM_PARTITIONS is {settings.partitions}; "
            f"set EMOSTREAM_PARTITIONS={raw}"
        )
