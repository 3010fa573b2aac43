"""Searches networks for posts with a keyword, classifies them for an answer, and sends them to the raw topic.

The posts go the way of all others: workers classify them again and count them, and the sink writes them to Postgres. So
the next answer can come from the windows. The answer itself waits for none of this, and needs only the networks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import NamedTuple

from connectors.deadline import Deadline
from connectors.errors import ConnectorError, UnavailableError
from connectors.kafka.producer import ConfirmedProducer
from connectors.postgres_pool import PostgresPool
from connectors.redis import connect
from models.errors import ModelError
from streams.classification.texts import Failed
from streams.connections import kafka_config
from streams.ingest.keywords.follower import KeywordFollower
from streams.ingest.keywords.keyword import parse_keyword
from streams.ingest.keywords.matcher import Matcher
from streams.query.fetch_classify import Classify, FetchClassifier
from streams.query.fetch_metrics import FetchMetrics
from streams.query.fetch_networks import Network, open_networks
from streams.query.fetch_outbox import Outbox, OutboxReport
from streams.query.fetch_posts import FoundPost, PostMaker
from streams.query.fetch_protocol import Fetched
from streams.query.fetch_search import Search
from streams.query.fetch_sent import SentPosts
from streams.query.fetch_sums import sums_of
from streams.query.question import Question
from streams.settings import Settings
from streams.topology import RAW_COMPRESSION
from streams.wording import counted

MOST_AT_ONCE = 4
"""Fetches of a process at the same time. Others wait for their turn until their deadline."""

SEARCH_SHARE = 0.9
"""Share of the time that the search may take. The rest is for the posts that were found last."""

CLOSE_S = 5.0
"""Seconds that a process waits at its end for posts to be sent."""


class FetchReport(NamedTuple):
    """The state of the fetches of a process, for its health.

    Attributes:
        outbox: the posts that are on their way to the raw topic.
        waits_s: the networks that asked to wait, each with the seconds that are left.
    """

    outbox: OutboxReport
    waits_s: Mapping[str, float]


class NetworkFetch:
    """Fetches posts from networks. See `streams.query.fetch_protocol.Fetch`."""

    def __init__(
        self,
        networks: Sequence[Network],
        *,
        classify: Classify,
        maker: Callable[[Question], PostMaker],
        outbox: Outbox,
        metrics: FetchMetrics,
    ) -> None:
        """Prepare.

        Args:
            networks: the networks, at least one.
            classify: classifies texts.
            maker: makes posts of what is found for a question.
            outbox: sends posts.
            metrics: counts what happens.
        """
        self._networks = networks
        self._classify = classify
        self._maker = maker
        self._outbox = outbox
        self._metrics = metrics
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)

    def report(self) -> FetchReport:
        """Returns the state of the fetches."""
        waits = {network.name: network.wait_s for network in self._networks}
        return FetchReport(self._outbox.report(), {name: wait_s for name, wait_s in waits.items() if wait_s})

    async def check(self) -> None:
        """Check whether posts are sent.

        Raises:
            UnavailableError: Posts wait. The message says how many, how many are lost, and why.
        """
        outbox = self._outbox.report()
        if outbox.problem is not None:
            lost = f"; {counted(outbox.lost, 'post')} lost" if outbox.lost else ""
            raise UnavailableError(f"{counted(outbox.kept, 'post')} to be sent{lost}: {outbox.problem}")

    async def __call__(self, question: Question, deadline: Deadline) -> Fetched | None:
        """Search for posts and classify them; see `Fetch`.

        All posts that are found are sent to the raw topic later, also those that were not classified in time, and also
        if the caller stops waiting.

        Raises:
            UnavailableError: All networks failed, or too many fetches are under way.
            ModelError: The posts cannot be classified.
        """
        if not _can_be_searched(question.keyword):
            return None
        try:
            async with asyncio.timeout(deadline.left_s):
                await self._slots.acquire()
        except TimeoutError:
            raise UnavailableError("too many searches for posts are under way") from None
        try:
            fetched = await self._fetch(question, deadline)
        except (ConnectorError, ModelError):
            self._metrics.fetches.labels("failed").inc()
            raise
        finally:
            self._slots.release()
        self._metrics.fetches.labels("complete" if fetched.complete else "partial").inc()
        return fetched

    async def _fetch(self, question: Question, deadline: Deadline) -> Fetched:
        found: list[FoundPost] = []
        classifier = FetchClassifier(self._classify)

        def take(post: FoundPost) -> None:
            found.append(post)
            classifier.add(post.post)

        search = Search(self._networks, question, maker=self._maker(question), take=take, metrics=self._metrics)
        searching = asyncio.create_task(search.run(deadline.left_s * SEARCH_SHARE))
        searching.add_done_callback(lambda _: classifier.end())
        classifying = asyncio.create_task(classifier.run())
        try:
            await asyncio.wait([classifying], timeout=deadline.left_s)
        finally:
            for task in (searching, classifying):
                task.cancel()
            self._outbox.put(found)
            await asyncio.gather(searching, classifying, return_exceptions=True)
        failure = _failure(classifying)
        if not searching.cancelled():
            searching.result()
        if failure is not None and not classifier.answers:
            self._metrics.unclassified.labels("failed").inc(len(found))
            raise failure
        if not found and len(search.problems) == len(self._networks):
            raise UnavailableError(f"no source can be searched: {'; '.join(search.problems)}")
        return self._fetched(question, search, classifier, len(found), failure)

    def _fetched(
        self,
        question: Question,
        search: Search,
        classifier: FetchClassifier,
        found: int,
        failure: ModelError | None,
    ) -> Fetched:
        sums = sums_of(classifier.answers)
        posts = sums.count + sums.unsupported
        failed = sum(isinstance(answer.found, Failed) for answer in classifier.answers)
        late = found - len(classifier.answers)
        notes = [f"Posts may be missing: {problem}." for problem in search.problems]
        if late:
            why = " in time" if failure is None else f": {failure}"
            notes.append(f"Only {len(classifier.answers):,} of {counted(found, 'post')} were classified{why}.")
        if failed:
            notes.append(f"The model could not classify {counted(failed, 'post')}.")
        self._metrics.classified.inc(posts)
        self._metrics.unclassified.labels("deadline" if failure is None else "failed").inc(late)
        self._metrics.unclassified.labels("failed").inc(failed)
        is_searched = not search.problems or found >= question.limit
        return Fetched(
            posts=posts,
            sums=sums,
            complete=is_searched and not late and not failed,
            notes=tuple(notes),
            since=min((post.created_at for post in classifier.posts), default=None),
        )


def _failure(classifying: asyncio.Task[None]) -> ModelError | None:
    """Returns why posts could not be classified; None if they were, or if the time was over.

    Raises:
        Exception: A defect, which is no error of a model.
    """
    if classifying.cancelled():
        return None
    try:
        classifying.result()
    except ModelError as exc:
        return exc
    return None


def _can_be_searched(keyword: str) -> bool:
    """Returns whether a text can be a keyword of sources; `*`, which stands for all posts, cannot."""
    with suppress(ValueError):
        return bool(parse_keyword(keyword))
    return False


@asynccontextmanager
async def open_fetch(
    settings: Settings, classify: Classify, metrics: FetchMetrics
) -> AsyncIterator[NetworkFetch | None]:
    """Open the sources of `EMOSTREAM_QUERY_SOURCES`, and close them at the end. Yields None if the setting is empty.

    At the end the posts that wait are sent, for at most `CLOSE_S` seconds. The log says how many are lost.

    Args:
        settings: the settings. No server need answer.
        classify: classifies texts.
        metrics: counts what happens.

    Raises:
        InputError: sources.toml cannot be used, or credentials are missing.
        RejectedError: The address of Redis or a setting of Kafka cannot be used.
    """
    if settings.query_sources is None:
        yield None
        return
    follower = KeywordFollower(
        kafka_config(settings), settings.topic_keywords, group=f"{settings.group_prefix}-keywords"
    )

    def live() -> Matcher | None:
        # While they are not known, posts wait in the outbox. The follower logs why it cannot know them any more.
        with suppress(ConnectorError):
            return follower.matcher()
        return None

    async with AsyncExitStack() as stack:
        networks = open_networks(settings.query_sources, live)
        for network in networks:
            stack.push_async_callback(network.close)
        redis = connect(settings.redis_url.get_secret_value(), cluster=settings.redis_cluster)
        stack.push_async_callback(redis.aclose)
        dsn = (settings.api_postgres_dsn or settings.postgres_dsn).get_secret_value()
        postgres = await stack.enter_async_context(
            PostgresPool(dsn, application_name="emostream-fetch", max_size=1, read_only=True)
        )
        sent = SentPosts(redis, postgres, prefix=settings.redis_prefix, keep_s=settings.retention_hours * 3_600)
        stack.push_async_callback(asyncio.to_thread, follower.close)
        follower.start()
        outbox = Outbox(
            open_producer=lambda: ConfirmedProducer(
                kafka_config(settings), client_id="emostream-fetch", compression=RAW_COMPRESSION
            ),
            topic=settings.topic_raw,
            sent=sent,
            metrics=metrics,
        )
        outbox.start()
        stack.push_async_callback(outbox.close, CLOSE_S)
        yield NetworkFetch(
            networks,
            classify=classify,
            maker=lambda question: PostMaker.of(settings, question.keyword, question.since),
            outbox=outbox,
            metrics=metrics,
        )
