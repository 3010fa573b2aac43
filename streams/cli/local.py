"""`emostream local`: starts, stops and shows Kafka, Valkey, PostgreSQL and S3 on this machine."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from connectors.errors import LocalStackError
from connectors.local import LocalStack, ServerStatus
from streams.process.signals import exit_on_signals

_POLL_S = 1.0


def _data_dir_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(".emostream"),
        show_default=True,
        help="Folder of the stack: its data, logs, ports and passwords.",
    )(command)


@click.group()
def local() -> None:
    """Run Kafka, Valkey, PostgreSQL and S3 on this machine, without Docker.

    Kafka, Valkey and PostgreSQL are the real servers, and S3 is the test server moto. They listen on 127.0.0.1 only,
    and run in the background until `emostream local down`. Their data is kept for the next `up`, except that of S3,
    which is in memory. The commands need the extra `local`: pip install 'emostream[local]'

    \b
    Example:
      emostream local up
      eval "$(emostream local env)"      # sets EMOSTREAM_KAFKA_BOOTSTRAP and so on in this shell
      emostream local status
      emostream local down
    """  # noqa: D301 - \b is click's mark for text that keeps its lines


@local.command(short_help="Start the servers, and wait until all of them answer.")
@click.option("--foreground", is_flag=True, help="Wait; Ctrl-C or SIGTERM stops all servers.")
@_data_dir_option
def up(data_dir: Path, foreground: bool) -> None:
    """Start the servers that do not run, and wait until every server answers.

    Prints what it starts, and how to use and stop the servers. If you run it again, servers that answer stay as they
    are, and servers that have crashed or hang are restarted on the same ports. The first run downloads Kafka (43 MB).

    \b
    Examples:
      emostream local up
      emostream local up --data-dir /tmp/stack --foreground
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    stack = LocalStack(data_dir, on_progress=click.echo)
    with exit_on_signals():
        begin = time.monotonic()
        stack.up()
        click.echo(f"up in {time.monotonic() - begin:.1f} s")
        option = _option(data_dir)
        click.echo(f'Next:  eval "$(emostream local env{option})" && emostream init')
        if not foreground:
            click.echo(f"Stop:  emostream local down{option}")
            return
        click.echo("Stop:  Ctrl-C")
        try:
            _watch(stack)
        finally:
            click.echo("stopping")
            stack.down()


@local.command()
@_data_dir_option
def down(data_dir: Path) -> None:
    """Stop all servers.

    The data and the ports are kept for the next `up`. Nothing happens if no server runs.

    \b
    Example:
      emostream local down
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    begin = time.monotonic()
    LocalStack(data_dir).down()
    click.echo(f"stopped in {time.monotonic() - begin:.1f} s")


@local.command(epilog="Exit code: 0 if all servers are running; 1 otherwise.")
@click.option("--json", "as_json", is_flag=True, help="Print the servers as a JSON array.")
@_data_dir_option
@click.pass_context
def status(ctx: click.Context, data_dir: Path, as_json: bool) -> None:
    """Show whether each server answers.

    Prints a row for each server: its state, process id, address, version and memory.

    \b
    Example:
      emostream local status --json
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    servers = LocalStack(data_dir).status()
    if as_json:
        click.echo(json.dumps([server.as_dict() for server in servers], indent=2))
    else:
        click.echo(f"{'SERVER':<9} {'STATE':<10} {'PID':>7}  {'ADDRESS':<16} {'VERSION':<8} {'MEMORY':>8}")
        for server in servers:
            click.echo(_row(server))
    if any(server.state != "running" for server in servers):
        ctx.exit(1)


@local.command(short_help="Print the addresses as shell variables.")
@_data_dir_option
def env(data_dir: Path) -> None:
    """Print the addresses of the servers as commands that set shell variables.

    The output has the passwords of Valkey and PostgreSQL in it.

    \b
    Example:
      eval "$(emostream local env)"
    """  # noqa: D301 - \b is click's mark for text that keeps its lines
    endpoints = LocalStack(data_dir).endpoints()
    if endpoints is None:
        raise LocalStackError(f"the stack in {data_dir} is not up; run `emostream local up{_option(data_dir)}`")
    click.echo(endpoints.as_exports(), nl=False)


def _option(data_dir: Path) -> str:
    """Returns the option that names the folder of a stack, as part of a command; nothing for the default folder."""
    return "" if data_dir == Path(".emostream") else f" --data-dir {shlex.quote(str(data_dir))}"


def _row(server: ServerStatus) -> str:
    memory = "-" if server.rss is None else f"{server.rss / 2**20:.0f} MiB"
    return (
        f"{server.name:<9} {server.state:<10} {server.pid or '-':>7}  "
        f"{server.address or '-':<16} {server.version or '-':<8} {memory:>8}"
    )


def _watch(stack: LocalStack) -> None:
    """Print when a server stops or is started again; returns when none runs."""
    alive = {server.name for server in stack.status()}
    while alive:
        time.sleep(_POLL_S)
        now = {server.name for server in stack.status() if server.state != "stopped"}
        for name in sorted(alive - now):
            click.echo(f"{name} has stopped; see {stack.data_dir / 'logs'} (`emostream local up` restarts it)")
        for name in sorted(now - alive):
            click.echo(f"{name} runs again")
        alive = now
