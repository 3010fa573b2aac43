"""The processes of a supervisor start, stop and end together.

The supervisor and the lifeline are real, the processes are small scripts; tests/integration has real workers.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from streams.process.supervisor import Supervisor, start

WAIT_S = 120.0


PARENT = """
    import asyncio, json, logging, os, sys
    from streams.process.restarts import RestartPolicy
    from streams.process.supervisor import Supervisor

    logging.basicConfig(level="INFO", format="%(message)s")
    commands, stop_s, policy = json.loads(sys.argv[1]), float(sys.argv[2]), json.loads(sys.argv[3])
    restarts = RestartPolicy(**policy) if policy else None
    supervisor = Supervisor(commands, env=os.environ, stop_s=stop_s, note="all started", restarts=restarts)
    sys.exit(asyncio.run(supervisor.run()))
"""

# Arguments: the file to note events in, the behaviour, and the lifeline.
CHILD = """
    import os, signal, sys, time
    from pathlib import Path
    from streams.process.lifeline import Lifeline

    notes, how = Path(sys.argv[1]), sys.argv[2]
    if how == "broken":
        sys.exit("cannot import")

    def note(line):
        with notes.open("a") as file:
            file.write(line + "\\n")

    def stop(number, frame):
        note(signal.Signals(number).name)
        if how != "deaf":
            sys.exit(5 if how == "fails to stop" else 0)

    if how != "slow to start":
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
    fd = int(sys.argv[sys.argv.index("--lifeline") + 1])
    if how == "closes its lifeline":
        note(f"pid {os.getpid()}")
        os.read(fd, 64)
        os.close(fd)
        note("go")
        time.sleep(600)
    lifeline = Lifeline(fd)
    note(f"pid {os.getpid()}")
    lifeline.wait_for_go()
    note("go")
    if how == "cannot start":
        sys.exit("emostream: error: no such server")
    if how == "slow to start":
        time.sleep(600)
    lifeline.report_ready()
    if how == "runs" and "--restarts" in sys.argv:
        note("restart " + sys.argv[sys.argv.index("--restarts") + 1])
    if how == "ends":
        sys.exit(0)
    while True:
        time.sleep(600)
"""


class Family:
    """A supervisor and its processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str]
        (folder / "parent.py").write_text(textwrap.dedent(PARENT))
        (folder / "child.py").write_text(textwrap.dedent(CHILD))

    def start(self, *behaviours: str, stop_s: float = WAIT_S, policy: dict[str, float] | None = None) -> None:
        child = [sys.executable, str(self.folder / "child.py")]
        commands = {
            f"worker-{number}": [*child, str(self.folder / f"{number}.notes"), how]
            for number, how in enumerate(behaviours)
        }
        self.process = subprocess.Popen(
            [sys.executable, str(self.folder / "parent.py"), json.dumps(commands), str(stop_s), json.dumps(policy)],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def notes(self, number: int) -> list[str]:
        path = self.folder / f"{number}.notes"
        return path.read_text().splitlines() if path.exists() else []

    def pid(self, number: int) -> int:
        """Wait until a process has started; returns its pid."""
        wait_until(lambda: self.notes(number) != [], f"process {number} does not start")
        return int(self.notes(number)[0].removeprefix("pid "))

    def wait_begun(self, number: int) -> int:
        """Wait until a process was let begin; returns its pid."""
        wait_until(lambda: "go" in self.notes(number), f"process {number} does not begin")
        return self.pid(number)

    def end(self) -> tuple[int, list[str]]:
        """Wait until the supervisor ends and no process is left; returns its exit code and the lines of stderr."""
        _, text = self.process.communicate(timeout=WAIT_S)
        pids = [int(note.removeprefix("pid ")) for n in range(3) for note in self.notes(n) if note.startswith("pid ")]
        assert all(map(is_gone, pids))
        return self.process.returncode, text.splitlines()


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    made = Family(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.kill()
    made.process.wait()
    if made.process.stderr is not None:
        made.process.stderr.close()


class TestSupervisor:
    @pytest.mark.parametrize("to_the_group", [False, True], ids=["SIGTERM", "Ctrl-C"])
    def test_a_signal_stops_all_and_reaches_each_once(self, family: Family, to_the_group: bool) -> None:
        """Ctrl-C goes to the process group of the terminal, to which the processes do not belong."""
        family.start("runs", "runs", "runs")
        pids = [family.wait_begun(number) for number in range(3)]
        if to_the_group:
            os.killpg(family.process.pid, signal.SIGINT)
        else:
            family.process.terminate()
        code, lines = family.end()
        assert code == 0
        assert lines == ["all started: " + ", ".join(f"worker-{n} (pid {pid})" for n, pid in enumerate(pids))]
        assert [family.notes(number)[1:] for number in range(3)] == [["go", "SIGTERM"]] * 3

    def test_the_others_wait_until_the_first_is_ready(self, family: Family) -> None:
        family.start("slow to start", "runs")
        family.wait_begun(0)
        family.pid(1)
        family.process.terminate()
        assert family.end() == (0, [])  # the first one had no handler yet
        assert family.notes(1)[1:] == ["SIGTERM"]

    def test_a_first_process_that_closes_its_lifeline_and_runs_on_is_stopped(self, family: Family) -> None:
        family.start("closes its lifeline", "runs")
        family.wait_begun(0)
        family.pid(1)
        family.process.terminate()
        assert family.end() == (0, [])
        assert [family.notes(number)[1:] for number in range(2)] == [["go", "SIGTERM"], ["SIGTERM"]]

    def test_an_error_of_the_first_process_is_printed_once(self, family: Family) -> None:
        family.start("cannot start", "cannot start")
        assert family.end() == (1, ["emostream: error: no such server"])
        assert "go" not in family.notes(1)

    def test_a_first_process_that_ends_before_it_reads_its_lifeline_ends_all(self, family: Family) -> None:
        family.start("broken", "runs")
        assert family.end() == (1, ["cannot import"])

    def test_a_process_that_is_killed_while_it_waits_ends_all(self, family: Family) -> None:
        family.start("slow to start", "runs")
        family.wait_begun(0)
        pid = family.pid(1)
        os.kill(pid, signal.SIGKILL)
        assert family.end() == (137, [f"worker-1 (pid {pid}) was killed by SIGKILL; stopping the others"])

    def test_a_process_that_is_killed_ends_all(self, family: Family) -> None:
        family.start("runs", "runs", "runs")
        pids = [family.wait_begun(number) for number in range(3)]
        os.kill(pids[1], signal.SIGKILL)
        code, lines = family.end()
        assert code == 137
        assert lines[1:] == [f"worker-1 (pid {pids[1]}) was killed by SIGKILL; stopping the others"]
        assert [family.notes(number)[1:] for number in (0, 2)] == [["go", "SIGTERM"]] * 2

    def test_a_first_process_that_is_killed_while_it_starts_is_logged(self, family: Family) -> None:
        family.start("slow to start", "runs")
        pid = family.wait_begun(0)
        os.kill(pid, signal.SIGKILL)
        assert family.end() == (137, [f"worker-0 (pid {pid}) was killed by SIGKILL; stopping the others"])

    def test_a_process_that_ends_by_itself_ends_all_with_exit_code_1(self, family: Family) -> None:
        family.start("runs", "ends", "runs")
        code, lines = family.end()
        assert code == 1
        assert lines[1].endswith("ended with exit code 0; stopping the others")
        assert family.notes(0)[1:] == ["go", "SIGTERM"]

    def test_a_process_that_fails_while_it_stops_makes_exit_code_1(self, family: Family) -> None:
        family.start("runs", "fails to stop")
        pid = family.wait_begun(1)
        family.process.terminate()
        code, lines = family.end()
        assert code == 1
        assert lines[1:] == [f"worker-1 (pid {pid}) ended with exit code 5 while all were being stopped"]

    async def test_a_process_that_ended_before_the_stop_was_not_stopped_cleanly(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        supervisor = Supervisor({}, env=os.environ, stop_s=WAIT_S, note="")
        for name, code in (("worker-0", "import time; time.sleep(600)"), ("worker-1", "raise SystemExit(5)")):
            supervisor._children.append(await start(name, [sys.executable, "-c", code], os.environ))
        runs, ends = supervisor._children
        await ends.ended
        try:
            assert not await supervisor._stop_all(None)
        finally:
            for child in (runs, ends):
                child.lifeline.close()
        assert runs.ended.result() == -signal.SIGTERM
        assert caplog.messages == [f"{ends} ended with exit code 5 before it was told to stop"]

    def test_a_process_that_does_not_stop_in_time_is_killed(self, family: Family) -> None:
        family.start("deaf", "deaf", stop_s=1)
        pids = [family.wait_begun(number) for number in range(2)]
        family.process.terminate()
        code, lines = family.end()
        assert code == 1
        assert lines[1:] == [f"killed worker-{n} (pid {pid}): it did not stop in 1 s" for n, pid in enumerate(pids)]

    def test_a_second_signal_kills_all(self, family: Family) -> None:
        family.start("deaf", "deaf", stop_s=600)
        pids = [family.wait_begun(number) for number in range(2)]
        family.process.terminate()
        both = [["go", "SIGTERM"]] * 2
        wait_until(lambda: [family.notes(number)[1:] for number in range(2)] == both, "the signal is not passed on")
        family.process.send_signal(signal.SIGINT)
        code, lines = family.end()
        assert code == 130
        assert lines[1:] == [f"killed worker-{n} (pid {pid}): at the second signal" for n, pid in enumerate(pids)]

    def test_no_process_outlives_a_supervisor_that_is_killed(self, family: Family) -> None:
        family.start("runs", "runs")
        pids = [family.wait_begun(0), family.wait_begun(1)]
        family.process.kill()
        wait_until(lambda: all(map(is_gone, pids)), "a process is left")
        assert [family.notes(number)[1:] for number in range(2)] == [["go", "SIGTERM"]] * 2


class TestSupervisorThatRestarts:
    def test_a_process_that_is_killed_is_started_again_and_the_others_run_on(self, family: Family) -> None:
        family.start("runs", "runs", policy={"first_s": 0.01})
        pids = [family.wait_begun(number) for number in range(2)]
        os.kill(pids[1], signal.SIGKILL)
        wait_until(lambda: "restart 1" in family.notes(1), "the process is not started again")
        family.process.terminate()
        code, lines = family.end()
        assert code == 0
        again = int(family.notes(1)[2].removeprefix("pid "))
        assert lines[1:] == [
            f"worker-1 (pid {pids[1]}) was killed by SIGKILL; it is started again in 0.01 s (restart 1)",
            f"started worker-1 (pid {again})",
        ]
        assert family.notes(0)[1:] == ["go", "SIGTERM"]
        assert family.notes(1)[3:] == ["go", "restart 1", "SIGTERM"]

    def test_the_first_process_is_started_again_too(self, family: Family) -> None:
        family.start("runs", "runs", policy={"first_s": 0.01})
        pids = [family.wait_begun(number) for number in range(2)]
        os.kill(pids[0], signal.SIGKILL)
        wait_until(lambda: "restart 1" in family.notes(0), "the process is not started again")
        family.process.terminate()
        assert family.end()[0] == 0
        assert family.notes(1)[1:] == ["go", "SIGTERM"]

    def test_a_crash_loop_ends_all(self, family: Family) -> None:
        family.start("runs", "cannot start", policy={"first_s": 0.01, "most": 2})
        code, lines = family.end()
        assert code == 1
        ends = [line for line in lines if line.startswith("worker-1") and "ended" in line]
        assert [line.partition(") ")[2] for line in ends] == [
            "ended with exit code 1; it is started again in 0.01 s (restart 1)",
            "ended with exit code 1; it is started again in 0.02 s (restart 2)",
            "ended with exit code 1, again after 2 restarts; stopping the others",
        ]
        assert family.notes(0)[1:] == ["go", "SIGTERM"]

    def test_an_error_of_the_first_process_ends_all_without_a_restart(self, family: Family) -> None:
        family.start("cannot start", "runs", policy={"first_s": 0.01})
        assert family.end() == (1, ["emostream: error: no such server"])

    def test_a_signal_ends_the_pause_before_a_restart(self, family: Family) -> None:
        family.start("runs", "runs", policy={"first_s": 3_600, "longest_s": 3_600})
        pids = [family.wait_begun(number) for number in range(2)]
        os.kill(pids[1], signal.SIGKILL)
        assert family.process.stderr is not None
        lines = [family.process.stderr.readline() for _ in range(2)]
        assert lines[1].endswith("was killed by SIGKILL; it is started again in 3600 s (restart 1)\n")
        family.process.terminate()
        assert family.end() == (0, [])
