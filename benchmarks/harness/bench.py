"""Measures one system: its speed on a backlog of posts, and its latency at a fixed rate."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.harness.checks import Check, Result, check
from benchmarks.harness.pacing import Schedule, post_count
from benchmarks.harness.posts import RawPost, Supply
from benchmarks.harness.report import GROUPS, Latency, Throughput
from benchmarks.harness.stats import percentiles
from benchmarks.harness.systems import BARE, InstalledSystem
from benchmarks.harness.trial import RunError, Setup
from benchmarks.harness.waiting import wait_until
from streams.ops.bench.meter import Meter
from streams.ops.bench.steady import WARM_SHARE, steady

WARM_POSTS = 64
"""Posts that a system answers before its latency is measured. Until then it may still be starting."""

LEAD_S = 0.5
"""Seconds between the end of the warm-up and the first measured post."""

CALIBRATION_POSTS = 5_000
"""Posts of the calibration at least, so that its rate is steady."""

BARE_LIMIT_S = 1_800.0
"""Seconds after which a run of the bare loop fails: it has too many posts, or it hangs."""


@dataclass
class Bench:
    """Runs systems and measures them."""

    setup: Setup
    supply: Supply
    _loaded: set[int] = field(default_factory=set)

    def calibrate(self, bare: InstalledSystem) -> float:
        """Classify every text once with the bare loop. Its labels are what every system must answer.

        Returns:
            The bare loop's rate in posts a second.

        Raises:
            RunError, ProgramError: The bare loop did not finish.
            ValueError: All results came in one burst, so there is no rate.
        """
        texts = len(self.supply.texts)
        results, _ = self._run_bare(bare, self.supply.first(max(texts, CALIBRATION_POSTS)))
        rate = steady([result.at for result in results]).per_second
        self.supply.calibrate([result.label for result in results[:texts]], rate)
        return rate

    def throughput(self, installed: InstalledSystem, number: int, count: int) -> Throughput:
        """Measure the speed of a system on a backlog of posts.

        Args:
            installed: The system.
            number: The number of the round.
            count: Posts for a system with divisor 1. Other systems get the first `count // divisor` of these posts.

        Raises:
            RunError, ProgramError, BenchmarkError, ConnectorError: The run failed.
            ValueError: All results came in one burst, so there is no rate.
        """
        system = installed.system
        posts = self.supply.first(max(WARM_POSTS, count // system.divisor))
        done = None
        if system is BARE:
            results, meter = self._run_bare(installed, posts)
        else:
            with self.setup.run(installed, raw=f"posts-{len(posts)}") as run:
                if len(posts) not in self._loaded:
                    self.setup.kafka.send(run.settings.topic_raw, posts)
                    self._loaded.add(len(posts))
                with run.start() as program, self.setup.meter(program) as meter:
                    run.wait_for_results(program, len(posts))
                    done = run.wait_for_windows(program, len(posts))
                results = self.setup.kafka.read(run.settings.topic_classified)
        times = [result.at for result in results]
        # Windows are part of the work, so the clock runs until they hold every post.
        part = steady(times, done)
        return Throughput(
            round=number,
            posts=len(results),
            measured=part.posts,
            seconds=part.end - part.begin,
            per_second=part.per_second,
            cpu_s={group: 1_000 * meter.cpu_s(group, part.begin, part.end) / part.posts for group in GROUPS},
            peak_mb=meter.peak_bytes("system") / 1e6,
            lag_s=None if done is None else max(0.0, done - max(times)),
            check=self._check(installed, results, posts),
        )

    def latency(self, installed: InstalledSystem, share: float, maximum: float, seconds: float) -> Latency:
        """Measure the latency of a system while posts come at a share of its maximum rate.

        Args:
            installed: The system.
            share: Share of `maximum`, between 0 and 1.
            maximum: The rate that the system has shown on a backlog, in posts a second.
            seconds: How long posts are sent.

        Raises:
            RunError, ProgramError, BenchmarkError, ConnectorError: The run failed.
        """
        rate = share * maximum
        posts = self.supply.first(post_count(rate, seconds))
        setup = self.setup
        with setup.run(installed, raw=None) as run:
            raw = run.settings.topic_raw
            with run.start() as program, setup.meter(program) as meter:
                setup.kafka.send(raw, self.supply.warm_up_posts(WARM_POSTS))
                run.wait_for_results(program, WARM_POSTS)
                schedule = Schedule(time.time() + LEAD_S, rate, len(posts))
                late = setup.kafka.send_paced(raw, posts, schedule, program.check)
                run.wait_for_results(program, WARM_POSTS + len(posts))
                end = time.time()
            results = [r for r in setup.kafka.read(run.settings.topic_classified) if not r.id.startswith("warm")]
        due = {post.id: schedule.at(number) for number, post in enumerate(posts)}
        first = int(len(posts) * WARM_SHARE)
        counted = {post.id for post in posts[first:]}
        taken = [1_000 * max(0.0, result.at - due[result.id]) for result in results if result.id in counted]
        p50, p95, p99 = percentiles(taken)
        return Latency(
            share=share,
            rate=rate,
            posts=len(taken),
            p50=p50,
            p95=p95,
            p99=p99,
            late_ms=1_000 * late,
            cpu_s={group: 1_000 * meter.cpu_s(group, schedule.at(first), end) / len(taken) for group in GROUPS},
            check=self._check(installed, results, posts),
        )

    def _run_bare(self, installed: InstalledSystem, posts: Sequence[RawPost]) -> tuple[list[Result], Meter]:
        folder = self.setup.new_folder(installed)
        posts_file, results_file = folder / "posts.jsonl", folder / "results.jsonl"
        posts_file.write_bytes(b"\n".join(post.value for post in posts))
        task = self.setup.task(installed.system, "none", "none", "none")
        with (
            self.setup.start(
                installed, [str(posts_file), str(results_file)], task, folder, emostream_env={}
            ) as program,
            self.setup.meter(program) as meter,
        ):
            if not wait_until(results_file.exists, BARE_LIMIT_S, program.check):
                raise RunError(
                    f"the bare loop did not finish {len(posts):,} posts in {BARE_LIMIT_S / 60:.0f} minutes; use fewer"
                )
        results = [Result(*json.loads(line)) for line in results_file.read_text("utf-8").splitlines()]
        # The files are large, and the same in every run.
        posts_file.unlink()
        results_file.unlink()
        return results, meter

    def _check(self, installed: InstalledSystem, results: Sequence[Result], posts: Sequence[RawPost]) -> Check:
        labels = None if installed.system.own_model else self.supply.labels(len(posts))
        return check(results, {post.id for post in posts}, labels)
