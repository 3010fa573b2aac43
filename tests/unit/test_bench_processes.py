"""`emostream bench` gives its processes the right settings, stops them on signals, and counts their CPU time."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from rich.console import Console

from streams.cli import cli
from streams.cli.bench import Display
from streams.ops.bench import run as bench_run
from streams.ops.bench.meter import family_cpu_s
from streams.ops.bench.run import environment_for
from streams.ops.demo.processes import clean_environment
from streams.ops.demo.sample import sample_posts
from streams.process.signals import exit_on_signals, hold_signals
from streams.settings import load_settings
from tests.helpers import make_settings


class TestEnvironment:
    def test_settings_that_change_the_cost_are_those_of_the_user(self, tmp_path: Path) -> None:
        users = make_settings(
            window_sizes="2m:3h",
            batch_max=7,
            keep_text=False,
            topic_raw="theirs",
            kafka_bootstrap="theirs:1",
            redis_prefix="theirs",
            partitions=2,
            model_threads=8,
        )
        found = load_settings(env_file=None, environ=environment_for(users, tmp_path, processes=3))
        assert (found.window_sizes, found.batch_max, found.keep_text) == (users.window_sizes, 7, False)
        assert "theirs" not in repr(found)
        assert (found.partitions, found.worker_processes, found.model_threads) == (3, 3, 1)
        assert (found.model_uri, found.web_port, found.sink_web_port) == (str(tmp_path), 0, 0)

    def test_a_child_process_ignores_a_dotenv_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / ".env"
        file.write_text("EMOSTREAM_TOPIC_RAW=theirs\nEMOSTREAM_SHARDS=9\nEMOSTREAM_KAFKA_SECURITY_PROTOCOL=SASL_SSL\n")
        monkeypatch.setenv("EMOSTREAM_TOPIC_DEAD", "theirs")
        found = load_settings(env_file=file, environ=clean_environment({"EMOSTREAM_SHARDS": "2"}))
        assert found == make_settings(shards=2)


class TestCommand:
    @pytest.mark.parametrize(
        "arguments",
        [["--seconds", "1.9"], ["--rate", "0"], ["--rate", "-5"], ["--keywords", "0"], ["--processes", "0"]],
    )
    def test_an_impossible_option_is_refused_before_anything_starts(self, arguments: list[str]) -> None:
        result = CliRunner().invoke(cli, ["bench", *arguments])
        assert result.exit_code == 2
        assert arguments[0] in result.output

    def test_the_sample_posts_are_there(self) -> None:
        assert sample_posts().is_file()


class FakeStack:
    """Records what happens to the servers, and raises a Ctrl-C while they are stopped."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder
        self.happened: list[str] = []

    def up(self) -> None:
        self.happened.append("up")

    def stop(self, name: str) -> None:
        self.happened.append(f"stop {name}")

    def down(self) -> None:
        (self.data_dir / "log").touch()
        signal.raise_signal(signal.SIGINT)
        assert self.data_dir.exists()
        self.happened.append("down")


class TestSignals:
    def test_servers_are_stopped_and_removed_before_ctrl_c_has_its_effect(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bench_run, "LocalStack", FakeStack)
        with pytest.raises(KeyboardInterrupt), bench_run._servers(Display(Console(file=io.StringIO()))) as (stack, _):
            pass
        assert isinstance(stack, FakeStack)
        assert stack.happened == ["up", "stop s3", "down"]
        assert not stack.data_dir.exists()

    def test_a_delayed_signal_does_not_hide_an_error(self) -> None:
        def fail() -> None:
            with hold_signals():
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.raise_signal(number)
                raise ValueError("meanwhile")

        with pytest.raises(KeyboardInterrupt) as caught:
            fail()
        assert isinstance(caught.value.__context__, ValueError)

    def test_an_ignored_signal_is_not_delayed(self) -> None:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with hold_signals():
                signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        finally:
            signal.signal(signal.SIGINT, before)

    @pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
    def test_only_the_first_signal_unwinds_the_stack(self, number: signal.Signals, error: type[BaseException]) -> None:
        before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        cleaned = []

        def run() -> None:
            with exit_on_signals():
                try:
                    signal.raise_signal(number)
                finally:
                    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                        signal.raise_signal(each)
                        cleaned.append(each)

        with pytest.raises(error):
            run()
        assert len(cleaned) == 3
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before

    def test_an_ignored_signal_stays_ignored(self) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with exit_on_signals():
                signal.raise_signal(signal.SIGHUP)
        finally:
            signal.signal(signal.SIGHUP, before)


@pytest.mark.skipif(
    not hasattr(psutil.Process().cpu_times(), "iowait"), reason="only Linux adds the time of ended children"
)
def test_processor_time_of_children_that_have_ended_counts() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert family_cpu_s(parent.pid) >= 0.3
        parent.communicate(b"\n")
