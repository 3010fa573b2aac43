"""Record batches that cannot be read, and how a consumer continues after exactly their records.

A producer sends and compresses its records in batches, and the broker stores and hands out whole batches. librdkafka
reports an error, and fetches the batch again and again, if it cannot decompress a batch, if it does not know the
compression or the format, and if a batch in zstd has more than `MAX_RESPONSE_BYTES` when it is decompressed. It does
not check the checksums of batches: its option `check.crcs` loses the place of the next batch after a wrong one.

The error names the first offset of the batch, but not the last one. That is in the header of the batch, which is never
compressed. So a client that does not decompress fetches the batch as bytes.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.errors import RejectedError, UnavailableError
from connectors.kafka.batch import UnreadableBatch, offset_of, partition_of
from connectors.kafka.config import KafkaConfig
from connectors.kafka.errors import kafka_error_of

_UNREADABLE = (KafkaError._BAD_COMPRESSION, KafkaError._NOT_IMPLEMENTED)

_FETCH_BYTES = 8 * 1024 * 1024
"""Bytes to ask for: room for the batch and the one after it, if both have the largest size (`MAX_MESSAGE_BYTES`)."""


def is_unreadable(message: Message) -> bool:
    """Returns whether a consumed message is not a record, but the report of a batch that cannot be read."""
    error = message.error()
    return error is not None and error.code() in _UNREADABLE


def skip_batch(consumer: Consumer, config: KafkaConfig, report: Message, position: int = 0) -> UnreadableBatch | None:
    """Let the consumer continue after a batch that it cannot read.

    The consumer may report a batch again after it was skipped. Then it continues once more after the batch, and returns
    records that it has returned before.

    Args:
        consumer: The consumer that returned the report.
        config: How to reach Kafka.
        report: A message for which `is_unreadable` returns True.
        position: The offset of the next record that the caller wants.

    Returns:
        The part of the batch from `position` on, which is nearly always all of it; None if the batch lies below.

    Raises:
        UnavailableError: Kafka did not answer. The consumer will report the batch again.
        RejectedError: The header of the batch is damaged.
    """
    topic, partition, first = report.topic() or "", partition_of(report), offset_of(report)
    at = TopicPartition(topic, partition)
    doing = f"looking for the end of the batch {topic}[{partition}]@{first}"
    try:
        bounds = consumer.get_watermark_offsets(at, timeout=config.timeout_s, cached=False)
        if bounds is None:
            raise UnavailableError(f"Kafka did not answer while {doing}")
        low, high = bounds
        # Kafka hands out a batch also if its first records are deleted, but only for an offset that is not deleted.
        fetch = _fetch(config, topic, partition, max(first, low), doing)
        # In a thread of its own, because the caller's thread may run an event loop.
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batch-header") as thread:
            data = thread.submit(asyncio.run, fetch).result()
        end = end_of_first_batch(data, first, high, doing)
        consumer.seek(TopicPartition(topic, partition, end))
    except KafkaException as exc:
        raise UnavailableError(f"Kafka did not answer while {doing}: {kafka_error_of(exc).str()}") from exc
    if end <= position:
        return None
    return UnreadableBatch(topic, partition, max(first, position), end, report.error().str())


def end_of_first_batch(data: bytes, first: int, high: int, doing: str) -> int:
    """Returns the offset after the last record of the first batch in `data`. Pure.

    If the header is damaged, its last offset may be too high. So the offset is at most that of the next batch.

    Args:
        data: Whole batches, and perhaps a part of another one.
        first: The offset of the batch's first record.
        high: The offset of the next record that the partition will get.
        doing: What is being done, for messages.

    Raises:
        UnavailableError: The first batch is another one, because Kafka has deleted the batch meanwhile.
        RejectedError: The batch is shorter than a header, so its end is unknown.
    """
    from aiokafka.errors import CorruptRecordException  # noqa: PLC0415 - hardly ever needed
    from aiokafka.record import MemoryRecords  # noqa: PLC0415

    batches = MemoryRecords(data)
    try:
        batch = batches.next_batch()
    except CorruptRecordException as exc:
        raise RejectedError(
            f"{doing}: its header is damaged in Kafka's log; delete the records of the partition up to the next batch "
            "(kafka-delete-records.sh)"
        ) from exc
    if batch is None or batch.base_offset != first:
        raise UnavailableError(f"Kafka no longer holds the batch while {doing}")
    try:
        following = batches.next_batch()
    except CorruptRecordException:
        following = None  # the consumer will report this one next
    limit: int = high if following is None else following.base_offset
    end: int = batch.next_offset
    return max(first + 1, min(end, limit))


async def _fetch(config: KafkaConfig, topic: str, partition: int, offset: int, doing: str) -> bytes:
    """Returns batches as they are stored, beginning with the one that holds `offset`.

    Raises:
        UnavailableError: Kafka did not answer, or no longer holds the offset.
    """
    from aiokafka.client import AIOKafkaClient  # noqa: PLC0415 - hardly ever needed
    from aiokafka.errors import KafkaError as ClientError  # noqa: PLC0415
    from aiokafka.errors import for_code  # noqa: PLC0415
    from aiokafka.protocol.fetch import FetchRequest  # noqa: PLC0415
    from aiokafka.structs import TopicPartition as Partition  # noqa: PLC0415

    client = AIOKafkaClient(client_id="emostream-batch-header", **config.aiokafka())
    wanted = [(topic, [(partition, offset, _FETCH_BYTES)])]
    request = FetchRequest(0, 1, _FETCH_BYTES, 0, wanted)
    try:
        async with asyncio.timeout(config.timeout_s):
            await client.bootstrap()
            await client.set_topics([topic])
            leader = client.cluster.leader_for_partition(Partition(topic, partition))
            answer = await client.send(leader, request)
        ((_, ((_, error_code, *_, data),)),) = answer.topics
        if error_code:
            raise for_code(error_code)
    except (ClientError, OSError, TimeoutError) as exc:
        raise UnavailableError(f"Kafka did not answer while {doing}: {exc or 'no answer in time'}") from exc
    finally:
        await client.close()
    return bytes(data)
