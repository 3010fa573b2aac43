"""The limit: the model alone, without Kafka, JSON or windows; texts lie ready in memory, batches as large as ours.

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
    """Classify the posts; write for each when its batch was done, its id and its label; then wait to be stopped."""
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
    written = results_file.with_suffix(".part")
    written.write_text("\n".join(lines), encoding="utf-8")
    # Once it is there, it is whole.
    written.rename(results_file)
    # As the other systems, which end when they are told: the processor time of one that is gone cannot be asked for.
    signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
