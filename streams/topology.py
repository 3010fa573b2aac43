"""The topics as they should be, and the check that they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from connectors.kafka.admin import TopicSpec
from connectors.kafka.producer import MAX_MESSAGE_BYTES
from streams.errors import TopologyError
from streams.settings import Settings

RAW_MAX_BYTES = 1_048_588
"""Kafka's default; a dead letter of such a message still fits `MAX_MESSAGE_BYTES`."""


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """Every topic the application uses, with partition counts, retention and compaction."""
    copies = settings.replication_factor
    kept = {"retention.ms": str(int(settings.retention_hours * 3_600_000)), "cleanup.policy": "delete"}
    for_a_day = {"retention.ms": "86400000", "cleanup.policy": "delete"}
    large = {**kept, "max.message.bytes": str(MAX_MESSAGE_BYTES)}
    # The broker's clock: rising along a partition, and the same for what is compared.
    by_broker = {"message.timestamp.type": "LogAppendTime"}
    return [
        TopicSpec(
            settings.topic_raw,
            settings.partitions,
            copies,
            # The broker's own clock says whether a post is from the future, also when it is read again later.
            {**kept, **by_broker, "max.message.bytes": str(RAW_MAX_BYTES)},
        ),
        TopicSpec(settings.topic_classified, settings.partitions, copies, {**large, **by_broker}),
        TopicSpec(settings.topic_dead, 1, copies, large),
        TopicSpec(settings.topic_late, 1, copies, kept),
        TopicSpec(
            settings.topic_windows,
            settings.partitions,
            copies,
            # Only closed segments are compacted; an hour's keeps the topic near one record per window. What has left
            # the tables for good leaves the topic too.
            {
                "cleanup.policy": "compact,delete",
                "retention.ms": str(max(size.kept_ms + size.seconds * 1_000 for size in settings.window_sizes)),
                "segment.ms": "3600000",
                "max.message.bytes": str(MAX_MESSAGE_BYTES),
            },
        ),
        TopicSpec(settings.topic_totals, 1, copies, for_a_day),
        TopicSpec(settings.topic_control, 1, copies, for_a_day),
    ]


def check_assigned(topic: str, assigned: Iterable[int], partitions: int) -> None:
    """Refuse partitions that the tables were not built for: somebody has added some while we ran.

    Raises:
        TopologyError: naming the first of them.
    """
    new = min((partition for partition in assigned if partition >= partitions), default=None)
    if new is not None:
        raise TopologyError(
            f'{topic} has got a partition {new}, the settings say {partitions}; see "More partitions" in '
            "docs/operations.md"
        )


def check_topics(settings: Settings, counts: Mapping[str, int]) -> None:
    """Refuse topics that are missing, or whose partition counts cannot work.

    Args:
        settings: what is wanted.
        counts: partitions of each topic that exists.

    Raises:
        TopologyError: naming every topic that is wrong, and what to do.
    """
    missing = [spec.name for spec in topic_specs(settings) if spec.name not in counts]
    if missing:
        raise TopologyError(f"missing topics: {', '.join(missing)}; run `emostream init`")
    raw, classified = counts[settings.topic_raw], counts[settings.topic_classified]
    if raw != classified:
        raise TopologyError(
            f"{settings.topic_raw} has {raw} partitions and {settings.topic_classified} has {classified}; "
            "they must have the same number, because a classified post keeps its raw post's partition"
        )
    if raw != settings.partitions:
        raise TopologyError(
            f"{settings.topic_raw} has {raw} partitions, the settings say {settings.partitions}; "
            f"set EMOSTREAM_PARTITIONS={raw}"
        )
