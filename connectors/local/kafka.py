"""The embedded Apache Kafka: one KRaft node, broker and controller in one process."""

from __future__ import annotations

import os
import shutil
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

from connectors.local import java
from connectors.local.ports import HOST, accepts
from connectors.local.process import Launch, run_tool
from connectors.local.server import NotAnsweringError, Ports, Server
from connectors.local.state import StackState

_FORMAT_TIMEOUT_S = 60.0
_HEAP = "-Xmx1536m"
"""The largest heap of the broker. It holds a batch there while it recompresses it, and one of 900 MB fits. The virtual
machine takes so much memory only when it needs it."""

# The paths in the configuration files are relative to the working directory, so that none needs escaping.
_LOG4J = """\
rootLogger.level = WARN
rootLogger.appenderRef.stdout.ref = STDOUT
appender.stdout.type = Console
appender.stdout.name = STDOUT
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d{ISO8601} %-5p %m (%c{1})%n
"""


class KafkaServer(Server):
    """Kafka in KRaft mode. Its log directory is formatted once; only its ports may change later."""

    name = "kafka"
    title = "Kafka"
    port_names = ("port", "controller")
    start_timeout_s = 60.0

    def __init__(self, data_dir: Path, on_download: Callable[[], None]) -> None:
        super().__init__(data_dir)
        self._on_download = on_download

    def check(self) -> None:
        """Find Java and the jars; the first call downloads the jars (43 MB)."""
        java.find_java()
        java.class_path(self._on_download)

    def prepare(self, state: StackState, cancel: Event) -> None:
        """Format a new log directory under another name, and rename it when it is complete."""
        super().prepare(state, cancel)
        (self.home / "log4j2.properties").write_text(_LOG4J)
        if (self.home / "data").exists():
            return
        shutil.rmtree(self.home / "data.new", ignore_errors=True)
        config = self.home / "format.properties"
        # Formatting opens no port, so the ports of the configuration do not matter.
        config.write_text(render_config({"port": 9092, "controller": 9093}, log_dir="data.new"))
        arguments = ("format", "-t", new_cluster_id(), "-c", config.name)
        launch = self._java("kafka.tools.StorageTool", *arguments, jvm=("-XX:TieredStopAtLevel=1",))
        run_tool(launch, self.log, cancel, _FORMAT_TIMEOUT_S)
        (self.home / "data.new").rename(self.home / "data")
        config.unlink()

    def launch(self, ports: Ports, state: StackState) -> Launch:
        """Returns the command. The configuration file is written at each start, because the ports may have changed."""
        config = self.home / "server.properties"
        config.write_text(render_config(ports, log_dir="data"))
        return self._java("kafka.Kafka", config.name)

    def probe(self, ports: Ports, state: StackState, timeout_s: float) -> str:
        """Ask for the cluster's metadata, which must have the cluster id of this server's log directory."""
        if not accepts(ports["port"], timeout_s):
            raise NotAnsweringError("it does not accept connections")
        cluster_id, brokers = _metadata(f"{HOST}:{ports['port']}", timeout_s)
        if cluster_id != self._cluster_id():
            raise NotAnsweringError("another Kafka answers on its port")
        if not brokers:
            raise NotAnsweringError("the broker is not registered yet")
        return java.KAFKA_VERSION

    def _cluster_id(self) -> str | None:
        try:
            lines = (self.home / "data" / "meta.properties").read_text().splitlines()
        except OSError:
            return None
        return dict(line.split("=", 1) for line in lines if "=" in line).get("cluster.id")

    def _java(self, main_class: str, *arguments: str, jvm: Sequence[str] = ()) -> Launch:
        jars = java.class_path(self._on_download)
        argv = (
            str(java.find_java()),
            _HEAP,
            *jvm,
            "-XX:+UseSerialGC",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            "-Dlog4j2.configurationFile=log4j2.properties",
            *("-cp", os.pathsep.join(map(str, jars))),
            main_class,
            *arguments,
        )
        return self.marked(argv)


def new_cluster_id() -> str:
    """Returns a random cluster id in Kafka's form: 22 characters of URL-safe base64 that do not begin with a dash."""
    while True:
        if not (encoded := urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
            return encoded


def render_config(ports: Ports, log_dir: str) -> str:
    """Returns the broker's configuration: one node, so every internal topic has one replica.

    After a crash the controller accepts the broker again only when its former session has expired. The default session
    timeout is 9 s; here it is 3 s.
    """
    return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{HOST}:{ports["controller"]}
listeners=BROKER://{HOST}:{ports["port"]},CONTROLLER://{HOST}:{ports["controller"]}
advertised.listeners=BROKER://{HOST}:{ports["port"]}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
log.dirs={log_dir}
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=8
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=8
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=33554432
"""


def _metadata(bootstrap: str, timeout_s: float) -> tuple[str | None, dict[int, Any]]:
    """Returns the cluster id and the brokers.

    Raises:
        NotAnsweringError: No answer within `timeout_s`.
    """
    from confluent_kafka import KafkaException  # noqa: PLC0415 - librdkafka is needed only here
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415

    # log_level 0: librdkafka must not write a line to stderr for each refused connection.
    config: dict[str, Any] = {"bootstrap.servers": bootstrap, "log_level": 0, "error_cb": lambda _: None}
    admin = AdminClient(config)
    try:
        metadata = admin.list_topics(timeout=timeout_s)
    except KafkaException as exc:
        raise NotAnsweringError(exc.args[0].str()) from exc
    return metadata.cluster_id, metadata.brokers
