"""Reads the file of costs that docs/scaling.md is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.scaling_model import BatchCost, Costs, Machines, Prices
from benchmarks.scaling_plan import Tables
from streams.window_sizes import parse_sizes


class CostsError(Exception):
    """The file of costs cannot be used."""


@dataclass(frozen=True)
class Given:
    """What the page is made of.

    Attributes:
        costs: of a post.
        measured: where each was measured.
        machines: that are assumed.
        prices: that are assumed.
        tables: the windows that are assumed.
        waits_s: for how long a batch for the windows may be gathered, in seconds.
        more: the other assumptions, by name.
    """

    costs: Costs
    measured: Mapping[str, str]
    machines: Machines
    prices: Prices
    tables: Tables
    waits_s: tuple[float, ...]
    more: Mapping[str, float]


def read_costs(file: Path) -> Given:
    """Read the costs.

    Raises:
        CostsError: the file cannot be read, or lacks something.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
        entries = content["costs"]
        names = {field.name for field in fields(Costs)}
        if names != entries.keys():
            raise CostsError(f"{file}: costs must be {', '.join(sorted(names))}")
        values: dict[str, Any] = {name: entry["value"] for name, entry in entries.items()}
        for name in ("aggregate", "redis"):
            by_batch = tuple((int(batch), float(us)) for batch, us in values[name]["by_batch"])
            values[name] = BatchCost(by_batch, float(values[name]["call_us"]))
        assumed = content["assumed"]
        tables = assumed["tables"]
        if not assumed["waits_s"] or min(assumed["waits_s"]) <= 0:
            raise CostsError(f"{file}: waits_s must be positive times")
        return Given(
            costs=Costs(**values),
            measured={name: entry["measured"] for name, entry in entries.items()},
            machines=Machines(**assumed["machines"]),
            prices=Prices(**assumed["prices"]),
            tables=Tables(
                int(tables["keywords"]), float(tables["keywords_per_post"]), parse_sizes(tables["window_sizes"])
            ),
            waits_s=tuple(sorted(map(float, assumed["waits_s"]))),
            more={name: value for name, value in assumed.items() if isinstance(value, int | float)},
        )
    except OSError as exc:
        raise CostsError(f"cannot read {file}: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise CostsError(f"{file} is not a file of costs: {exc}") from exc
