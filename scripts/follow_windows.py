#!/usr/bin/env python3
"""Follow the emotion windows with confluent-kafka alone, as a consumer in any language can.

    python scripts/follow_windows.py                    print the windows as they change, from the beginning
    python scripts/follow_windows.py --once             print the state of every window as JSON lines, and stop

A record has the complete state of one window, and its key names the window: `keyword|size|start`. A consumer follows
three rules:

1. Read committed records only (`isolation.level`), because the windows are written in transactions.
2. A record replaces the earlier record of its key. Both may have the same revision, but the revision never decreases.
3. Commit nothing and start at the beginning. The topic is compacted, so it has the last record of every window.
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
    """Returns a consumer that commits nothing, in a group of its own."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"follow-windows-{uuid.uuid4()}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            # Without this, librdkafka may have no address for five minutes after a restart of the whole cluster.
            "metadata.recovery.rebootstrap.trigger.ms": 5_000,
        }
    )


def apply(windows: Windows, key: str, value: bytes) -> dict[str, Any]:
    """Replace the window of a record's key (rule 2), and return the window.

    Raises:
        ValueError: The revision is lower than that of the window before.
    """
    window: dict[str, Any] = json.loads(value)
    before = windows.get(key)
    if before is not None and window["revision"] < before["revision"]:
        raise ValueError(f"{key}: revision {window['revision']} came after {before['revision']}")
    windows[key] = window
    return window


def follow(consumer: Consumer, topic: str, *, once: bool) -> Windows:
    """Read the topic from the beginning (rule 3) and print each window, for ever.

    If `once` is set, print nothing and return the windows when every partition has been read to its end.
    """
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    if not partitions:
        raise SystemExit(f"error: topic {topic} does not exist")
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
        if message.value() is None:  # a tombstone, which removes the window
            windows.pop(message.key().decode(), None)
            continue
        window = apply(windows, message.key().decode(), message.value())
        if not once:
            show(window)
    return windows


def show(window: dict[str, Any]) -> None:
    """Print a window as one line."""
    # A window that a rebuild found to have no posts has no labels.
    shares = sorted(((stats["pct"], label) for label, stats in window["labels"].items()), reverse=True)
    most = "".join(f" {label} {pct:.0f}%" for pct, label in shares[:1])
    state = "final" if window["final"] else "open"
    place = f"{window['start']} {window['size']:>6} s {window['keyword']:<16}"
    # Records of version 0.1 have no field for the posts in languages that the model does not read.
    unsupported = f" +{window['unsupported']} unsupported" if window.get("unsupported") else ""
    print(f"{place} {window['count']:>8}{most}{unsupported} {state}")


def main() -> None:
    """Parse the command line, and follow the windows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--bootstrap",
        default=os.environ.get("EMOSTREAM_KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
        help="host:port of a broker (default: %(default)s)",
    )
    parser.add_argument(
        "--topic",
        default=os.environ.get("EMOSTREAM_TOPIC_WINDOWS", "emotions.windows"),
        help="the windows topic (default: %(default)s)",
    )
    parser.add_argument("--once", action="store_true", help="print the state of every window as JSON lines, and stop")
    options = parser.parse_args()
    consumer = connect(options.bootstrap)
    try:
        windows = follow(consumer, options.topic, once=options.once)
        for window in windows.values():
            print(json.dumps(window, ensure_ascii=False))
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of the output has gone, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (KafkaException, ValueError) as exc:
        sys.exit(f"error: {exc}")
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
