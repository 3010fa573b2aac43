"""Runs a Kafka broker that checks rights, which a test can take away."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from connectors.local import LocalStack
from connectors.local.kafka import KafkaServer
from connectors.local.process import Launch
from connectors.local.server import Ports
from connectors.local.state import StackState
from tests.integration.support import wait_for

_AUTHORIZER = """\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
"""

_EVERYONE = "User:*"


class _RightsServer(KafkaServer):
    def launch(self, ports: Ports, state: StackState) -> Launch:
        launch = super().launch(ports, state)
        with (self.home / "server.properties").open("a") as config:
            config.write(_AUTHORIZER)
        return launch


class RightsBroker:
    """A broker on which everyone may do everything, except what a test denies."""

    def __init__(self, folder: Path) -> None:
        self._stack = LocalStack(folder)
        self._stack._servers["kafka"] = _RightsServer(self._stack.data_dir, lambda: None)
        self._stack.start("kafka")
        self.bootstrap = next(one.address for one in self._stack.status() if one.name == "kafka") or ""
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "error_cb": lambda _: None})

    @contextmanager
    def denying(self, topic: str, operation: AclOperation) -> Iterator[None]:
        """Within the block nobody may do `operation` with the topic."""
        # As soon as a topic has a rule, only what a rule allows is allowed.
        rules = [
            AclBinding(ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, _EVERYONE, "*", operation, permission)
            for operation, permission in (
                (AclOperation.ALL, AclPermissionType.ALLOW),
                (operation, AclPermissionType.DENY),
            )
        ]
        every = AclBindingFilter(
            ResourceType.TOPIC,
            topic,
            ResourcePatternType.LITERAL,
            None,
            None,
            AclOperation.ANY,
            AclPermissionType.ANY,
        )

        def wait_for_rules(count: int) -> None:
            # A broker applies new rules some time after the controller has taken them.
            wait_for(
                lambda: len(self._admin.describe_acls(every).result(120)) == count, what="the rules are not applied"
            )

        for future in self._admin.create_acls(rules).values():
            future.result(120)
        wait_for_rules(len(rules))
        try:
            yield
        finally:
            self._admin.delete_acls([every])[every].result(120)
            wait_for_rules(0)

    def close(self) -> None:
        self._stack.signal("kafka", signal.SIGKILL)
        self._stack.down()
