"""Writes the tables of docs/scaling.md from measured costs: what gives way first, what a rate needs, what that costs.

    python benchmarks/scaling_page.py
    python benchmarks/scaling_page.py --costs costs.json --scaling scaling.json
    python benchmarks/scaling_page.py --check

Everything between `<!-- NAME:begin -->` and `<!-- NAME:end -->` is written anew; the rest of the page is left alone.
The costs are benchmarks/scaling_costs.json, each with where it was measured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from benchmarks.scaling_costs import CostsError, Given, read_costs
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


def costs_table(given: Given) -> str:
    """Each cost, and where it was measured."""
    rows = []
    for name, title in _NAMES.items():
        value = getattr(given.costs, name)
        if isinstance(value, BatchCost):
            cells = (f"{us:g} µs in batches of {batch:,}" for batch, us in value.by_batch)
            cell = f"{', '.join(cells)}; and for each batch {value.call_us:g} µs a shard"
        else:
            unit = next(unit for ending, unit in _UNITS.items() if name.endswith(ending))
            cell = f"{value:,g} {unit}"
        rows.append([title, cell, given.measured[name]])
    return markdown_table(["part", "a post", "measured by"], rows)


def base_fleet() -> Fleet:
    """What a first machine of eight cores runs: the defaults."""
    return Fleet(workers=8, partitions=8, brokers=1, masters=1, shards=4, sinks=1, replication=1)


def base_capacities(given: Given) -> dict[str, float]:
    """What each part of it does; Redis with batches that are gathered for a second, and with the largest."""
    fleet = base_fleet()
    most = capacities(given.costs, given.machines, fleet)
    second = batch_of(most["workers"], fleet.workers, 1.0)
    found = capacities(given.costs, given.machines, fleet, batch=second)
    return found | {_SECOND: found["Redis"], "Redis": most["Redis"]}


_SECOND = "Redis, windows within a second"


def limits_table(given: Given) -> str:
    """What each part of the first machine does, the lowest first, and which rates it lasts for."""
    found = base_capacities(given)
    rows = [
        [part, f"{limit:,.0f}", *("yes" if limit >= rate else "no" for rate in RATES)]
        for part, limit in sorted(found.items(), key=lambda item: item[1])
    ]
    return markdown_table(["part", "posts/s", *(f"{rate:,}" for rate in RATES)], rows, numbers=True)


def first_table(given: Given) -> str:
    """For each rate, what gives way in turn as the part before it is made larger."""
    found = base_capacities(given)
    del found[_SECOND]
    rows = []
    for rate in RATES:
        short = sorted((part for part, limit in found.items() if limit < rate), key=found.__getitem__)
        rows.append([f"{rate:,}", short[0] if short else "nothing", ", ".join(short[1:]) or "nothing"])
    return markdown_table(["posts/s", "gives way first", "then, in this order"], rows)


def fleet_of(given: Given, rate: float) -> tuple[float, Fleet]:
    """For how many seconds batches are gathered at a rate, and the fleet for it."""

    def plan_for(wait_s: float) -> Fleet:
        return plan(
            given.costs,
            given.machines,
            rate,
            headroom=given.more["headroom"],
            replication=int(given.more["replication"]),
            wait_s=wait_s,
            tables=given.tables,
        )

    return shortest_wait(given.waits_s, plan_for, given.machines)


def fleets_table(given: Given) -> str:
    """What each rate needs."""
    found = [fleet_of(given, rate) for rate in RATES]
    fleets = [fleet for _, fleet in found]
    costs, tables = given.costs, given.tables

    def row(title: str, *cells: str) -> list[str]:
        return [title, *cells]

    def megabytes(value: float) -> str:
        return f"{value / 1e6:,.0f} MB"

    pairs = list(zip(RATES, fleets, strict=True))
    rows = [
        row("worker processes, a core each", *(f"{fleet.workers:,}" for fleet in fleets)),
        row("partitions, at least", *(f"{fleet.partitions:,}" for fleet in fleets)),
        row("a batch for the windows is gathered for", *(f"{wait_s:g} s" for wait_s, _ in found)),
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


def simulation_table(given: Given) -> str:
    """Workers at full speed on one Redis master, and on as many as they need."""
    rows = []
    # Alone for as long as it does as many batches as many do: few batches tell a rate to some percent only.
    alone = replace(_SIMULATION, seconds=_SIMULATION.seconds * 60)
    single = simulate(given.costs, given.machines, Fleet(1, 1), alone).classified
    for workers in WORKERS:
        brokers = max(3, workers // 16)
        one = Fleet(workers, workers, brokers=brokers, masters=1, shards=4)
        found = simulate(given.costs, given.machines, one, _SIMULATION)
        four = simulate(given.costs, given.machines, replace(one, masters=4, shards=16), _SIMULATION)
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


_SIMULATION = SimulationConfig(seconds=240, answer_s=0.01, spread=0.3, aggregate_batch=LARGEST_BATCH)


def bill_table(given: Given) -> str:
    """The example: what each rate costs a month."""
    bills = [_bill(given, rate) for rate in RATES]
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


def _bill(given: Given, rate: float) -> Bill:
    more = given.more
    return bill(
        given.costs,
        given.machines,
        fleet_of(given, rate)[1],
        given.prices,
        rate=rate,
        retention_days=more["retention_days"],
        history_days=more["history_days"],
        postgres_cores=more["postgres_cores"],
        zones=int(more["zones"]),
    )


def render(page: str, blocks: Mapping[str, str]) -> str:
    """The page with these blocks.

    Raises:
        CostsError: the page has no place for one.
    """
    for name, block in blocks.items():
        place = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
        page, count = place.subn(lambda match, text=block: f"{match[1]}\n{text.strip()}\n\n{match[2]}", page)  # type: ignore[misc]
        if count != 1:
            raise CostsError(f"the page has {count} places for {name}; it needs one")
    return page


def blocks_of(given: Given) -> dict[str, str]:
    """Every block that follows from the costs."""
    return {
        "costs": costs_table(given),
        "limits": limits_table(given),
        "first": first_table(given),
        "fleets": fleets_table(given),
        "simulation": simulation_table(given),
        "bill": bill_table(given),
    }


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--costs",
    "costs_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=ROOT / "benchmarks" / "scaling_costs.json",
    show_default="benchmarks/scaling_costs.json",
    help="What a post costs each part.",
)
@click.option(
    "--scaling",
    "scaling_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="What bench_scaling.py has measured; without it that table stays as it is.",
)
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    default=ROOT / "docs" / "scaling.md",
    show_default="docs/scaling.md",
)
@click.option("--check", is_flag=True, help="Write nothing; the exit code is 1 if the page is out of date.")
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
        raise click.ClickException(f"{page} is out of date: python benchmarks/scaling_page.py")


if __name__ == "__main__":
    main()
