"""Reads the costs file, from which the tables of docs/scaling.md are computed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.scaling_model import BatchCost, Costs, Machines, Prices
from benchmarks.scaling_plan import WindowTables
from streams.window_sizes import parse_sizes


class CostsError(Exception):
    """The costs file or the page cannot be used."""


@dataclass(frozen=True)
class PageInputs:
    """The content of a costs file.

    Attributes:
        costs: The cost of a post for each part.
        measured: Where each cost was measured, by name of the cost.
        machines: The assumed machines.
        prices: The assumed prices.
        tables: The assumed window tables.
        waits_s: The times that a batch for the windows may wait to fill, in seconds, in rising order.
        assumptions: The other assumptions, by name.
    """

    costs: Costs
    measured: Mapping[str, str]
    machines: Machines
    prices: Prices
    tables: WindowTables
    waits_s: tuple[float, ...]
    assumptions: Mapping[str, float]


def read_costs(file: Path) -> PageInputs:
    """Read a costs file.

    Raises:
        CostsError: The file cannot be read, or a value is missing or wrong.
    """
    try:
        content = json.loads(file.read_text("utf-8"))
        entries = content["costs"]
        names = {field.name for field in fields(Costs)}
        if names != entries.keys():
            raise CostsError(f"{file}: the costs must be {', '.join(sorted(names))}")
        values: dict[str, Any] = {name: entry["value"] for name, entry in entries.items()}
        for name in ("aggregate", "redis"):
            by_batch = tuple((int(batch), float(us)) for batch, us in values[name]["by_batch"])
            values[name] = BatchCost(by_batch, float(values[name]["call_us"]))
        assumed = content["assumed"]
        tables = assumed["tables"]
        if not assumed["waits_s"] or min(assumed["waits_s"]) <= 0:
            raise CostsError(f"{file}: waits_s must be a list of seconds above 0")
        return PageInputs(
            costs=Costs(**values),
            measured={name: entry["measured"] for name, entry in entries.items()},
            machines=Machines(**assumed["machines"]),
            prices=Prices(**assumed["prices"]),
            tables=WindowTables(
                int(tables["keywords"]), float(tables["keywords_per_post"]), parse_sizes(tables["window_sizes"])
            ),
            waits_s=tuple(sorted(map(float, assumed["waits_s"]))),
            assumptions={name: value for name, value in assumed.items() if isinstance(value, int | float)},
        )
    except OSError as exc:
        raise CostsError(f"cannot read {file}: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise CostsError(f"{file} is not a costs file: {exc}") from exc
