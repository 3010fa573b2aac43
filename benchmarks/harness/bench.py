"""What is measured of a system: its speed on posts that lie ready, and its latency at a fixed rate."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.harness.checks import Check, Result, check
from benchmarks.harness.pacing import Schedule, posts_for
from benchmarks.harness.posts import Raw, Supply
from benchmarks.harness.report import GROUPS, Latency, Throughput
from benchmarks.harness.stats import percentiles
from benchmarks.harness.systems import BARE, Installed
from benchmarks.harness.trial import Setup, TrialError
from benchmarks.harness.waiting import until
from streams.ops.bench.meter import Meter
from streams.ops.bench.steady import WARM_SHARE, steady

WARM_POSTS = 64
LEAD_S = 0.5
CALIBRATION_POSTS = 5_000
BARE_LIMIT_S = 1_800.0
"""A bare loop that takes longer has too many posts, or hangs."""


@dataclass
class Bench:
    """Measures.

    Attributes:
        setup: what all runs share.
        supply: the posts.
    """

    setup: Setup
    supply: Supply
    _loaded: set[int] = field(default_factory=set)

    def calibrate(self, bare: Installed) -> float:
        """Ask the bare loop about every text, before anything is measured: the labels that all must give.

        Returns:
            Its rate meanwhile, in posts a second.

        Raises:
            TrialError, ProgramError: it gave no answers.
            ValueError: it gave them all at once.
        """
        texts = len(self.supply.texts)
        results, _ = self._run_bare(bare, self.supply.first(max(texts, CALIBRATION_POSTS)))
        rate = steady([result.at for result in results]).per_second
        self.supply.learn([result.label for result in results[:texts]], rate)
        return rate

    def throughput(self, installed: Installed, number: int, count: int) -> Throughput:
        """Let a system work off posts that lie ready.

        Args:
            installed: the system.
            number: of the round.
            count: of posts for the fastest systems; slower ones are given the first of them.

        Raises:
            TrialError, ProgramError, BrokerError, ConnectorError: it gave no measurement.
            ValueError: its results came in one burst.
        """
        system = installed.system
        posts = self.supply.first(max(WARM_POSTS, count // system.divisor))
        done = None
        if system is BARE:
            results, meter = self._run_bare(installed, posts)
        else:
            with self.setup.trial(installed, raw=f"posts-{len(posts)}") as trial:
                if len(posts) not in self._loaded:
                    self.setup.broker.send(trial.settings.topic_raw, posts)
                    self._loaded.add(len(posts))
                with trial.start() as program, self.setup.meter(program) as meter:
                    trial.wait(program, len(posts))
                    done = trial.finished(program, len(posts))
                results = self.setup.broker.read(trial.settings.topic_classified)
        times = [result.at for result in results]
        # Windows are part of the work: what they take after the last result counts, however little it is.
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

    def latency(self, installed: Installed, share: float, maximum: float, seconds: float) -> Latency:
        """Send a system posts at a share of its maximum rate.

        Raises:
            TrialError, ProgramError, BrokerError, ConnectorError: it gave no measurement.
        """
        rate = share * maximum
        posts = self.supply.first(posts_for(rate, seconds))
        setup = self.setup
        with setup.trial(installed, raw=None) as trial:
            raw = trial.settings.topic_raw
            with trial.start() as program, setup.meter(program) as meter:
                # Before it has answered some, it is still starting.
                setup.broker.send(raw, self.supply.warm_up(WARM_POSTS))
                trial.wait(program, WARM_POSTS)
                schedule = Schedule(time.time() + LEAD_S, rate, len(posts))
                late = setup.broker.send_paced(raw, posts, schedule, program.check)
                trial.wait(program, WARM_POSTS + len(posts))
                end = time.time()
            results = [r for r in setup.broker.read(trial.settings.topic_classified) if not r.id.startswith("warm")]
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

    def _run_bare(self, installed: Installed, posts: Sequence[Raw]) -> tuple[list[Result], Meter]:
        folder = self.setup.new_folder(installed)
        given, answers = folder / "posts.jsonl", folder / "results.jsonl"
        given.write_bytes(b"\n".join(post.value for post in posts))
        task = self.setup.task(installed.system, "none", "none", "none")
        with (
            self.setup.start(installed, [str(given), str(answers)], task, folder, ours={}) as program,
            self.setup.meter(program) as meter,
        ):
            if not until(answers.exists, BARE_LIMIT_S, program.check):
                raise TrialError(f"{len(posts):,} posts take longer than {BARE_LIMIT_S / 60:.0f} minutes; give fewer")
        results = [Result(*json.loads(line)) for line in answers.read_text("utf-8").splitlines()]
        # They are large, and the same every time.
        given.unlink()
        answers.unlink()
        return results, meter

    def _check(self, installed: Installed, results: Sequence[Result], posts: Sequence[Raw]) -> Check:
        labels = None if installed.system.own_model else self.supply.labels(len(posts))
        return check(results, {post.id for post in posts}, labels)
