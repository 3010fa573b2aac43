"""When a circuit breaker lets calls through."""

from streams.query.circuit_breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, CircuitBreaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_refuses_calls_after_a_failure_and_then_lets_one_try() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock=clock)
    assert breaker.allows()
    assert breaker.allows()
    breaker.failed()
    assert not breaker.allows()
    clock.now = FIRST_PAUSE_S * 0.99
    assert not breaker.allows()
    clock.now = FIRST_PAUSE_S
    assert breaker.allows()
    assert not breaker.allows(), "two calls try at the same time"
    breaker.succeeded()
    assert breaker.is_closed
    assert breaker.allows()


def test_the_pause_doubles_up_to_a_limit_and_begins_anew_after_a_success() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock=clock)
    pauses = []
    for _ in range(7):
        assert breaker.allows()
        breaker.failed()
        began = clock.now
        while not breaker.allows():
            clock.now += 0.001
        breaker.cancelled()
        pauses.append(round(clock.now - began, 1))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert pauses[-1] == LONGEST_PAUSE_S
    assert breaker.allows()
    breaker.succeeded()
    breaker.failed()
    clock.now += FIRST_PAUSE_S
    assert breaker.allows()


def test_calls_that_were_under_way_together_fail_as_one() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock=clock)
    for _ in range(100):
        assert breaker.allows()
    for _ in range(100):
        breaker.failed()
    clock.now = FIRST_PAUSE_S
    assert breaker.allows()


def test_a_cancelled_attempt_does_not_keep_it_open() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock=clock)
    breaker.failed()
    clock.now = FIRST_PAUSE_S
    assert breaker.allows()
    breaker.cancelled()
    assert not breaker.is_closed
    assert breaker.allows()
