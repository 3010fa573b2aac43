"""Forgets an instance of a source that is no longer needed: `emostream sources` then lists it no more.

A record without a value removes its position from the compacted topic. It is written under the transactional id of the
instance, so a process that is paused and resumes later cannot store its former position again.
"""

from __future__ import annotations

import difflib
from contextlib import closing

from connectors.kafka.admin import KafkaAdmin
from connectors.kafka.transactional import FencedError
from streams.connections import kafka_config, scan_group
from streams.errors import InputError
from streams.ingest.sources.members import lease_group, process_of
from streams.ingest.sources.positions import PositionStore, transactional_id
from streams.ingest.sources.status import SourceStatus, StatusReader
from streams.settings import Settings


def forgettable(settings: Settings, instance: str) -> SourceStatus | None:
    """Returns the status of an instance that can be forgotten; None if its position cannot be read.

    Raises:
        InputError: There is no such instance, or a process runs it or waits for it.
        ConnectorError: The topic does not exist, or Kafka did not answer.
    """
    statuses = StatusReader(settings).read()
    found = {one.position.instance: one for one in statuses.sources}
    if instance not in found and instance not in statuses.unreadable:
        near = difflib.get_close_matches(instance, [*found, *statuses.unreadable], n=1)
        raise InputError(f"no source {instance!r} has ever run{f'; did you mean {near[0]!r}?' if near else ''}")
    _check_stopped(settings, instance)
    return found.get(instance)


def forget(settings: Settings, instance: str) -> None:
    """Remove the position of an instance.

    Raises:
        InputError: A process runs the instance or waits for it. Nothing was removed.
        ConnectorError: Kafka did not answer, or rejected the call. The position may have been removed.
    """
    _check_stopped(settings, instance)
    store = PositionStore(
        kafka_config(settings),
        topic=settings.topic_sources,
        gaps_topic=settings.topic_gaps,
        instance=instance,
        transactional_id=transactional_id(settings, instance),
        group=scan_group(settings),
    )
    with closing(store):
        try:
            store.remove()
        except FencedError as exc:
            raise InputError(f"a process has begun to run {instance}; nothing was removed") from exc


def _check_stopped(settings: Settings, instance: str) -> None:
    group = lease_group(settings, instance)
    members = KafkaAdmin(kafka_config(settings)).group_members([group])[group]
    if members:
        host, pid = process_of(group, members[0].client_id, members[0].address)
        where = host if pid is None else f"{host} (pid {pid})"
        raise InputError(f"a process on {where} runs {instance}, or waits for it; stop it first. Nothing was removed")
