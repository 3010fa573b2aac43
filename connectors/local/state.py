"""The state file of the embedded stack: ports, passwords, and the process of each server."""

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
    """The last start of one server.

    Attributes:
        ports: Port numbers by name (`port`, for Kafka also `controller`). They are kept when the server is stopped.
        pid: Process id; None if the stack stopped the server.
        create_time: When the process was created, in seconds since 1970. Process ids are used again, so both identify
            the process.
        version: The server's own version; None until it has answered for the first time.
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
    """Whether the role in PostgreSQL has `postgres_password`; False in a new state, also if the state file was lost."""
    servers: dict[str, ServerRecord] = Field(default_factory=dict)

    def server(self, name: str) -> ServerRecord:
        """Returns the record of a server, an empty one if there is none yet."""
        return self.servers.setdefault(name, ServerRecord())


class StateFile:
    """Reads and atomically replaces the state file (mode 0600). To write, the caller must hold the stack's lock."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> StackState:
        """Returns the stored state; a new one if the file is missing or malformed.

        If the file is lost, only the ports are lost. The next start sets new passwords, and processes that the new
        state does not list are found by their mark (see `process.find_marked`).

        Raises:
            LocalStackError: The file cannot be read.
        """
        try:
            return StackState.model_validate_json(self.path.read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValidationError):
            return StackState()
        except OSError as exc:
            raise LocalStackError(f"cannot read {self.path}: {exc.strerror}") from exc

    def save(self, state: StackState) -> None:
        """Replace the file in one step: after a crash it has the old or the new content.

        Raises:
            LocalStackError: The directory cannot be written, or the disk is full.
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
