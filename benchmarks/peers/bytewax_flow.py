"""A Bytewax dataflow: `flat_map_batch` over a Kafka source with a `batch_size`, as its page on performance shows.

https://docs.bytewax.io/stable/guide/advanced-concepts/performance.html, "Batch sizes in input sources" and "Batching
large-overhead operations". The sink flushes after each batch. There is no recovery store, so Bytewax starts over after
a crash. A store would cost a little more time (https://docs.bytewax.io/stable/guide/concepts/recovery.html).

The source takes `batch_size` messages from each partition, and passes them on as one batch.

    python -m bytewax.run benchmarks.peers.bytewax_flow
"""

from __future__ import annotations

import json

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSinkMessage, KafkaSourceMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow

from benchmarks.peers.task import PRODUCER, Labeller, Task, result

task = Task.read()
labeller = Labeller(task)


def classify(
    messages: list[KafkaSourceMessage[bytes, bytes]],
) -> list[KafkaSinkMessage[bytes, bytes]]:
    """Classify one batch of the source."""
    posts = [json.loads(message.value) for message in messages]
    answers = labeller([post["text"] for post in posts])
    return [
        KafkaSinkMessage(message.key, result(post["id"], label, confidence))
        for message, post, (label, confidence) in zip(messages, posts, answers, strict=True)
    ]


flow = Dataflow("emotions")
per_partition = max(1, task.batch // task.partitions)
source = kop.input("posts", flow, brokers=[task.bootstrap], topics=[task.raw], batch_size=per_partition)
op.inspect("errors", source.errs).then(op.raises, "crash-on-error")
answered = op.flat_map_batch("classify", source.oks, classify)
kop.output("classified", answered, brokers=[task.bootstrap], topic=task.classified, add_config=PRODUCER)
