"""The benchmark of the ingester: its frames are those of a Jetstream server, and it checks what it measures."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.uri import parse_uri

from benchmarks.bench_jetstream import Result, Round, decode, lines, read_source
from benchmarks.harness.broker import BenchmarkError
from benchmarks.jetstream_frames import Frames, FrameServer, as_websocket_frames, events
from connectors.sources.bluesky.frames import FrameDecoder
from connectors.sources.events import SourcePost
from connectors.sources.shapes.jetstream import event_of

BEGIN_US = 1_772_366_400_000_000
TEXTS = [f"a text about coffee number {number} " * 3 for number in range(50)]
COUNT = 1_000


@pytest.fixture(scope="module")
def frames() -> Frames:
    return Frames.make(TEXTS, COUNT, begin_us=BEGIN_US, step_us=1_000)


def test_events_are_posts_with_ids_of_their_own() -> None:
    found = [msgspec.json.decode(event) for event in events(TEXTS, 64, begin_us=BEGIN_US, step_us=1_000)]
    posts = [event_of(event) for event in found]
    assert all(isinstance(post, SourcePost) for post in posts)
    assert len({post.id for post in posts if isinstance(post, SourcePost)}) == 64
    assert sum("reply" in event["commit"]["record"] for event in found) == 32
    assert sum(bool(post.keywords) for post in posts if isinstance(post, SourcePost)) == 8
    assert [event["time_us"] for event in found[:2]] == [BEGIN_US, BEGIN_US + 1_000]


def test_frames_are_compressed_with_the_dictionary(frames: Frames) -> None:
    decoded = FrameDecoder(frames.dictionary, max_bytes=100_000).decoded
    assert sum(len(decoded(message) or b"") for message in frames.messages) == frames.plain_bytes
    assert sum(map(len, frames.messages)) < 0.7 * frames.plain_bytes


def test_a_websocket_client_reads_the_frames() -> None:
    messages = [b"", b"a" * 125, b"b" * 126, b"c" * 65_535, b"d" * 65_536]
    client = ClientProtocol(parse_uri("ws://host/"))
    client.state = 1  # the handshake is done
    client.parser = client.parse()
    next(client.parser)
    client.receive_data(as_websocket_frames(messages))
    found = client.events_received()
    assert [(frame.opcode, bytes(frame.data)) for frame in found] == [(Opcode.BINARY, data) for data in messages]


def test_the_source_reads_them_from_the_server(frames: Frames) -> None:
    with FrameServer(frames.messages) as server:
        server.go()
        assert read_source(server.url, frames.dictionary, COUNT) > 0
        assert server.connected.is_set()


def test_decoding_checks_every_message(frames: Frames) -> None:
    assert decode(frames) > 0
    damaged = replace(frames, messages=[*frames.messages, b"\x28\xb5\x2f\xfd damaged"])
    with pytest.raises(BenchmarkError, match="1,000 of 1,001 messages"):
        decode(damaged)


def test_ratios_are_taken_within_a_round() -> None:
    result = Result(
        5,
        10_000,
        [
            Round(ingesting=10_000, reading=20_000, decoding=40_000, by_clock=8_000, peak_mb=100),
            Round(ingesting=20_000, reading=20_000, decoding=80_000, by_clock=9_000, peak_mb=120),
            Round(ingesting=30_000, reading=40_000, decoding=60_000, by_clock=9_500, peak_mb=110),
        ],
    )
    assert (result.ratio("reading").median, result.ratio("decoding").median) == (0.75, 0.25)
    assert lines(result) == [
        "ingesting, with 10,000 keywords: 20,000 posts/s (10,000 to 30,000), 50.0 µs a post; by the clock 9,000 "
        "posts/s; at most 120 MB",
        "reading with the source alone: 20,000 posts/s (20,000 to 40,000), 50.0 µs a post; ingesting is 0.75 of it",
        "decoding alone: 60,000 posts/s (40,000 to 80,000), 16.7 µs a post; ingesting is 0.25 of it",
    ]
    with pytest.raises(BenchmarkError, match="no round"):
        Result(5, 1, []).ratio("reading")
