"""What `emostream sources` shows of stored positions and of the members of the groups."""

import io
import json
from datetime import timedelta

import msgspec
import pytest
from rich.console import Console

from connectors.kafka.admin import GroupMember
from streams.cli.sources import count_line, lines_below, source_table
from streams.ingest.sources.members import Process, client_id, process_of
from streams.ingest.sources.status import SourceStatus, State, Statuses, status_of, to_json
from streams.records import SourcePosition, SourceReport, Timestamp
from tests.source_world import START

NOW = START + timedelta(hours=1)
GROUP = "emostream-source-bluesky"
TOPIC = "emostream.sources"
HOLDS = frozenset({(TOPIC, 0)})
REPORT = SourceReport(
    host="host-a",
    since=Timestamp.of(START),
    heard_at=Timestamp.of(NOW - timedelta(seconds=2)),
    lag_s=0.8,
    posts_per_second=41.25,
    posts=12_345,
    kept=12_400,
    cut=3,
    duplicates=55,
    deletions=40,
    reconnects=2,
    gap_seconds=90.0,
    refused={"no_keyword": 88_012, "edited": 7, "not_a_post": 120, "empty_text": 1},
    repaired={"long_text": 4},
)


def position(report: SourceReport | None = REPORT, *, saved_s: float = 1.0, gaps: int = 1) -> SourcePosition:
    return SourcePosition(
        instance="bluesky",
        source="bluesky",
        cursor="1",
        at=Timestamp.of(NOW - timedelta(seconds=30)),
        raw_topic="posts.raw",
        offsets={},
        reread={},
        gaps=gaps,
        saved_at=Timestamp.of(NOW - timedelta(seconds=saved_s)),
        report=report,
    )


RUNNING = SourceStatus(position(), Process("host-a", 4711), (Process("host-b", 12),))
STOPPED = SourceStatus(position(saved_s=7_260.0))


def test_a_process_is_known_by_its_client_id() -> None:
    here = process_of(GROUP, client_id(GROUP), "/10.0.0.1")
    assert here.pid is not None
    assert process_of(GROUP, f"{GROUP}-my-host-12", "/10.0.0.1") == Process("my-host", 12)
    for foreign in (GROUP, "rdkafka", f"{GROUP}-x", f"{GROUP}--1"):
        assert process_of(GROUP, foreign, "/10.0.0.1") == Process("10.0.0.1", None)


@pytest.mark.parametrize(
    ("members", "state", "runner", "waiting"),
    [
        ([], State.STOPPED, None, ()),
        ([("a-1", HOLDS)], State.RUNNING, Process("a", 1), ()),
        ([("b-2", frozenset()), ("a-1", HOLDS)], State.RUNNING, Process("a", 1), (Process("b", 2),)),
        # Kafka gives the partition to somebody in a moment.
        ([("b-2", frozenset())], State.WAITING, None, (Process("b", 2),)),
        ([("a-1", frozenset({("other", 0), (TOPIC, 1)}))], State.WAITING, None, (Process("a", 1),)),
    ],
    ids=["nobody", "one", "two", "rebalance", "other-partitions"],
)
def test_the_member_that_has_the_partition_runs_it(
    members: list[tuple[str, frozenset[tuple[str, int]]]],
    state: State,
    runner: Process | None,
    waiting: tuple[Process, ...],
) -> None:
    found = status_of(
        position(), GROUP, [GroupMember(f"{GROUP}-{name}", "/10.0.0.1", parts) for name, parts in members], TOPIC
    )
    assert (found.state, found.runner, found.waiting) == (state, runner, waiting)


def test_the_figures_of_a_running_and_of_a_stopped_source() -> None:
    assert (RUNNING.posts_per_second(NOW), RUNNING.idle_s(NOW), RUNNING.lag_s(NOW)) == (41.25, 2.0, 0.8)
    # A source that is stopped falls behind as time passes.
    assert (STOPPED.posts_per_second(NOW), STOPPED.idle_s(NOW), STOPPED.lag_s(NOW)) == (0.0, 2.0, 30.0)
    assert SourceStatus(position(saved_s=61.0), Process("a", 1)).posts_per_second(NOW) == 0.0
    before = SourceStatus(position(None), Process("a", 1))
    assert (before.posts_per_second(NOW), before.idle_s(NOW), before.lag_s(NOW)) == (0.0, None, None)
    assert (before.dropped, before.edits, before.skipped) == (0, 0, {})


def test_a_source_that_failed_shows_why_until_it_runs_again() -> None:
    report = msgspec.structs.replace(REPORT, failure="[x] the token is wrong")
    failed = SourceStatus(position(report, saved_s=60.0))
    assert failed.state is State.FAILED
    (document,) = to_json(Statuses((failed,)), NOW)["sources"]
    assert (document["state"], document["failure"]) == ("failed", "[x] the token is wrong")
    counts, why = lines_below(Statuses((failed,)), NOW)
    assert counts.startswith("bluesky failed 1 min ago; since ")
    assert why == "[red]bluesky has failed: \\[x] the token is wrong[/]"
    again = SourceStatus(position(report), Process("host-a", 1))
    assert (again.state, again.failure) == (State.RUNNING, None)
    assert len(lines_below(Statuses((again,)), NOW)) == 1


def test_json_has_every_figure() -> None:
    statuses = Statuses((RUNNING, SourceStatus(position(None))), {"broken": "is not UTF-8"})
    document = json.loads(json.dumps(to_json(statuses, NOW)))
    full, without = document["sources"]
    assert full == {
        "instance": "bluesky",
        "source": "bluesky",
        "state": "running",
        "host": "host-a",
        "pid": 4711,
        "waiting": [{"host": "host-b", "pid": 12}],
        "saved_at": "2026-03-01T12:59:59.000Z",
        "at": "2026-03-01T12:59:30.000Z",
        "gaps": 1,
        "since": "2026-03-01T12:00:00.000Z",
        "posts": 12_345,
        "posts_per_second": 41.25,
        "idle_s": 2.0,
        "lag_s": 0.8,
        "reconnects": 2,
        "gap_seconds": 90.0,
        "kept": 12_400,
        "dropped": 88_012,
        "cut": 3,
        "duplicates": 55,
        "edits": 7,
        "deletions": 40,
        "skipped": {"not_a_post": 120, "empty_text": 1},
        "repaired": {"long_text": 4},
        "failure": None,
    }
    assert (without["state"], without["since"]) == ("stopped", None)
    assert document["unreadable"] == [{"instance": "broken", "problem": "is not UTF-8"}]


def test_the_table_has_a_row_for_each_source() -> None:
    """It fits into a terminal of 80 columns."""
    out = Console(file=io.StringIO(), width=80, color_system=None)
    out.print(source_table([RUNNING, STOPPED, SourceStatus(position(None, gaps=0))], NOW))
    assert isinstance(out.file, io.StringIO)
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in out.file.getvalue().splitlines() if "│" in line
    ]
    assert rows == [
        [
            "bluesky",
            "running",
            "12,345",
            "41.2",
            "2.0 s ago",
            "0.8 s",
            "1",
        ],
        ["bluesky", "stopped", "12,345", "0.0", "2.0 s ago", "30 s", "1"],
        ["bluesky", "stopped", "", "", "", "30 s", "0"],
    ]


def test_the_lines_below_have_the_counts() -> None:
    assert count_line(RUNNING, NOW) == (
        "bluesky running on host-a (pid 4711) while 1 process waits; since 2026-03-01 12:00Z: reconnects 2; "
        "keywords kept 12,400, dropped 88,012, cut 3; repeated 55; edits 7, deletions 40; "
        "skipped empty_text 1, not_a_post 120; repaired long_text 4; gaps of 1 min 30 s in all"
    )
    assert count_line(STOPPED, NOW).startswith("bluesky stopped 2 h 1 min ago; since 2026-03-01 12:00Z: reconnects 2; ")
    assert lines_below(Statuses((SourceStatus(position(None)),), {"a[b]": "is not UTF-8"}), NOW) == [
        "bluesky stopped 1 s ago: its position is of an earlier version and has no counts",
        "[red]a\\[b]: its position cannot be read: is not UTF-8[/]",
    ]
