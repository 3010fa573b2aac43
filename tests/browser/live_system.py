"""The whole application with posts that keep coming: a worker, a sink, and the HTTP service with its page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from confluent_kafka import Producer

from streams.ops.demo.processes import Role, clean_environment
from streams.ops.init import init_postgres, init_topics
from streams.settings import Settings, load_settings
from tests.integration.api_support import address_of
from tests.integration.support import KEYWORDS, TEXTS, free_port, post

RATE = 10.0
"""Posts a second."""

STRANGE_TEXTS = (
    "أشعر بسعادة كبيرة اليوم (really!)",  # from right to left, in a language that the model does not read
    "i love this 🎉👩‍👩‍👧 so much <b>bold</b> &amp; <script>alert(1)</script>",
    "i am so sad about this veryveryveryverylongwordwithoutanyspaceinitthatmustnotmakethepagewiderthanitis",
)
"""Texts that a page could show wrongly."""


@dataclass
class LiveSystem:
    """The processes of the application.

    Attributes:
        address: of the HTTP service, without a slash at the end.
        settings: of all processes.
        service: the HTTP service.
        worker: the worker.
        sink: the sink.
        environment: the settings of all processes, as environment variables.
    """

    address: str
    settings: Settings
    service: Role
    worker: Role
    sink: Role
    environment: dict[str, str] = field(repr=False)
    _folder: Path = field(repr=False)

    def produce(self, values: Sequence[bytes]) -> None:
        """Write raw posts, and wait until Kafka has them."""
        producer = Producer({"bootstrap.servers": self.settings.kafka_bootstrap, "linger.ms": 0})
        for value in values:
            producer.produce(self.settings.topic_raw, value)
        assert producer.flush(120) == 0

    def restart_service(self) -> None:
        """Kill the HTTP service, and start it again at the same address."""
        self.service.kill()
        port = self.address.rpartition(":")[2]
        environment = clean_environment({**self.environment, "EMOSTREAM_API_PORT": port})
        self.service = Role(
            "api-again", ["api"], env=environment, log=self._folder / f"api-{len(self.service.name)}.log"
        )
        assert address_of(self.service) == self.address


class SteadyPosts(threading.Thread):
    """Posts that come evenly until they are stopped. A context manager."""

    def __init__(self, settings: Settings, rate: float, value: Callable[[int], bytes]) -> None:
        super().__init__(name="steady-posts", daemon=True)
        self._settings = settings
        self._rate = rate
        self._value = value
        self._told_to_stop = threading.Event()

    def __enter__(self) -> SteadyPosts:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._told_to_stop.set()
        self.join()

    def run(self) -> None:
        producer = Producer({"bootstrap.servers": self._settings.kafka_bootstrap, "linger.ms": 0})
        for number in count():
            producer.produce(self._settings.topic_raw, self._value(number), str(number).encode())
            producer.poll(0)
            if self._told_to_stop.wait(1 / self._rate):
                break
        producer.flush(60)


def usual_post(number: int) -> bytes:
    """Returns a post of now, with one keyword. Every tenth text is a strange one."""
    texts = STRANGE_TEXTS if number % 10 == 0 else TEXTS
    return post(
        texts[number // 10 % len(texts)], keywords=[KEYWORDS[number % len(KEYWORDS)]], source=f"test-{number % 3}"
    )


@contextmanager
def live_system(env: dict[str, str], folder: Path, *, rate: float = RATE, **more: str) -> Iterator[LiveSystem]:
    """The application under these settings, with posts that keep coming while the context is entered.

    Args:
        env: settings, as environment variables.
        folder: for the logs.
        rate: posts a second; 0 for none.
        more: settings of all processes.
    """
    environment = {
        **env,
        "EMOSTREAM_API_PORT": "0",
        "EMOSTREAM_SINK_WEB_PORT": str(free_port()),
        **more,
    }
    settings = load_settings(env_file=None, environ=environment)
    init_topics(settings, lambda line: None)
    init_postgres(settings, lambda line: None)
    roles: list[Role] = []

    def start(name: str) -> Role:
        role = Role(name, [name], env=clean_environment(environment), log=folder / f"{name}.log")
        roles.append(role)
        return role

    try:
        service, worker, sink = start("api"), start("worker"), start("sink")
        system = LiveSystem(address_of(service), settings, service, worker, sink, environment, folder)
        if rate:
            with SteadyPosts(settings, rate, usual_post):
                yield system
        else:
            yield system
        roles.append(system.service)
    finally:
        for role in roles:
            role.kill()
