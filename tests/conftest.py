"""Set-up of all tests."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests import kafka_start_cache, run_report

if TYPE_CHECKING:
    from connectors.local import Endpoints

# A shell starts background jobs with SIGINT ignored, and children inherit that. Without this line, tests that interrupt
# a process would have no effect when they run in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Without compiled files, each test process takes 15 s longer to collect the tests, and each role 0.1 s to start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Tests start Kafka many times and never run it for long. Java's second compiler, which is made for programs that run
# long, would use a third of its processor time.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1"
os.environ.setdefault(kafka_start_cache.OPTIONS, JAVA_OPTIONS)

# The time that an example takes depends on the machine, so it is not checked.
hypothesis.settings.register_profile(
    "emostream", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("emostream")


# A process that replaces one that died has a number of its own: `--max-worker-restart` allows two.
MOST_TEST_PROCESSES = 10


class KafkaStarts:
    """Makes the cache for Kafka's starts while the first tests run, in the process that starts the test processes."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="emostream-tests-"))
        cache = self._folder / "kafka.aot"
        os.environ[kafka_start_cache.OPTIONS] = f"{JAVA_OPTIONS} {kafka_start_cache.reading(cache)}"
        self._writing = kafka_start_cache.begin(cache)

    def pytest_unconfigure(self) -> None:
        self._writing.terminate()  # if it still runs
        self._writing.wait()
        shutil.rmtree(self._folder)


def own_ports(worker: dict[str, Any]) -> None:
    """Give each test process ports of its own.

    Otherwise the port of a server that a test has killed may become that of another process's server before the first
    one is started again.
    """
    from connectors.local import ports

    number, most = int(worker["workerid"].removeprefix("gw")), len(ports._RANGE) // MOST_TEST_PROCESSES
    first = number % MOST_TEST_PROCESSES * most
    ports._RANGE = ports._RANGE[first : first + most]


def pytest_addoption(parser: pytest.Parser) -> None:
    run_report.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    run_report.register(config)
    if hasattr(config, "workerinput"):
        own_ports(config.workerinput)
    if (
        config.getoption("numprocesses", None)
        and not hasattr(config, "workerinput")
        and kafka_start_cache.is_possible()
    ):
        config.pluginmanager.register(KafkaStarts())


@pytest.fixture(scope="session")
def shared_endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Endpoints"]:
    """The servers of a test process, which the tests in several folders share."""
    from tests.integration.conftest import running_servers

    with running_servers(tmp_path_factory) as found:
        yield found
