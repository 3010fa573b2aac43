"""Measures the live streams with many WebSocket clients, of which some never read.

    python benchmarks/bench_live.py
    python benchmarks/bench_live.py --seconds 120 --clients 1000 --stuck 100 --json live.json

It starts its own servers and `emostream api`, and writes changed windows to Kafka at a constant rate. The clients
follow different keywords. In the first half of the time all of them read. Then the stuck clients connect, which never
read. A window carries the time at which it was written, so a client knows how late it came. That includes the interval
at which the service sends updates.

The clients run in one process, and need a file descriptor each; so does the service. The limit of open files must be
above the number of clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import resource
import socket
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

import click
import httpx
import psutil
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from connectors.kafka.producer import ConfirmedProducer, Outgoing
from connectors.local import LocalStack
from streams.connections import kafka_config
from streams.ops.demo.processes import Role, clean_environment
from streams.ops.init import init_model, init_postgres, init_topics
from streams.settings import Settings, load_settings
from streams.windows.codec import to_window
from streams.windows.tumbling import WindowKey

KEYWORDS = 50
RECEIVE_BUFFER_BYTES = 4_096
"""Bytes that the system keeps for a stuck client, so that the service soon has to keep the rest."""


@dataclass(frozen=True)
class Phase:
    """What was measured in one half of the time.

    Attributes:
        clients: Clients that read.
        stuck: Clients that do not.
        updates: Windows that the readers received.
        p50_ms: Median of the delay from writing a window to receiving it.
        p99_ms: 99th percentile of it.
        rss_mb: Resident memory of the service, every few seconds.
        cpu_share: Share of one core that the service used.
        left: Clients that are connected at the end.
    """

    clients: int
    stuck: int
    updates: int
    p50_ms: float
    p99_ms: float
    rss_mb: list[float]
    cpu_share: float
    left: int


@click.command(help=__doc__)
@click.option("--clients", default=1_000, show_default=True, help="WebSocket clients, the stuck ones included.")
@click.option("--stuck", default=100, show_default=True, help="Clients that never read.")
@click.option("--seconds", default=600.0, show_default=True, help="Seconds of both halves together.")
@click.option("--rate", default=100.0, show_default=True, help="Changed windows a second.")
@click.option("--interval", default=2.0, show_default=True, help="EMOSTREAM_API_LIVE_INTERVAL_S.")
@click.option("--compress", is_flag=True, help="Let the clients ask for compression (permessage-deflate).")
@click.option("--json", "path", type=click.Path(path_type=Path), help="File for the measurements.")
def main(
    *, clients: int, stuck: int, seconds: float, rate: float, interval: float, compress: bool, path: Path | None
) -> None:
    """Run the benchmark."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < clients + 200:
        raise click.ClickException(f"{clients} clients need more open files than the limit of {most} allows")
    with tempfile.TemporaryDirectory() as folder:
        stack = LocalStack(Path(folder) / "stack")
        try:
            env = {
                **stack.up().as_env(),
                "EMOSTREAM_MODEL_CACHE": f"{folder}/models",
                "EMOSTREAM_API_PORT": str(_free_port()),
                "EMOSTREAM_API_LIVE_INTERVAL_S": str(interval),
            }
            settings = load_settings(env_file=None, environ=env)
            for prepare in init_model, init_topics, init_postgres:
                prepare(settings, lambda _: None)
            with Role("api", ["api"], env=clean_environment(env), log=Path(folder) / "api.log") as service:
                phases = _measure(
                    settings, service, clients=clients, stuck=stuck, seconds=seconds, rate=rate, compress=compress
                )
                print(service.log.read_text("utf-8"))
        finally:
            stack.down()
    for phase in phases:
        print(
            f"{phase.clients} readers, {phase.stuck} stuck: {phase.updates:,} windows, "
            f"delay p50 {phase.p50_ms:.0f} ms, p99 {phase.p99_ms:.0f} ms; "
            f"memory {min(phase.rss_mb):.0f} to {max(phase.rss_mb):.0f} MB, at the end "
            f"{phase.rss_mb[-1]:.0f} MB; {phase.cpu_share:.0%} of a core; {phase.left} clients left"
        )
    if path is not None:
        path.write_text(json.dumps([asdict(phase) for phase in phases], indent=1))


def _measure(
    settings: Settings, service: Role, *, clients: int, stuck: int, seconds: float, rate: float, compress: bool
) -> list[Phase]:
    address = f"http://127.0.0.1:{settings.api_port}"
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    readers = context.Process(target=_run_readers, args=(address, clients - stuck, compress, theirs))
    stop = context.Event()
    writer = context.Process(target=_write, args=(settings, rate, stop))
    _wait_until_ready(service, address)
    writer.start()
    readers.start()
    try:
        ours.recv()  # all are connected
        without = _phase(address, service, ours, clients=clients - stuck, stuck=0, seconds=seconds / 2)
        with contextlib.ExitStack() as stack:
            for number in range(stuck):
                stack.enter_context(contextlib.closing(_stuck_client(address, number)))
            return [without, _phase(address, service, ours, clients=clients - stuck, stuck=stuck, seconds=seconds / 2)]
    finally:
        stop.set()
        readers.terminate()
        readers.join()
        writer.join()


def _phase(address: str, service: Role, readers: Connection, *, clients: int, stuck: int, seconds: float) -> Phase:
    process = psutil.Process(service.pid)
    readers.send("begin")
    begin, begun = time.monotonic(), sum(process.cpu_times()[:2])
    rss = []
    while (left := begin + seconds - time.monotonic()) > 0:
        time.sleep(min(left, max(1.0, seconds / 30)))
        service.check()
        rss.append(round(process.memory_info().rss / 2**20, 1))
    cpu = (sum(process.cpu_times()[:2]) - begun) / (time.monotonic() - begin)
    readers.send("end")
    updates, p50, p99 = readers.recv()
    metrics = httpx.get(f"{address}/metrics").text
    left = int(float(metrics.partition("\nemostream_live_clients ")[2].partition("\n")[0]))
    return Phase(clients, stuck, updates, p50, p99, rss, cpu, left)


def _run_readers(address: str, clients: int, compress: bool, control: Connection) -> None:
    """Run the clients that read, in a process of their own."""
    asyncio.run(_read_all(address, clients, compress=compress, control=control))


async def _read_all(address: str, clients: int, *, compress: bool, control: Connection) -> None:
    delays: list[float] = []
    connected = 0
    everybody = asyncio.Event()

    async def read(number: int) -> None:
        nonlocal connected
        url = f"{address.replace('http', 'ws', 1)}/v1/live?keyword=k{number % KEYWORDS}"
        async with connect(
            url, open_timeout=120, ping_timeout=120, compression="deflate" if compress else None, max_size=None
        ) as one:
            connected += 1
            if connected == clients:
                everybody.set()
            async for message in one:
                now = time.time()
                windows = json.loads(message)["data"].get("windows", [])
                delays.extend(now - window["revision"] / 1e6 for window in windows)

    tasks = []
    for number in range(clients):
        tasks.append(asyncio.create_task(read(number)))
        await asyncio.sleep(0.002)
    await asyncio.wait([asyncio.create_task(everybody.wait()), *tasks], return_when=asyncio.FIRST_COMPLETED)
    control.send("connected")
    while True:
        await asyncio.to_thread(control.recv)
        delays.clear()
        await asyncio.to_thread(control.recv)
        for task in tasks:
            if task.done():
                with contextlib.suppress(WebSocketException, OSError):
                    task.result()
                print("a client that reads was disconnected")
        control.send((len(delays), _percentile(delays, 50), _percentile(delays, 99)))


def _percentile(delays: Sequence[float], percent: int) -> float:
    """Returns a percentile in milliseconds."""
    if len(delays) < 2:
        return float("nan")
    return statistics.quantiles(delays, n=100)[percent - 1] * 1_000


def _write(settings: Settings, rate: float, stop: multiprocessing.Event) -> None:  # type: ignore[valid-type]
    """Write changed windows at a constant rate; the revision of each is the time in microseconds."""
    producer = ConfirmedProducer(kafka_config(settings), client_id="bench")
    labels = {f"l:label{number}": "7" for number in range(8)}
    start = time.time_ns() // 60_000_000_000 * 60_000
    number = 0
    due = time.monotonic()
    while not stop.is_set():  # type: ignore[attr-defined]
        due += 0.1
        records = []
        for _ in range(max(1, round(rate * 0.1))):
            key = WindowKey(f"k{number % KEYWORDS}", 60, start)
            window = to_window(key, {"n": "56", **labels, "rev": str(time.time_ns() // 1_000)})
            records.append(Outgoing(settings.topic_windows, window.to_json(), window.key.encode(), 0))
            number += 1
        producer.submit(records).result(60)
        time.sleep(max(0.0, due - time.monotonic()))
    producer.close()


def _stuck_client(address: str, number: int) -> socket.socket:
    """Returns a socket that has asked for the stream, and reads nothing."""
    at = urlsplit(address)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    client.connect((at.hostname, at.port))
    client.sendall(
        f"GET /v1/live?keyword=k{number % KEYWORDS} HTTP/1.1\r\nHost: {at.netloc}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    return client


def _wait_until_ready(service: Role, address: str) -> None:
    at = urlsplit(address)
    while True:
        service.check()
        with contextlib.suppress(OSError), socket.create_connection((at.hostname or "", at.port or 0), timeout=1):
            return
        time.sleep(0.2)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


if __name__ == "__main__":
    main()
