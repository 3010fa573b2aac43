"""Writes the tables of docs/scaling.md from measured costs: which part limits a fleet, what a rate needs and costs.

    python benchmarks/scaling_page.py
    python benchmarks/scaling_page.py --costs costs.json --scaling scaling.json
    python benchmarks/scaling_page.py --check

It replaces the text between `<!-- NAME:begin -->` and `<!-- NAME:end -->`, and leaves the rest of the page unchanged.
The costs are in benchmarks/scaling_costs.json, each with the benchmark that measured it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from benchmarks.scaling_costs import CostsError, PageInputs, read_costs
from benchmarks.scaling_figures import FiguresError, measured_table
from benchmarks.scaling_model import LARGEST_BATCH, BatchCost, Bill, Fleet, bill, bytes_in, bytes_out, capacities
from benchmarks.scaling_plan import batch_of, plan, shortest_wait
from benchmarks.scaling_simulation import SimulationConfig, simulate
from models.training.markdown import markdown_table

ROOT = Path(__file__).parents[1]
RATES = (10_000, 100_000, 1_000_000)
WORKERS = (1, 4, 16, 64, 256)
_NAMES = {
    "classify_us": "classify: a worker's core",
    "aggregate": "count: a worker's core",
    "redis": "apply: a core of Redis",
    "broker_us": "Kafka: a broker's core, both records, without copies",
    "sink_us": "history: a sink",
    "postgres_rows": "history: one Postgres",
    "raw_bytes": "a raw record in Kafka",
    "classified_bytes": "a classified record in Kafka",
    "row_bytes": "a row of `posts`, with its indexes",
    "window_bytes": "a window in Redis",
}
_UNITS = {"_us": "µs", "_rows": "rows/s", "_bytes": "bytes"}


def costs_table(inputs: PageInputs) -> str:
    """Returns the table of costs, each with the benchmark that measured it."""
    rows = []
    for name, title in _NAMES.items():
        value = getattr(inputs.costs, name)
        if isinstance(value, BatchCost):
            cells = (f"{us:g} µs in batches of {batch:,}" for batch, us in value.by_batch)
            cell = f"{', '.join(cells)}; and for each batch {value.call_us:g} µs a shard"
        else:
            unit = next(unit for ending, unit in _UNITS.items() if name.endswith(ending))
            cell = f"{value:,g} {unit}"
        rows.append([title, cell, inputs.measured[name]])
    return markdown_table(["part", "a post", "measured by"], rows)


def base_fleet() -> Fleet:
    """Returns the fleet of a first machine with eight cores and the default settings."""
    return Fleet(workers=8, partitions=8, brokers=1, masters=1, shards=4, sinks=1, replication=1)


def base_capacities(inputs: PageInputs) -> dict[str, float]:
    """Returns the capacity of each part of the first machine.

    Redis is there twice: with the largest batches, and as `_SECOND` with batches that fill for a second.
    """
    fleet = base_fleet()
    most = capacities(inputs.costs, inputs.machines, fleet)
    second = batch_of(most["workers"], fleet.workers, 1.0)
    found = capacities(inputs.costs, inputs.machines, fleet, batch=second)
    return found | {_SECOND: found["Redis"], "Redis": most["Redis"]}


_SECOND = "Redis, windows within a second"


def limits_table(inputs: PageInputs) -> str:
    """Returns the table of the first machine's capacities, lowest first, and the rates for which each is enough."""
    found = base_capacities(inputs)
    rows = [
        [part, f"{limit:,.0f}", *("yes" if limit >= rate else "no" for rate in RATES)]
        for part, limit in sorted(found.items(), key=lambda item: item[1])
    ]
    return markdown_table(["part", "posts/s", *(f"{rate:,}" for rate in RATES)], rows, numbers=True)


def first_table(inputs: PageInputs) -> str:
    """Returns the table of the parts that are too small for each rate, the smallest capacity first."""
    found = base_capacities(inputs)
    del found[_SECOND]
    rows = []
    for rate in RATES:
        short = sorted((part for part, limit in found.items() if limit < rate), key=found.__getitem__)
        rows.append([f"{rate:,}", short[0] if short else "nothing", ", ".join(short[1:]) or "nothing"])
    return markdown_table(["posts/s", "gives way first", "then, in this order"], rows)


def fleet_of(inputs: PageInputs, rate: float) -> tuple[float, Fleet]:
    """Returns how many seconds batches for the windows fill at a rate, and the fleet for the rate."""

    def plan_for(wait_s: float) -> Fleet:
        return plan(
            inputs.costs,
            inputs.machines,
            rate,
            headroom=inputs.assumptions["headroom"],
            replication=int(inputs.assumptions["replication"]),
            wait_s=wait_s,
            tables=inputs.tables,
        )

    return shortest_wait(inputs.waits_s, plan_for, inputs.machines)


def fleets_table(inputs: PageInputs) -> str:
    """Returns the table of the fleet for each rate."""
    found = [fleet_of(inputs, rate) for rate in RATES]
    fleets = [fleet for _, fleet in found]
    costs, tables = inputs.costs, inputs.tables

    def row(title: str, *cells: str) -> list[str]:
        return [title, *cells]

    def megabytes(value: float) -> str:
        return f"{value / 1e6:,.0f} MB"

    pairs = list(zip(RATES, fleets, strict=True))
    rows = [
        row("worker processes, a core each", *(f"{fleet.workers:,}" for fleet in fleets)),
        row("partitions, at least", *(f"{fleet.partitions:,}" for fleet in fleets)),
        row("a batch for the windows fills for", *(f"{wait_s:g} s" for wait_s, _ in found)),
        row(
            "posts in it",
            *(f"{batch_of(rate, fleet.workers, wait_s):,}" for rate, (wait_s, fleet) in zip(RATES, found, strict=True)),
        ),
        row("Redis masters", *(f"{fleet.masters:,}" for fleet in fleets)),
        row("shards", *(f"{fleet.shards:,}" for fleet in fleets)),
        row(
            "memory of the fullest master", *(megabytes(tables.fullest(f.masters) * costs.window_bytes) for f in fleets)
        ),
        row("memory of the fullest shard", *(megabytes(tables.fullest(f.shards) * costs.window_bytes) for f in fleets)),
        row("brokers", *(f"{fleet.brokers:,}" for fleet in fleets)),
        row(
            "into all brokers", *(f"{megabytes(rate * bytes_in(costs, fleet.replication))}/s" for rate, fleet in pairs)
        ),
        row(
            "out of all brokers",
            *(f"{megabytes(rate * bytes_out(costs, fleet.replication))}/s" for rate, fleet in pairs),
        ),
        row("sinks", *(f"{fleet.sinks:,}" for fleet in fleets)),
        row("rows a second, of what one Postgres takes", *(f"{rate / costs.postgres_rows:.0%}" for rate in RATES)),
    ]
    return markdown_table(["", *(f"{rate:,} posts/s" for rate in RATES)], rows, numbers=True)


def simulation_table(inputs: PageInputs) -> str:
    """Returns the table of simulated workers at full speed, with one Redis master and with four."""
    rows = []
    # One worker runs 60 times as long, because few batches give an imprecise rate.
    long_run = replace(_SIMULATION, seconds=_SIMULATION.seconds * 60)
    single = simulate(inputs.costs, inputs.machines, Fleet(1, 1), long_run).classified
    for workers in WORKERS:
        brokers = max(3, workers // 16)
        one = Fleet(workers, workers, brokers=brokers, masters=1, shards=4)
        found = simulate(inputs.costs, inputs.machines, one, _SIMULATION)
        four = simulate(inputs.costs, inputs.machines, replace(one, masters=4, shards=16), _SIMULATION)
        rows.append(
            [
                f"{workers:,}",
                f"{found.classified:,.0f}",
                f"{found.classified / (workers * single):.2f}",
                f"{found.busy['Redis']:.0%}",
                f"{found.lag[1] / max(found.applied, 1):.1f}",
                f"{four.busy['Redis']:.0%}",
                f"{four.lag[1] / max(four.applied, 1):.1f}",
            ]
        )
    header = ["workers", "posts/s", "of linear", "Redis busy, one master", "lag, s", "four masters", "lag, s"]
    return markdown_table(header, rows, numbers=True)


_SIMULATION = SimulationConfig(seconds=240, answer_s=0.01, sigma=0.3, aggregate_batch=LARGEST_BATCH)


def bill_table(inputs: PageInputs) -> str:
    """Returns the table of what each rate costs a month, with the assumed prices."""
    bills = [_bill(inputs, rate) for rate in RATES]
    rows = [
        ["cores", *(f"{one.cores:,.0f}" for one in bills)],
        ["disk, TB", *(f"{one.disk_gb / 1_000:,.1f}" for one in bills)],
        ["between zones, TB a month", *(f"{one.traffic_gb / 1_000:,.0f}" for one in bills)],
        ["compute", *(f"{one.compute:,.0f}" for one in bills)],
        ["storage", *(f"{one.storage:,.0f}" for one in bills)],
        ["traffic", *(f"{one.traffic:,.0f}" for one in bills)],
        ["a month", *(f"{one.total:,.0f}" for one in bills)],
        [
            "for a million posts",
            *(f"{one.total / (rate * 730 * 3_600) * 1e6:.2f}" for one, rate in zip(bills, RATES, strict=True)),
        ],
    ]
    return markdown_table(["", *(f"{rate:,} posts/s" for rate in RATES)], rows, numbers=True)


def _bill(inputs: PageInputs, rate: float) -> Bill:
    assumptions = inputs.assumptions
    return bill(
        inputs.costs,
        inputs.machines,
        fleet_of(inputs, rate)[1],
        inputs.prices,
        rate=rate,
        retention_days=assumptions["retention_days"],
        history_days=assumptions["history_days"],
        postgres_cores=assumptions["postgres_cores"],
        zones=int(assumptions["zones"]),
    )


def render(page: str, blocks: Mapping[str, str]) -> str:
    """Returns the page with its blocks replaced.

    Args:
        page: The page.
        blocks: The new text of each block, by name.

    Raises:
        CostsError: The page does not have the markers of a block exactly once.
    """
    for name, block in blocks.items():
        marked = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
        page, count = marked.subn(lambda match, text=block: f"{match[1]}\n{text.strip()}\n\n{match[2]}", page)  # type: ignore[misc]
        if count != 1:
            raise CostsError(f"the page has {count} blocks <!-- {name}:begin --> … <!-- {name}:end -->; it needs one")
    return page


def blocks_of(inputs: PageInputs) -> dict[str, str]:
    """Returns every block that is computed from the costs."""
    return {
        "costs": costs_table(inputs),
        "limits": limits_table(inputs),
        "first": first_table(inputs),
        "fleets": fleets_table(inputs),
        "simulation": simulation_table(inputs),
        "bill": bill_table(inputs),
    }


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--costs",
    "costs_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=ROOT / "benchmarks" / "scaling_costs.json",
    show_default="benchmarks/scaling_costs.json",
    help="The costs file: what a post costs each part.",
)
@click.option(
    "--scaling",
    "scaling_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="JSON of bench_scaling.py. Without it, the table of that benchmark stays unchanged.",
)
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    default=ROOT / "docs" / "scaling.md",
    show_default="docs/scaling.md",
    help="The page to write.",
)
@click.option("--check", is_flag=True, help="Write nothing. The exit code is 1 if the page is out of date.")
def main(*, costs_file: Path, scaling_file: Path | None, page: Path, check: bool) -> None:
    """Write the tables of docs/scaling.md."""
    try:
        blocks = blocks_of(read_costs(costs_file))
        if scaling_file is not None:
            blocks["measured"] = measured_table(scaling_file)
        old = page.read_text("utf-8")
        new = render(old, blocks)
        if not check:
            page.write_text(new, "utf-8")
    except (CostsError, FiguresError, OSError, ValueError) as exc:
        raise click.ClickException(str(exc)) from exc
    if check and new != old:
        raise click.ClickException(f"{page} is out of date; update it with: python benchmarks/scaling_page.py")


if __name__ == "__main__":
    main()
