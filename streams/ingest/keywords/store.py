"""Adds, removes and lists the keywords in the keywords topic.

Every change is a record of its own, so that two operators who change different keywords at once do not disturb each
other. If both add the same keyword in other spellings, the later one stays.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC

from connectors.kafka.producer import ConfirmedProducer, Outgoing
from connectors.kafka.scan import TopicScan
from streams.connections import kafka_config, scan_group
from streams.errors import InputError
from streams.ingest.keywords.folding import fold
from streams.ingest.keywords.keyword_set import MAX_SET, KeywordSet
from streams.records import KeywordRecord, Timestamp
from streams.settings import Settings
from streams.topology import KEYWORDS_MAX_BYTES

_NAMED = 3
"""The most keywords that a message names."""


@dataclass(frozen=True)
class Added:
    """What adding keywords has done.

    Attributes:
        added: The keywords that are new.
        present: The keywords that were there already, as they were added before.
        total: The keywords that are there now.
    """

    added: tuple[str, ...]
    present: tuple[str, ...]
    total: int


@dataclass(frozen=True)
class Removed:
    """What removing keywords has done.

    Attributes:
        removed: The keywords that are no longer there, as they were added.
        total: The keywords that are there now.
    """

    removed: tuple[str, ...]
    total: int


def read_keywords(settings: Settings) -> KeywordSet:
    """Returns the present keywords.

    Raises:
        ConnectorError: The topic does not exist, or Kafka did not answer.
    """
    scan = TopicScan(kafka_config(settings), settings.topic_keywords, group=scan_group(settings))
    rows: dict[bytes, bytes] = {}
    try:
        for message in scan.messages():
            key, value = message.key(), message.value()
            if key is None:
                continue
            rows.pop(key, None)
            if value is not None:
                rows[key] = value
    finally:
        scan.close()
    return KeywordSet.of(rows)


def add_keywords(settings: Settings, keywords: Sequence[str]) -> Added:
    """Add keywords, and wait until Kafka has confirmed them. A keyword that is there already stays as it is.

    Args:
        settings: The settings.
        keywords: Keywords as `parse_keyword` returns them. Of those that fold to the same text, the first is added.

    Raises:
        InputError: There would be too many keywords. None was added.
        ConnectorError: The topic does not exist, or Kafka did not answer. Some may have been added.
    """
    known = read_keywords(settings)
    wanted: dict[str, str] = {}
    for keyword in keywords:
        wanted.setdefault(fold(keyword), keyword)
    new = {folded: keyword for folded, keyword in wanted.items() if folded not in known.by_fold}
    total = len(known) + len(new)
    if total > MAX_SET:
        raise InputError(f"there would be {total:,} keywords; {MAX_SET:,} are allowed; nothing was added")
    now = Timestamp.now(UTC)
    records = [KeywordRecord(keyword, now) for keyword in new.values()]
    _write(settings, [(record.keyword.encode(), record.to_json()) for record in records])
    present = tuple(known.by_fold[folded].keyword for folded in wanted if folded in known.by_fold)
    return Added(tuple(new.values()), present, total)


def remove_keywords(settings: Settings, keywords: Sequence[str]) -> Removed:
    """Remove keywords, in whatever spelling, and wait until Kafka has confirmed it.

    Raises:
        InputError: A keyword is not there. None was removed.
        ConnectorError: The topic does not exist, or Kafka did not answer. Some may have been removed.
    """
    known = read_keywords(settings)
    wanted = {fold(keyword): keyword for keyword in keywords}
    if missing := [keyword for folded, keyword in wanted.items() if folded not in known.by_fold]:
        raise InputError(_not_there(missing, known))
    _write(settings, [(key, None) for folded in wanted for key in known.keys[folded]])
    removed = tuple(known.by_fold[folded].keyword for folded in wanted)
    return Removed(removed, len(known) - len(removed))


def _not_there(missing: Sequence[str], known: KeywordSet) -> str:
    named = ", ".join(repr(keyword) for keyword in missing[:_NAMED])
    more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
    near = difflib.get_close_matches(fold(missing[0]), known.by_fold, n=1)
    hint = f"; did you mean {known.by_fold[near[0]].keyword!r}?" if near and len(missing) == 1 else ""
    return f"not among the keywords: {named}{more}{hint}; nothing was removed"


def _write(settings: Settings, rows: Sequence[tuple[bytes, bytes | None]]) -> None:
    producer = ConfirmedProducer(
        kafka_config(settings),
        client_id="emostream-keywords",
        give_up_after_s=settings.kafka_timeout_s,
        batch_bytes=KEYWORDS_MAX_BYTES // 2,
    )
    try:
        producer.submit([Outgoing(settings.topic_keywords, value, key, 0) for key, value in rows]).result()
    finally:
        producer.close()
