"""A backfill with connections of its own, as `emostream backfill` runs it; the sink runs `Backfill` itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict

from connectors.kafka.admin import KafkaAdmin
from streams.connections import kafka_config
from streams.gate.cpu_aware import OpenGate, sink_gate
from streams.gate.rule import GateState
from streams.settings import Settings
from streams.sink.backfill.holes import Findings
from streams.sink.backfill.run import Backfill, OnFindings
from streams.sink.backfill.wait import gate_waiter
from streams.sink.history import History
from streams.sink.same_topics import require_same_topics


def run_standalone(
    settings: Settings,
    stop: threading.Event,
    *,
    fill: bool,
    ignore_load: bool,
    on_waiting: Callable[[GateState], None],
    on_findings: OnFindings,
) -> Findings:
    """Find what Postgres lacks, and fill it if `fill` is set.

    Args:
        settings: where the servers are.
        stop: stops the backfill once it is set.
        fill: whether to write what is missing.
        ignore_load: whether to work whatever the load of the machine, instead of waiting for the gate to open.
        on_waiting: called at each poll of a closed gate, with its state.
        on_findings: called between two pieces of work, with the findings so far.

    Raises:
        BackfillStoppedError: `stop` was set.
        BackfillBusyError: Another process is filling holes.
        TopologyError: A topic was deleted and made again. This is checked only if `fill` is set.
        ConnectorError: A server does not answer, or rejects the call.
    """
    dsn = settings.postgres_dsn.get_secret_value()
    with ExitStack() as stack:
        gate = stack.enter_context(OpenGate() if ignore_load else sink_gate(settings))
        history = History(dsn, application_name="emostream-backfill", on_connect=gate.add_backend)
        stack.callback(history.close)
        history.check()
        if fill:
            require_same_topics(settings, KafkaAdmin(kafka_config(settings)), history)
        wait = gate_waiter(gate, stop, on_waiting)
        return Backfill(settings, history, wait=wait, on_findings=on_findings).run(fill=fill)


def findings_document(findings: Findings) -> dict[str, object]:
    """Returns the findings as a JSON document."""
    return {
        "whole": findings.complete,
        "ranges": findings.ranges,
        "rows": findings.rows,
        "holes": [
            {
                "topic": hole.topic,
                "partition": hole.span.partition,
                "first_offset": hole.span.start,
                "next_offset": hole.span.end,
                "kind": hole.kind,
                "rows": hole.rows,
                "in_kafka": hole.held is not None and hole.expired is None,
            }
            for hole in findings.holes
        ],
        "windows": findings.windows,
        "windows_missing": findings.windows_missing,
        "windows_outdated": findings.windows_outdated,
        "rows_filled": findings.rows_filled,
        "windows_filled": findings.windows_filled,
        "windows_rejected": findings.windows_rejected,
        "dead_letters": len(findings.dead),
        "gaps": [{"topic": topic, **asdict(gap)} for topic, gap in findings.gaps],
    }
