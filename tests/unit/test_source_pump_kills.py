"""No crash of a source loses or doubles a post, wherever it happens."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kafka.producer import Outgoing
from streams.records import SourcePosition
from tests.source_world import Network, World, source_post


class KilledError(Exception):
    """The process ends here."""


@settings(max_examples=150)
@given(
    posts=st.integers(1, 30),
    repeats=st.integers(0, 8),
    kills=st.lists(st.tuples(st.sampled_from(["deliver", "delivered", "save", "saved", "read"]), st.integers(0, 12))),
)
def test_whenever_it_is_killed_every_post_is_there_once(posts: int, repeats: int, kills: list[tuple[str, int]]) -> None:
    world = World()
    events = [source_post(number) for number in range(posts)]

    async def until_killed(where: str, steps: int) -> None:
        left = steps

        def step(here: str) -> None:
            nonlocal left
            if here == where:
                left -= 1
                if left < 0:
                    raise KilledError

        def deliver(records: Sequence[Outgoing]) -> None:
            step("deliver")
            if where == "delivered" and records:
                # The broker has a part of them.
                world.raw.extend(records[: steps % (len(records) + 1)])
                raise KilledError

        def save(position: SourcePosition) -> None:
            step("save")
            if where == "saved":
                world.positions.append(position)
                raise KilledError

        world.on_deliver, world.on_save = deliver, save
        network = Network(events, repeats=repeats, ends=True, script=lambda _: step("read"))
        pump = world.pump()
        reader = asyncio.ensure_future(pump.run(network, asyncio.Event()))
        await asyncio.wait([reader])
        assert reader.exception() is None or isinstance(reader.exception(), KilledError)

    for where, steps in kills:
        asyncio.run(until_killed(where, steps))
    asyncio.run(until_killed("never", 0))
    assert sorted(world.ids()) == sorted(f"test:{number}" for number in range(posts))
