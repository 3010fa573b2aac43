from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connectors.errors import RejectedError, UnavailableError
from connectors.kafka.config import KafkaConfig
from connectors.kafka.producer import ConfirmedProducer, Outgoing
from streams.cli import produce as command
from streams.errors import InputError
from streams.ingest.produce import MAX_UNCONFIRMED, PostSender, paced
from streams.process.signals import GracefulInterrupt
from streams.records import Post, Timestamp

NOW = Timestamp(2026, 3, 1, tzinfo=UTC)


def post(number: int) -> Post:
    return Post(id=str(number), text="hello", created_at=NOW, source="test", lang=None)


class FakeProducer:
    """Confirms records at once if `confirm` is set; else the test confirms them through `futures`."""

    def __init__(self, *, confirm: bool = True) -> None:
        self.confirm = confirm
        self.records: list[Outgoing] = []
        self.futures: list[Future[None]] = []

    def submit(self, records: Sequence[Outgoing], /) -> Future[None]:
        self.records.extend(records)
        future: Future[None] = Future()
        self.futures.append(future)
        if self.confirm:
            future.set_result(None)
        return future


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def test_records_are_keyed_by_id_and_hold_no_nulls() -> None:
    producer = FakeProducer()
    sender = PostSender(producer, "raw")
    sender.send(post(1))
    sender.finish()
    (record,) = producer.records
    assert (record.topic, record.key, record.partition) == ("raw", b"1", None)
    assert record.value is not None
    assert json.loads(record.value) == {
        "id": "1",
        "text": "hello",
        "created_at": "2026-03-01T00:00:00.000Z",
        "source": "test",
    }


def test_only_confirmed_posts_count_as_sent() -> None:
    producer = FakeProducer(confirm=False)
    counts: list[int] = []
    sender = PostSender(producer, "raw", on_sent=counts.append)
    for number in range(3):
        sender.send(post(number))
    assert (sender.sent, sender.unconfirmed) == (0, 3)
    for future in producer.futures:
        future.set_result(None)
    sender.finish()
    assert (sender.sent, sender.unconfirmed) == (3, 0)
    assert sum(counts) == 3


def test_a_refused_post_is_an_error_and_those_before_it_count() -> None:
    producer = FakeProducer(confirm=False)
    sender = PostSender(producer, "raw")
    for number in range(3):
        sender.send(post(number))
    producer.futures[0].set_result(None)
    producer.futures[1].set_exception(RejectedError("no"))
    with pytest.raises(RejectedError):
        sender.finish()
    assert (sender.sent, sender.unconfirmed) == (1, 2)


def test_a_post_that_is_not_confirmed_in_time_fails_the_next_send() -> None:
    clock = Clock()
    sender = PostSender(FakeProducer(confirm=False), "raw", timeout_s=30, clock=clock)
    sender.send(post(1))
    clock.now = 31
    with pytest.raises(UnavailableError, match="not confirmed 2 posts for 30 s"):
        sender.send(post(2))


def test_a_post_that_is_not_confirmed_in_time_fails_finish() -> None:
    sender = PostSender(FakeProducer(confirm=False), "raw", timeout_s=0.01)
    sender.send(post(1))
    with pytest.raises(UnavailableError):
        sender.finish()


def test_the_number_of_unconfirmed_posts_is_bounded() -> None:
    sender = PostSender(FakeProducer(confirm=False), "raw", timeout_s=0.05, clock=Clock())
    for number in range(MAX_UNCONFIRMED - 1):
        sender.send(post(number))
    with pytest.raises(UnavailableError):
        sender.send(post(0))


def test_the_rate_is_kept() -> None:
    clock = Clock()
    moments = [clock.now for _ in paced(map(post, range(5)), 10, clock=clock, sleep=clock.sleep)]
    assert moments == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_after_a_delay_a_second_of_posts_is_sent_at_once() -> None:
    clock = Clock()
    posts = paced(map(post, range(100)), 8, clock=clock, sleep=clock.sleep)
    next(posts)
    clock.now = 60.0
    burst = 0
    for _ in posts:
        if clock.now > 60.0:
            break
        burst += 1
    assert burst == 9  # the posts of a second, and the one that is due


def test_ctrl_c_ends_the_wait_for_input() -> None:
    def items() -> Iterator[int]:
        yield 1
        os.kill(os.getpid(), signal.SIGINT)
        yield 2

    with GracefulInterrupt() as interrupt:
        assert list(interrupt.until_stopped(items())) == [1]
    assert interrupt.stopped
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_does_not_interrupt_the_processing_of_an_item() -> None:
    done = []
    with GracefulInterrupt() as interrupt:
        for item in interrupt.until_stopped(range(5)):
            if item == 1:
                os.kill(os.getpid(), signal.SIGINT)
            done.append(item)
    assert done == [0, 1]


def test_a_second_ctrl_c_interrupts() -> None:
    with GracefulInterrupt():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> FakeProducer:
    fake = FakeProducer()

    @contextmanager
    def sender(_settings: object, **options: Any) -> Iterator[PostSender]:
        yield PostSender(fake, "posts.raw", **options)

    monkeypatch.setattr(command, "post_sender", sender)
    return fake


def invoke(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    result = CliRunner().invoke(command.produce, list(arguments), input=stdin, standalone_mode=False)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    code = result.return_value if result.exit_code == 0 else result.exit_code
    return code, result.stdout, result.stderr


def test_good_rows_are_sent_and_refused_rows_are_reported(producer: FakeProducer, tmp_path: Path) -> None:
    file = tmp_path / "posts.csv"
    file.write_text("id,tweet\n1,one\n2,\n3,three\n")
    code, _, stderr = invoke(str(file), "--map", "text=tweet", "--keyword", "coffee")
    assert code == 0
    sent = [json.loads(record.value or b"") for record in producer.records]
    assert [(item["id"], item["text"], item["source"]) for item in sent] == [
        ("1", "one", "posts.csv"),
        ("3", "three", "posts.csv"),
    ]
    assert sent[0]["keywords"] == ["coffee"]
    assert "sent 2 posts to posts.raw" in stderr
    assert "empty_text: 1 (line 3; the text is empty)" in stderr


def test_strict_and_json(producer: FakeProducer) -> None:
    code, stdout, _ = invoke("-", "--strict", "--json", stdin=b'{"text": "one"}\nbroken\n')
    assert code == 1
    assert len(producer.records) == 1
    summary = json.loads(stdout)
    assert (summary["sent"], summary["refused"], summary["unconfirmed"]) == (1, 1, 0)
    assert summary["refusals"]["invalid_json"]["lines"] == [2]


def test_a_shape_passes_over_what_is_no_post(producer: FakeProducer, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    event = {"did": "did:plc:a", "time_us": 1772366400000000, "kind": "commit"}
    record = {"createdAt": "2026-03-01T12:00:00Z", "text": "half \ud83d", "langs": ["en"]}
    commit = {"operation": "create", "collection": "app.bsky.feed.post", "rkey": "1", "record": record}
    file.write_text(
        "".join(json.dumps(item) + "\n" for item in (event | {"commit": commit}, event | {"kind": "account"}))
    )
    code, stdout, stderr = invoke(str(file), "--shape", "jetstream", "--strict", "--json")
    assert code == 0
    (sent,) = [json.loads(record.value or b"") for record in producer.records]
    assert (sent["id"], sent["text"], sent["lang"]) == ("at://did:plc:a/app.bsky.feed.post/1", "half \ufffd", "en")
    summary = json.loads(stdout)
    assert (summary["sent"], summary["refused"], summary["passed_over"], summary["cleaned"]) == (1, 0, 1, 1)
    _, _, stderr = invoke(str(file), "--shape", "jetstream")
    assert "passed over 1 event" in stderr
    assert "cleaned 1 row" in stderr


def test_times_without_a_zone(producer: FakeProducer, tmp_path: Path) -> None:
    file = tmp_path / "posts.csv"
    file.write_text("text,created_at\none,2022-07-01 12:00:00\n")
    with pytest.raises(InputError, match="refused: 1 row"):
        invoke(str(file))
    invoke(str(file), "--now")
    invoke(str(file), "--timezone", "Europe/Berlin")
    now, berlin = [json.loads(record.value or b"")["created_at"] for record in producer.records]
    assert now > "2026"
    assert berlin == "2022-07-01T10:00:00.000Z"


def test_a_shape_has_its_own_zones_and_fields(tmp_path: Path) -> None:
    file = tmp_path / "posts.jsonl"
    file.write_text("{}\n")
    for options in (("--timezone", "UTC"), ("--map", "text=a"), ("--format", "csv")):
        with pytest.raises(InputError):
            invoke(str(file), "--shape", "mastodon", *options)


def test_rounds_have_new_ids_and_refusals_are_counted_once(producer: FakeProducer, tmp_path: Path) -> None:
    file = tmp_path / "posts.txt"
    file.write_bytes(b"one\n\xff\ntwo\n")
    code, stdout, _ = invoke(str(file), "--loop", "--count", "3", "--json")
    assert code == 0
    assert len({record.key for record in producer.records}) == 6
    assert json.loads(stdout)["refused"] == 1


def test_limit_counts_posts_over_all_rounds(producer: FakeProducer, tmp_path: Path) -> None:
    file = tmp_path / "posts.txt"
    file.write_text("one\ntwo\n")
    invoke(str(file), "--loop", "--limit", "5")
    assert len(producer.records) == 5


@pytest.mark.parametrize(("content", "message"), [(b"", "holds no posts"), (b"broken\n{}\n", "refused: 2 rows")])
def test_nothing_to_send_is_an_error(producer: FakeProducer, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        invoke("-", stdin=content)
    assert not producer.records


@pytest.mark.usefixtures("producer")
@pytest.mark.parametrize(
    "arguments",
    [
        ("-", "--loop"),
        ("x.txt", "--count", "2"),
        ("x.csv", "--map", "text"),
        ("x.csv", "--map", "size=a"),
        ("x.csv", "--map", "text=a", "--map", "text=b"),
        ("x.csv", "--map", "text=two words"),
        ("x.csv", "--shape", "myspace"),
        ("x.csv", "--timezone", "Mars"),
        ("x.csv", "--delimiter", "::"),
        ("x.csv", "--encoding", "rot13"),
        ("-", "--rate", "nan"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(command.produce, list(arguments))
    assert result.exit_code == 2


def test_ctrl_c_sends_what_was_read_and_exits_130(producer: FakeProducer, monkeypatch: pytest.MonkeyPatch) -> None:
    def paced_then_interrupted(posts: Iterator[Post], _rate: float) -> Iterator[Post]:
        yield next(posts)
        os.kill(os.getpid(), signal.SIGINT)
        yield next(posts)

    monkeypatch.setattr(command, "paced", paced_then_interrupted)
    code, stdout, _ = invoke("-", "--format", "text", "--rate", "1", "--json", stdin=b"one\ntwo\nthree\n")
    assert code == 130
    assert len(producer.records) == 1
    assert json.loads(stdout)["interrupted"] is True


def test_posts_that_no_broker_confirms_fail_in_time_and_closing_prints_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    producer = ConfirmedProducer(KafkaConfig("127.0.0.1:1"), client_id="test", give_up_after_s=0.3)
    sender = PostSender(producer, "raw", timeout_s=10)
    sender.send(post(1))
    with pytest.raises(UnavailableError, match="writing to raw"):
        sender.finish()
    assert sender.unconfirmed == 1
    given_up = producer.submit([Outgoing("raw", b"x")])
    producer.close(timeout_s=0.0)
    assert isinstance(given_up.exception(timeout=180), UnavailableError)
    assert not any(thread.name == "test-deliveries" for thread in threading.enumerate())
    assert capfd.readouterr().err == ""


def test_closing_a_gapless_producer_prints_nothing_while_no_broker_answers(capfd: pytest.CaptureFixture[str]) -> None:
    producer = ConfirmedProducer(KafkaConfig("127.0.0.1:1"), client_id="test")
    waiting = producer.submit([Outgoing("raw", b"x")])
    assert producer.close(timeout_s=0.2) == 1
    assert isinstance(waiting.exception(timeout=180), UnavailableError)
    assert capfd.readouterr().err == ""
