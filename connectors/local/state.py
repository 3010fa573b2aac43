"""What the embedded stack remembers between commands: ports, passwords, and which process is which server."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from connectors.errors import LocalStackError


def _new_password() -> str:
    return secrets.token_urlsafe(24)


class ServerRecord(BaseModel):
    """One server as last started.

    Attributes:
        ports: Name of the port (`port`, for Kafka also `controller`) to number; kept when the server is stopped.
        pid: Process id, or None when it was stopped by us.
        create_time: When that process began, in seconds since the epoch: a pid alone may belong to another by now.
        version: The server's own version, once it has answered.
    """

    ports: dict[str, int] = Field(default_factory=dict)
    pid: int | None = None
    create_time: float | None = None
    version: str | None = None


class StackState(BaseModel):
    """The content of the state file. Passwords never appear in a repr."""

    redis_password: str = Field(default_factory=_new_password, repr=False)
    postgres_password: str = Field(default_factory=_new_password, repr=False)
    postgres_provisioned: bool = False
    """Whether the cluster's role has `postgres_password`; False again after a lost state file."""
    servers: dict[str, ServerRecord] = Field(default_factory=dict)

    def server(self, name: str) -> ServerRecord:
        """The record of a server, an empty one at first."""
        return self.servers.setdefault(name, ServerRecord())


class StateFile:
    """Reads and atomically replaces the state file, mode 0600. The caller holds the stack's lock to write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> StackState:
        """The stored state. A new one where there is none, or where what is there is not a state.

        A damaged file costs nothing but its ports: new passwords are set at the next start, and processes that it
        no longer names are found by their mark (see `process.find_marked`).

        Raises:
            LocalStackError: The file may not be read.
        """
        try:
            return StackState.model_validate_json(self.path.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return StackState()
        except OSError as exc:
            raise LocalStackError(f"cannot read {self.path}: {exc.strerror}") from exc

    def save(self, state: StackState) -> None:
        """Replace the file in one step; a crash leaves the old or the new content.

        Raises:
            LocalStackError: The directory may not be written, or the disk is full.
        """
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=".state-", dir=self.path.parent)  # mode 0600
            try:
                with os.fdopen(descriptor, "w") as file:
                    file.write(state.model_dump_json(indent=2) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(self.path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as exc:
            raise LocalStackError(f"cannot write {self.path}: {exc.strerror}") from exc
