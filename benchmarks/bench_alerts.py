"""Measures how soon the rules of alerts notice a change, and how often they are wrong.

    python benchmarks/bench_alerts.py
    python benchmarks/bench_alerts.py --size 3600 --seed 7 --json alerts.json

The streams are synthetic, so that the time of each change is known; `benchmarks/alerts/streams.py` says how they are
made. False alarms are counted over four weeks of a hundred keywords with 2 to 500 posts an hour, in which nothing
happens. Delays are from the onset of a change to the end of the window with which an alarm is certain.

Each method sees the four weeks before: the fixed thresholds are percentiles of the keyword's own values, and the other
rules use them to tell what is usual. The constants of the rules were chosen with the seeds 11 and 111. The default seed
is another one, and the seeds of the changes follow from it.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from benchmarks.alerts.methods import METHODS, alarms
from benchmarks.alerts.scores import Detection, FalseAlarms, detection, false_alarms
from benchmarks.alerts.streams import NOISES, Kind, make, spread_volumes
from streams.window_sizes import format_duration

SEED = 2_026
CHANGES = {
    Kind.STEP_VOLUME: "volume",
    Kind.RISE_VOLUME: "volume",
    Kind.STEP_SHARE: "share",
    Kind.RISE_SHARE: "share",
}
QUIET = (Kind.HOLES, Kind.OUTAGE)
"""What happens without a change: each alarm is false."""


@dataclass(frozen=True)
class Result:
    """What a method does with a measure.

    Attributes:
        method: The name of the method.
        measure: What it measures.
        false_alarms: By kind of noise, in streams in which nothing happens; with holes and an outage too.
        detections: By kind of change and posts an hour.
    """

    method: str
    measure: str
    false_alarms: dict[str, FalseAlarms]
    detections: dict[str, dict[str, Detection]]


def measure(size_s: int, seed: int, noises: tuple[str, ...], streams: int, volumes: tuple[float, ...]) -> list[Result]:
    """Returns the results of all methods for windows of a size."""
    methods = METHODS[size_s]
    results = {
        (method.name, what): Result(method.name, what, {}, {}) for what in ("volume", "share") for method in methods
    }
    for noise in noises:
        quiet = make(Kind.NOTHING, spread_volumes(100), seed=seed, size_s=size_s, noise=NOISES[noise])
        for key, found in alarms(methods, quiet).items():
            results[key].false_alarms[noise] = false_alarms(quiet, found)
    for kind in QUIET:
        quiet = make(kind, spread_volumes(100), seed=seed, size_s=size_s, days=7)
        for key, found in alarms(methods, quiet).items():
            results[key].false_alarms[kind] = false_alarms(quiet, found)
    for kind, of in (*CHANGES.items(), (Kind.BURST, "volume"), (Kind.BURST, "share")):
        for per_hour in volumes:
            changed = make(kind, [per_hour] * streams, seed=seed + 1, size_s=size_s, days=4)
            for key, found in alarms(methods, changed, (of,)).items():
                detections = results[key].detections.setdefault(kind, {})
                detections[f"{per_hour:g}"] = detection(changed, found)
    return list(results.values())


def markdown(size_s: int, results: list[Result]) -> str:
    """Returns the results as tables: false alarms in a week of a hundred keywords, and detections with their delay."""
    lines = []
    for what in ("volume", "share"):
        mine = [result for result in results if result.measure == what]
        kinds, changes = list(mine[0].false_alarms), list(mine[0].detections)
        lines += [f"**{what}, windows of {format_duration(size_s)}**: false alarms in a week of 100 keywords", ""]
        lines += ["| rule | " + " | ".join(kinds) + " |", "|---|" + "---:|" * len(kinds)]
        lines += [
            f"| {one.method} | " + " | ".join(f"{one.false_alarms[kind].per_week_of_100:.3g}" for kind in kinds) + " |"
            for one in mine
        ]
        for change in changes:
            volumes = list(mine[0].detections[change])
            lines += ["", f"{change}: found, median delay, announcements, by posts an hour", ""]
            lines += ["| rule | " + " | ".join(volumes) + " |", "|---|" + "---:|" * len(volumes)]
            lines += [
                f"| {one.method} | " + " | ".join(_cell(one.detections[change][volume]) for volume in volumes) + " |"
                for one in mine
            ]
        lines.append("")
    return "\n".join(lines)


def _cell(found: Detection) -> str:
    if found.delay_median_s is None:
        return "0 %"
    share = f"{100 * found.detected / found.changes:.0f} %"
    delay = (
        f"{found.delay_median_s / 3_600:.3g} h"
        if found.delay_median_s >= 3_600
        else (f"{found.delay_median_s / 60:.0f} min")
    )
    return f"{share}, {delay}, {found.announcements:.2g}"


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--size", "sizes", type=click.Choice(["3600", "300"]), multiple=True, help="Size of windows in seconds.")
@click.option("--seed", type=click.IntRange(min=0), default=SEED, show_default=True, help="Seed of the streams.")
@click.option("--noise", "noises", type=click.Choice(list(NOISES)), multiple=True, help="Noise of the quiet streams.")
@click.option("--streams", type=click.IntRange(min=1), default=30, show_default=True, help="Streams of each change.")
@click.option("--volume", "volumes", type=float, multiple=True, default=(10, 50, 200, 500), help="Posts an hour.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON here.")
def main(
    *,
    sizes: tuple[str, ...],
    seed: int,
    noises: tuple[str, ...],
    streams: int,
    volumes: tuple[float, ...],
    json_file: Path | None,
) -> None:
    """Measure all methods, and print tables."""
    found = {}
    for size in sizes or ("3600", "300"):
        began = time.process_time()
        results = measure(int(size), seed, noises or tuple(NOISES), streams, volumes)
        click.echo(markdown(int(size), results))
        click.echo(f"seed {seed}; {time.process_time() - began:.0f} s of processor time\n")
        found[size] = [asdict(result) for result in results]
    if json_file is not None:
        json_file.write_text(json.dumps({"seed": seed, "sizes": found}, indent=2), "utf-8")


if __name__ == "__main__":
    main()
