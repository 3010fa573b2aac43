"""Reads the file of costs that docs/scaling.md is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.scaling_model import Costs, Machines, Prices


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
        more: the other assumptions, by name.
    """

    costs: Costs
    measured: Mapping[str, str]
    machines: Machines
    prices: Prices
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
        values["redis"] = tuple((int(batch), float(us)) for batch, us in values["redis"])
        assumed = content["assumed"]
        return Given(
            costs=Costs(**values),
            measured={name: entry["measured"] for name, entry in entries.items()},
            machines=Machines(**assumed["machines"]),
            prices=Prices(**assumed["prices"]),
            more={name: value for name, value in assumed.items() if not isinstance(value, dict)},
        )
    except OSError as exc:
        raise CostsError(f"cannot read {file}: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise CostsError(f"{file} is not a file of costs: {exc}") from exc
