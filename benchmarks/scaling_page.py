"""Writes the tables of docs/scaling.md from measured costs: what gives way first, what a rate needs, what that costs.

    python benchmarks/scaling_page.py
    python benchmarks/scaling_page.py --costs costs.json --scaling scaling.json
    python benchmarks/scaling_page.py --check

Everything between `<!-- NAME:begin -->` and `<!-- NAME:end -->` is written anew; the rest of the page is left alone.
The costs are benchmarks/scaling_costs.json, each with where it was measured.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from benchmarks.harness.stats import Spread
from benchmarks.scaling_costs import CostsError, Given, read_costs
from benchmarks.scaling_model import (
    LARGEST_BATCH,
    Bill,
    Fleet,
    batch_of,
    bill,
    bytes_in,
    bytes_out,
    capacities,
    plan,
)
from benchmarks.scaling_simulation import Play, simulate
from models.training.markdown import markdown_table

ROOT = Path(__file__).parents[1]
RATES = (10_000, 100_000, 1_000_000)
WORKERS = (1, 4, 16, 64, 256)
_NAMES = {
    "classify_us": "classify: a worker's core",
    "aggregate_us": "count: a worker's core",
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
        if name == "redis":
            cell = ", ".join(f"{us:g} µs in batches of {batch:,}" for batch, us in value)
        else:
            unit = next(unit for ending, unit in _UNITS.items() if name.endswith(ending))
            cell = f"{value:,g} {unit}"
        rows.append([title, cell, given.measured[name]])
    return markdown_table(["part", "a post", "measured by"], rows)


def base_fleet() -> Fleet:
    """What a first machine of eight cores runs: the defaults."""
    return Fleet(workers=8, partitions=8, brokers=1, masters=1, shards=4, sinks=1, replication=1)


def limits_table(given: Given) -> str:
    """What each part of the first machine does, the lowest first, and which rates it lasts for."""
    found = capacities(given.costs, given.machines, base_fleet())
    found["Redis, windows within a second"] = 1e6 / given.costs.redis_us(
        batch_of(found["workers"], base_fleet().workers, 1.0)
    )
    rows = [
        [part, f"{limit:,.0f}", *("yes" if limit >= rate else "no" for rate in RATES)]
        for part, limit in sorted(found.items(), key=lambda item: item[1])
    ]
    return markdown_table(["part", "posts/s", *(f"{rate:,}" for rate in RATES)], rows, numbers=True)


def first_table(given: Given) -> str:
    """For each rate, what gives way in turn as the part before it is made larger."""
    found = capacities(given.costs, given.machines, base_fleet())
    rows = []
    for rate in RATES:
        short = sorted((part for part, limit in found.items() if limit < rate), key=found.__getitem__)
        rows.append([f"{rate:,}", short[0] if short else "nothing", ", ".join(short[1:]) or "nothing"])
    return markdown_table(["posts/s", "gives way first", "then, in this order"], rows)


def fleet_of(given: Given, rate: float) -> Fleet:
    """The fleet for a rate."""
    more = given.more
    return plan(
        given.costs,
        given.machines,
        rate,
        headroom=more["headroom"],
        replication=int(more["replication"]),
        wait_s=more["wait_s"],
    )


def fleets_table(given: Given) -> str:
    """What each rate needs."""
    fleets = [fleet_of(given, rate) for rate in RATES]
    costs = given.costs

    def row(title: str, *cells: str) -> list[str]:
        return [title, *cells]

    def megabytes(value: float) -> str:
        return f"{value / 1e6:,.0f} MB/s"

    pairs = list(zip(RATES, fleets, strict=True))
    rows = [
        row("worker processes, a core each", *(f"{fleet.workers:,}" for fleet in fleets)),
        row("partitions, at least", *(f"{fleet.partitions:,}" for fleet in fleets)),
        row(
            "posts in a batch of the windows",
            *(f"{batch_of(rate, fleet.workers, given.more['wait_s']):,}" for rate, fleet in pairs),
        ),
        row("Redis masters", *(f"{fleet.masters:,}" for fleet in fleets)),
        row("shards", *(f"{fleet.shards:,}" for fleet in fleets)),
        row("brokers", *(f"{fleet.brokers:,}" for fleet in fleets)),
        row("into all brokers", *(megabytes(rate * bytes_in(costs, fleet.replication)) for rate, fleet in pairs)),
        row("out of all brokers", *(megabytes(rate * bytes_out(costs, fleet.replication)) for rate, fleet in pairs)),
        row("sinks", *(f"{fleet.sinks:,}" for fleet in fleets)),
        row("rows a second, of what one Postgres takes", *(f"{rate / costs.postgres_rows:.0%}" for rate in RATES)),
    ]
    return markdown_table(["", *(f"{rate:,} posts/s" for rate in RATES)], rows, numbers=True)


def simulation_table(given: Given) -> str:
    """Workers at full speed on one Redis master, and on as many as they need."""
    rows = []
    single = 0.0
    for workers in WORKERS:
        brokers = max(3, workers // 16)
        one = Fleet(workers, workers, brokers=brokers, masters=1, shards=4)
        found = simulate(given.costs, given.machines, one, _PLAY)
        four = simulate(given.costs, given.machines, replace(one, masters=4, shards=16), _PLAY)
        single = single or found.applied
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
    header = ["workers", "posts/s", "of linear", "Redis busy, one master", "s behind", "four masters", "s behind"]
    return markdown_table(header, rows, numbers=True)


_PLAY = Play(seconds=240, answer_s=0.01, spread=0.3, aggregate_batch=LARGEST_BATCH)


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
        fleet_of(given, rate),
        given.prices,
        rate=rate,
        retention_days=more["retention_days"],
        history_days=more["history_days"],
        postgres_cores=more["postgres_cores"],
        zones=int(more["zones"]),
    )


def measured_table(content: Mapping[str, Any]) -> str:
    """What bench_scaling.py has measured."""
    rows = []
    for workers, found in content["medians"].items():
        rate, linear = Spread(**found["per_second"]), Spread(**found["of_linear"])
        rows.append(
            [
                workers,
                f"{rate.median:,.0f} ({rate.low:,.0f} to {rate.high:,.0f})",
                f"{linear.median:.2f} ({linear.low:.2f} to {linear.high:.2f})",
            ]
        )
    about = ", ".join(f"{name} {value}" for name, value in (*content["machine"].items(), *content["settings"].items()))
    note = content["note"]
    table = markdown_table(["workers", "posts/s", "of linear"], rows, numbers=True)
    return f"{table}\n\n{note[:1].upper()}{note[1:]}. {about}."


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
            blocks["measured"] = measured_table(json.loads(scaling_file.read_text("utf-8")))
        old = page.read_text("utf-8")
        new = render(old, blocks)
        if not check:
            page.write_text(new, "utf-8")
    except (CostsError, OSError, ValueError, KeyError) as exc:
        raise click.ClickException(str(exc)) from exc
    if check and new != old:
        raise click.ClickException(f"{page} is out of date: python benchmarks/scaling_page.py")


if __name__ == "__main__":
    main()
