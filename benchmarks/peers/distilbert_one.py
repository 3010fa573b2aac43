"""A DistilBERT in INT8, one post at a time, in the plain loop of `confluent_one`. This is the usual design.

The network has DistilBERT's shape and kernels, but random weights, so its labels are not compared.
"""

from __future__ import annotations

from tokenizers import Tokenizer

from benchmarks.distilbert import LABELS, DistilBert
from benchmarks.peers.confluent_one import run
from benchmarks.peers.task import Task
from models.package.folder import load_package


def main() -> None:
    """Classify one post at a time with the DistilBERT."""
    task = Task.read()
    package = load_package(task.model)
    network = DistilBert(
        task.network,
        Tokenizer.from_file(str(package.tokenizer_file)),
        threads=task.threads,
        max_tokens=package.manifest.max_tokens,
        by_length=False,
    )
    run(task, lambda text: (LABELS[int(network([text])[0])], 1.0))


if __name__ == "__main__":
    main()
