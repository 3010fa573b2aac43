"""`produce` and `tail` against a real broker, as processes with pipes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import zstandard
from confluent_kafka import Producer

from streams.connections import kafka_config
from streams.ops.demo.processes import clean_environment
from streams.records import Post
from streams.settings import Settings


def run(env: dict[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streams", *arguments],
        env=clean_environment(env),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_produced_posts_can_be_tailed(env: dict[str, str], settings: Settings) -> None:
    rows = ["text,keywords", *(f'"post, number {i} \x1b[31m",coffee' for i in range(50)), '"",empty']

    sent = run(env, "produce", "-", "--format", "csv", "--source", "test", "--json", stdin="\n".join(rows) + "\n")

    assert sent.returncode == 0, sent.stderr
    summary = json.loads(sent.stdout)
    assert (summary["sent"], summary["refused"], summary["unconfirmed"]) == (50, 1, 0)
    assert list(summary["refusals"]) == ["empty_text"]
    tail = run(env, "tail", settings.topic_raw, "--from-beginning", "--limit", "50", "--json", "--no-follow")
    assert tail.returncode == 0, tail.stderr
    assert "\x1b" not in tail.stdout, "the text of a post must not control the terminal"
    posts = [json.loads(line) for line in tail.stdout.splitlines()]
    found = {json.dumps(post).count("post, number") for post in posts}
    assert (len(posts), found) == (50, {1})


def test_a_compressed_export_is_produced_in_its_shape(env: dict[str, str], settings: Settings, tmp_path: Path) -> None:
    record = {"createdAt": "2031-01-01T00:00:00Z", "text": "half an emoji \ud83d", "langs": ["en"]}
    commit = {"operation": "create", "collection": "app.bsky.feed.post", "rkey": "1", "record": record}
    event = {"did": "did:plc:a", "time_us": 1772366400000000, "kind": "commit", "commit": commit}
    events = (event, event | {"kind": "identity"}, {"kind": "commit"})
    file = tmp_path / "events.zst"
    file.write_bytes(zstandard.compress("".join(json.dumps(item) + "\n" for item in events).encode()))

    sent = run(env, "produce", str(file), "--shape", "jetstream", "--source", "bluesky", "--json")

    assert sent.returncode == 0, sent.stderr
    summary = json.loads(sent.stdout)
    counts = [summary[name] for name in ("sent", "refused", "passed_over", "cleaned")]
    assert (counts, list(summary["refusals"])) == ([1, 1, 1, 1], ["unreadable"])
    tail = run(env, "tail", settings.topic_raw, "--from-beginning", "--limit", "1", "--json", "--no-follow")
    post = Post.from_json(tail.stdout.strip().encode())
    assert (post.id, post.text, post.lang) == ("at://did:plc:a/app.bsky.feed.post/1", "half an emoji \ufffd", "en")
    assert post.created_at.rfc3339() == "2026-03-01T12:00:00.000Z"


def test_the_last_records_are_found_among_transaction_markers(env: dict[str, str], settings: Settings) -> None:
    options = kafka_config(settings).librdkafka(transactional_id="markers")
    producer = Producer(options)
    producer.init_transactions(30)
    for number in range(18):
        producer.begin_transaction()
        fields = {"topic": settings.topic_windows, "value": f'{{"number": {number}}}', "key": str(number)}
        producer.produce(**fields, partition=number % 2, timestamp=1_772_366_400_000 + number)
        if number % 9 in {5, 6, 8}:
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)

    for last, expected in (
        (1, [16]),
        (3, [12, 13, 16]),
        (5, [10, 11, 12, 13, 16]),
        (20, [*range(5), 7, *range(9, 14), 16]),
    ):
        result = run(env, "tail", settings.topic_windows, "-n", str(last), "--json", "--no-follow")

        assert result.returncode == 0, result.stderr
        assert [json.loads(line)["number"] for line in result.stdout.splitlines()] == expected


def test_a_keyword_without_windows_is_named(env: dict[str, str], settings: Settings) -> None:
    result = run(env, "windows", "--keyword", "nosuch")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "no windows of the keyword nosuch\n")


def test_a_topic_that_does_not_exist_is_an_error_of_one_line(env: dict[str, str]) -> None:
    for arguments in (("tail", "nowhere"), ("produce", "-")):
        result = run(env, *arguments, stdin='{"text": "x"}\n')
        assert result.returncode == 1
        assert "does not exist" in result.stderr
        assert "Traceback" not in result.stderr
