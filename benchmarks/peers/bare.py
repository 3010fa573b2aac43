"""The bare loop, the upper limit: the model alone on texts in memory, in batches of 512. No Kafka, JSON or windows.

python -m benchmarks.peers.bare POSTS.jsonl RESULTS.jsonl
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

from benchmarks.peers.task import Labeller, Task


def main(posts_file: Path, results_file: Path) -> None:
    """Classify the posts, write the results, and wait until the process is stopped.

    A result is a JSON list: when the post's batch was done in seconds since 1970, the post's id, and its label.
    """
    task = Task.read()
    labeller = Labeller(task)
    posts = [json.loads(line) for line in posts_file.read_text("utf-8").split("\n") if line]
    texts = [post["text"] for post in posts]
    done: list[tuple[float, list[tuple[str, float]]]] = []
    for start in range(0, len(texts), task.batch):
        answers = labeller(texts[start : start + task.batch])
        done.append((time.time(), answers))
    answered = [(at, label) for at, answers in done for label, _ in answers]
    lines = [json.dumps([at, post["id"], label]) for (at, label), post in zip(answered, posts, strict=True)]
    partial_file = results_file.with_suffix(".part")
    partial_file.write_text("\n".join(lines), encoding="utf-8")
    # The reader waits for this name, so the file must be complete when it appears.
    partial_file.rename(results_file)
    # The processor time of a process that has ended cannot be read.
    signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
