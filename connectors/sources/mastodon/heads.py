"""The newest status that was seen of each timeline, and the cursor that carries it. Pure.

Ids of Mastodon hold the time in milliseconds above their 16 low bits. A post of another server has an id of the time
when it was written, not of when it arrived, so a post may arrive after another one with a greater id. Therefore a
timeline is read again from some time before its head. The ids of other programs than Mastodon have an order, and no
time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from connectors.errors import RejectedError

NOTHING = "0"
"""The head of a timeline without a status."""

LONGEST_ID = 100
"""The most characters of an id."""

_VERSION = 1
_SEQUENCE_BITS = 16
_FIRST = datetime(2016, 1, 1, tzinfo=UTC)
_LAST = datetime(2100, 1, 1, tzinfo=UTC)


def id_order(number: str) -> tuple[int, str]:
    """Returns the key by which ids are sorted: by length and then as text, as the API documents."""
    return len(number), number


def newest(ids: Iterable[str]) -> str:
    """Returns the newest of some ids; `NOTHING` if `ids` is empty."""
    return max(ids, default=NOTHING, key=id_order)


def id_time(number: str) -> datetime | None:
    """Returns the time in an id; None for an id that another program than Mastodon made."""
    if not (number.isascii() and number.isdigit() and len(number) <= 20):
        return None
    try:
        found = datetime.fromtimestamp((int(number) >> _SEQUENCE_BITS) / 1_000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return found if _FIRST <= found < _LAST else None


def before(number: str, overlap: timedelta) -> str:
    """Returns an id that is older by some time; the id itself if it has no time."""
    at = id_time(number)
    if at is None:
        return number
    return str(max(0, int(number) - (int(overlap.total_seconds() * 1_000) << _SEQUENCE_BITS)))


def next_to(number: str, step: int) -> str:
    """Returns the id one above (`step` 1) or below (-1) another one, if ids are numbers; otherwise the id itself."""
    return str(max(0, int(number) + step)) if number.isascii() and number.isdigit() else number


def resume_from(head: str, at: datetime, overlap: timedelta) -> str:
    """Returns the id after which a timeline is read again.

    It is the earlier one of the head and `at` minus the overlap: what is older had arrived by `at`, and was read. It is
    never older than the head minus the overlap, which is enough for a timeline that is read late.

    Args:
        head: the newest status that was seen.
        at: what had arrived by this time was read, up to the head.
        overlap: how long a post may take to arrive.
    """
    if id_time(head) is None:
        return head
    listened = before(str(int(at.timestamp() * 1_000) << _SEQUENCE_BITS), overlap)
    return newest((before(head, overlap), min(head, listened, key=id_order)))


def write_cursor(server: str, heads: Mapping[str, str], at: datetime) -> str:
    """Returns the cursor for the heads of timelines of a server.

    Args:
        server: the server.
        heads: the newest status that was seen of each timeline.
        at: what had arrived by this time was read, up to these heads.
    """
    found = {"v": _VERSION, "server": server, "at": int(at.timestamp()), "heads": dict(heads)}
    return json.dumps(found, separators=(",", ":"))


def read_cursor(cursor: str, server: str, timelines: Sequence[str]) -> tuple[dict[str, str], datetime]:
    """Returns the heads of those timelines that the cursor knows, and its `at`.

    Raises:
        RejectedError: `cursor` is not a cursor of this version, or belongs to another server.
    """
    try:
        found = json.loads(cursor)
        version, of_server, heads = found["v"], found["server"], found["heads"]
        chosen = {name: heads[name] for name in timelines if name in heads}
        at = datetime.fromtimestamp(found["at"], UTC)
        if not isinstance(heads, dict):
            raise TypeError("the heads are not an object")
    except (ValueError, KeyError, TypeError, OverflowError, OSError) as exc:
        raise RejectedError("the cursor is not one of mastodon") from exc
    if version != _VERSION:
        raise RejectedError(f"the cursor of mastodon has version {version!r}; this program reads {_VERSION}")
    if of_server != server:
        raise RejectedError(f"the cursor of mastodon is one of {of_server}, not of {server}: ids are a server's own")
    if not all(isinstance(head, str) and 0 < len(head) <= LONGEST_ID for head in chosen.values()):
        raise RejectedError("the cursor is not one of mastodon: a head is not an id")
    return chosen, at
