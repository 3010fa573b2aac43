"""The ring of events of the live streams."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.live.ring import Event, EventRing, Kind

WINDOWS = Kind.WINDOW


def window(keyword: str, number: int = 0, start: str = "12:00", data: bytes | None = None) -> Event:
    return Event(Kind.WINDOW, f"{keyword}|60|{start}", (keyword,), data or str(number).encode())


def ring(most_events: int = 100, most_bytes: int = 10_000) -> EventRing:
    return EventRing(most_events=most_events, most_bytes=most_bytes)


def test_a_newer_state_replaces_the_older_one() -> None:
    events = ring()
    events.put([window("tea", 1), window("coffee", 2), window("tea", 3)])
    found = events.since(0, {"tea"}, WINDOWS, 10)
    assert [event.data for event in found.events] == [b"3"]
    assert (found.cursor, found.gap) == (3, False)
    assert events.since(found.cursor, {"tea"}, WINDOWS, 10).events == []


def test_a_post_belongs_to_each_of_its_keywords_and_comes_once() -> None:
    events = ring()
    events.put([Event(Kind.POST, "0-1", ("*", "tea", "milk"), b"x")])
    assert len(events.since(0, {"tea", "milk", "*"}, Kind.POST, 10).events) == 1
    assert events.since(0, {"tea"}, WINDOWS, 10).events == []


def test_a_dropped_event_is_a_gap_for_those_who_have_not_seen_it() -> None:
    events = ring(most_events=2)
    events.put([window("a"), window("b")])
    seen = events.last_id
    events.put([window("c")])
    assert events.since(0, {"z"}, WINDOWS, 10).gap
    assert not events.since(seen, {"c"}, WINDOWS, 10).gap
    assert [event.key for event in events.since(0, {"a", "b", "c"}, WINDOWS, 10).events] == ["b|60|12:00", "c|60|12:00"]


def test_a_replaced_event_is_no_gap() -> None:
    events = ring(most_events=2)
    for number in range(10):
        events.put([window("tea", number)])
    assert not events.since(0, {"tea"}, WINDOWS, 10).gap


def test_missed_events_are_a_gap_for_all() -> None:
    events = ring()
    events.put([window("tea")])
    cursor = events.last_id
    events.lose()
    assert events.since(cursor, {"tea"}, WINDOWS, 10).gap
    assert not events.since(events.last_id, {"tea"}, WINDOWS, 10).gap


def test_the_bytes_are_bounded() -> None:
    events = ring(most_bytes=100)
    events.put([window("a", data=b"x" * 60), window("b", data=b"x" * 60)])
    assert len(events) == 1
    events.put([window("c", data=b"x" * 200)])
    assert len(events) == 0


def test_more_than_fit_into_an_update_are_a_gap() -> None:
    events = ring()
    events.put([window("a"), window("b"), window("c")])
    found = events.since(0, {"a", "b", "c"}, WINDOWS, 2)
    assert [event.key for event in found.events] == ["b|60|12:00", "c|60|12:00"]
    assert found.gap


def post(number: int) -> Event:
    return Event(Kind.POST, f"0-{number}", ("*",), b"x")


def test_posts_that_do_not_fit_are_skipped_and_counted() -> None:
    events = ring()
    events.put([post(number) for number in range(5)])
    events.skip(7)
    found = events.since(0, {"*"}, Kind.POST, 2)
    assert [event.key for event in found.events] == ["0-3", "0-4"]
    assert (found.gap, found.skipped) == (False, 3 + 7)
    assert events.since(found.cursor, {"*"}, Kind.POST, 2).skipped == 0
    assert events.since(0, {"*"}, WINDOWS, 2).skipped == 0


def test_a_dropped_post_is_no_gap_of_windows() -> None:
    events = ring(most_events=2)
    events.put([post(1), post(2), post(3)])
    assert events.since(0, {"*"}, Kind.POST, 10).gap
    assert not events.since(0, {"*"}, WINDOWS, 10).gap


def test_only_own_ids_are_known() -> None:
    events, other = ring(), ring()
    events.put([window("a"), window("b")])
    assert events.cursors_of(events.id_of(1), 1) == [1]
    assert events.cursors_of(events.id_of(1), 2) == [1, 1]
    assert events.cursors_of(events.id_of(1, 2), 2) == [1, 2]
    unknown = (other.id_of(1), events.id_of(3), events.id_of(1, 3), events.id_of(), events.id_of(1, 1, 1))
    for id_ in (*unknown, f"{events.epoch}-", f"{events.epoch}-x", f"{events.epoch}-1-", "", "1", "²"):
        assert events.cursors_of(id_, 2) is None
    assert events.cursors_of(events.id_of(1, 2), 1) is None


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "2"])), max_size=60),
    st.integers(0, 60),
    st.integers(1, 8),
    st.sets(st.sampled_from("abc"), min_size=1),
)
def test_without_a_gap_a_client_knows_the_newest_state(
    puts: list[tuple[str, str]], cut: int, most_events: int, wanted: set[str]
) -> None:
    """A client that reads twice, and learns of no gap, has the same state as one that has seen every event."""
    events = ring(most_events=most_events)
    state: dict[str, bytes] = {}
    known: dict[str, bytes] = {}
    cursor = 0
    gap = False
    for number, (keyword, start) in enumerate(puts):
        event = window(keyword, number, start)
        events.put([event])
        if keyword in wanted:
            state[event.key] = event.data
        if number in {cut, len(puts) - 1}:
            found = events.since(cursor, wanted, WINDOWS, 100)
            known.update({event.key: event.data for event in found.events})
            cursor, gap = found.cursor, gap or found.gap
    assert gap or known == state
