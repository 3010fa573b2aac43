#!/usr/bin/env python3
"""Follow the emotion windows with nothing but confluent-kafka: what a consumer in any language has to do.

    python scripts/follow_windows.py                    the windows as they change, from the beginning
    python scripts/follow_windows.py --once             the state of every window, as JSON lines, and stop

A record is the whole state of one window, and its key names the window: `keyword|size|start`. Three rules are all:

1. Read what is committed only (`isolation.level`): the windows are written in transactions.
2. A record replaces the one of the same key that came before. Both may have the same revision; it never falls.
3. Commit nothing and start at the beginning: the topic is compacted and holds the last record of every window.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import uuid
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

Windows = dict[str, dict[str, Any]]


def connect(bootstrap: str) -> Consumer:
    """A consumer that leaves no trace: it commits nothing, and its group is its own."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"follow-windows-{uuid.uuid4()}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            # After a restart of a whole cluster librdkafka may else have no address for five minutes.
            "metadata.recovery.rebootstrap.trigger.ms": 5_000,
        }
    )


def take(windows: Windows, key: str, value: bytes) -> dict[str, Any]:
    """Rule 2."""
    window: dict[str, Any] = json.loads(value)
    before = windows.get(key)
    if before is not None and window["revision"] < before["revision"]:
        raise ValueError(f"{key}: revision {window['revision']} came after {before['revision']}")
    windows[key] = window
    return window


def follow(consumer: Consumer, topic: str, *, once: bool) -> Windows:
    """Read from the beginning; `once` ends where every partition has been read to its end."""
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    if not partitions:
        raise SystemExit(f"there is no topic {topic}")
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    windows: Windows = {}
    unread = set(partitions)
    while unread or not once:
        message = consumer.poll(1.0)
        if message is None:
            continue
        error = message.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            unread.discard(message.partition())
            continue
        if message.value() is None:  # a tombstone: the window is gone
            windows.pop(message.key().decode(), None)
            continue
        window = take(windows, message.key().decode(), message.value())
        if not once:
            show(window)
    return windows


def show(window: dict[str, Any]) -> None:
    """One line for one window."""
    # A window of which a rebuild has found that no post belongs there has no labels.
    shares = sorted(((stats["pct"], label) for label, stats in window["labels"].items()), reverse=True)
    most = "".join(f" {label} {pct:.0f}%" for pct, label in shares[:1])
    state = "final" if window["final"] else "open"
    place = f"{window['start']} {window['size']:>6} s {window['keyword']:<16}"
    print(f"{place} {window['count']:>8}{most} {state}")


def main() -> None:
    """Parse the command line and follow."""
    parser = argparse.ArgumentParser(description="Follow the emotion windows.")
    parser.add_argument(
        "--bootstrap",
        default=os.environ.get("EMOSTREAM_KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
        help="host:port of a broker",
    )
    parser.add_argument("--topic", default=os.environ.get("EMOSTREAM_TOPIC_WINDOWS", "emotions.windows"))
    parser.add_argument("--once", action="store_true", help="print the state of every window as JSON lines, and stop")
    options = parser.parse_args()
    consumer = connect(options.bootstrap)
    try:
        windows = follow(consumer, options.topic, once=options.once)
        for window in windows.values():
            print(json.dumps(window, ensure_ascii=False))
    except KeyboardInterrupt:
        sys.exit(130)
    except (KafkaException, ValueError) as exc:
        sys.exit(f"error: {exc}")
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
