"""What `emostream backfill` prints."""

from __future__ import annotations

from streams.cli.backfill import to_lines
from streams.records import DeadReason
from streams.sink.backfill.holes import Findings
from streams.sink.ledger import Span


def test_dead_letters_have_their_reasons_and_gaps_their_offsets() -> None:
    findings = Findings(
        dead=[DeadReason.NOT_STORABLE, DeadReason.INVALID_RECORD, DeadReason.INVALID_RECORD],
        gaps=[("posts.classified", Span(1, 5, 9, 0))],
    )
    assert to_lines(findings, filled=True)[-2:] == [
        "3 dead letters written: invalid_record 2, not_storable 1",
        "posts.classified[1] 5 to 8: lost, cannot be read from Kafka; recorded in sink_gaps",
    ]
