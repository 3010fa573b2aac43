"""The report of a sink: durations, shares, the reason of the gate, and the health."""

from __future__ import annotations

import pytest

from streams.gate.rule import GateReason, GateState
from streams.sink.report import (
    Health,
    SinkReport,
    TopicReport,
    age,
    assess_health,
    gate_report,
    percent,
)
from tests.helpers import make_settings
from tests.sink_status_support import DANGER, SINCE, UNAVAILABLE, gate, report, state, topic


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (130, "2 min 10 s"),
        (3_600, "1 h"),
        (3_661, "1 h 1 min"),
        (3_605, "1 h"),
        (90_000, "1 d 1 h"),
    ],
)
def test_an_age_has_its_two_largest_units(seconds: float, words: str) -> None:
    assert age(seconds) == words


@pytest.mark.parametrize(
    ("share", "words"), [(0.0, "0 %"), (0.001, "0.1 %"), (0.2, "20 %"), (0.8734, "87.3 %"), (1, "100 %")]
)
def test_a_share_is_shown_in_percent(share: float, words: str) -> None:
    assert percent(share) == words


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (state(GateReason.STARTING), "the load is not known yet"),
        (state(GateReason.BUSY, 0.87), "others use 87 % of the CPU, the limit is 20 %"),
        (
            state(GateReason.BUSY, 0.19),
            "others use 19 % of the CPU, the limit is 20 %, and a closed gate opens below 18 %",
        ),
        (state(GateReason.PRESSURE, 0.1, 0.5), "tasks stall for 50 % of the time, the limit is 30 %"),
        (
            state(GateReason.CALMING, 0.1),
            "others use 10 % of the CPU, the limit is 20 %; it must stay low for 3 s",
        ),
        (state(GateReason.IDLE, 0.051), "others use 5.1 % of the CPU, the limit is 20 %"),
        (
            state(GateReason.OVERDUE, 0.9),
            "a record has waited for 1 h or more; others use 90 % of the CPU, the limit is 20 %",
        ),
        (state(GateReason.OVERDUE), "a record has waited for 1 h or more; others use an unknown share of the CPU"),
        (state(GateReason.FORCED), "there is no limit on the load (--force, or EMOSTREAM_SINK_CPU_PERCENT=100)"),
    ],
)
def test_the_report_says_why_the_gate_is_open_or_closed(found: GateState, words: str) -> None:
    made = gate_report(found, make_settings(sink_pressure_percent=30, sink_max_delay_s=3_600))
    assert (made.is_open, made.reason, made.why) == (found.is_open, found.reason, words)
    assert made.since == SINCE


def test_every_reason_has_a_text() -> None:
    assert all(gate_report(state(reason), make_settings()).why for reason in GateReason)


def test_limits_are_shares_and_a_forced_gate_has_none() -> None:
    settings = make_settings(sink_cpu_percent=25, sink_pressure_percent=30)
    limited, forced = (gate_report(state(reason), settings) for reason in (GateReason.BUSY, GateReason.FORCED))
    assert (limited.limit, limited.pressure_limit) == (0.25, 0.3)
    assert (forced.limit, forced.pressure_limit) == (None, None)


@pytest.mark.parametrize(
    ("reason", "topics", "health", "reasons"),
    [
        (GateReason.IDLE, [topic()], Health.OK, []),
        (GateReason.FORCED, [], Health.OK, []),
        (GateReason.STARTING, [topic()], Health.WAITING, ["the gate is closed: the load is not known yet"]),
        (GateReason.IDLE, [topic(), UNAVAILABLE], Health.RETRYING, ["posts.classified: PostgreSQL did not answer"]),
        (
            GateReason.STARTING,
            [UNAVAILABLE, DANGER],
            Health.DANGER,
            [
                "w: the oldest unwritten record has waited 14 min 10 s, and Kafka deletes it after 16 min 40 s",
                "posts.classified: PostgreSQL did not answer",
                "the gate is closed: the load is not known yet",
            ],
        ),
    ],
)
def test_the_health_is_the_worst_and_all_reasons_are_listed(
    reason: GateReason, topics: list[TopicReport], health: Health, reasons: list[str]
) -> None:
    assert assess_health(gate(reason), topics) == (health, tuple(reasons))


def test_a_report_can_be_read_back_from_json() -> None:
    made = report(gate(GateReason.STARTING, None), topic())
    assert SinkReport.model_validate_json(made.model_dump_json()) == made
