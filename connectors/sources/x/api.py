"""The requests of the API of X, as docs.x.com/x-api describes them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from connectors.errors import RejectedError, UnavailableError
from connectors.sources.net import Answer, HttpClient, TooLargeError
from connectors.sources.net.http import Params
from connectors.sources.protocol import RateLimitError
from connectors.sources.shapes.values import identifier, members, named, string
from connectors.sources.x.problems import check_answer, document_of, kind_of, problems_of, text_of
from connectors.sources.x.rules import Rule

logger = logging.getLogger(__name__)

T = TypeVar("T")

PAGE: Final = 100
"""Posts of a page: the most that the search gives."""

LEAST: Final = 10
"""The least posts of a page that the search accepts."""

MAX_PAGE_BYTES: Final = 16_000_000

_STREAM: Final = "/2/tweets/search/stream"
_RULES: Final = "/2/tweets/search/stream/rules"
_SEARCH: Final = "/2/tweets/search/recent"
_AT_ONCE: Final = 100
_MOST_PAGES: Final = 100
_FIRST_WAIT_S = 5.0
_LEAST_WAIT_S = 1.0
_MOST_WAIT_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the search.

    Attributes:
        documents: a document of each post, as the stream sends it; the newest first.
        next: the token of the next page; None if it is the last one.
    """

    documents: Sequence[Mapping[str, Any]]
    next: str | None


class Api:
    """The API.

    Attributes:
        retries: the requests that failed and that `patiently` repeats.
    """

    def __init__(self, http: HttpClient, endpoint: str, *, originals: bool) -> None:
        """Use the API.

        Args:
            http: the client. Its headers have the bearer token.
            endpoint: the address, such as `https://api.x.com`.
            originals: whether the original of each repost comes with it. X charges for both.
        """
        self.retries = 0
        self._http = http
        self._endpoint = endpoint.rstrip("/")
        self._fields: dict[str, str | int] = {
            "tweet.fields": "author_id,created_at,edit_history_tweet_ids,entities,lang,note_tweet,referenced_tweets"
        }
        if originals:
            self._fields["expansions"] = "referenced_tweets.id"

    def lines(self, *, backfill_minutes: int) -> AsyncGenerator[bytes | None, None]:
        """Return the lines of the stream, which is connected to when the first one is asked for.

        Args:
            backfill_minutes: minutes before now whose posts come again; 0 for an account that may not ask for them.

        Raises:
            RateLimitError: There are too many connections or requests, or the account has used all that it may.
            UnavailableError: The connection failed, or X cannot answer now.
            RejectedError: The bearer token is wrong, or the account may not use the stream.
        """
        params = self._fields | ({"backfill_minutes": backfill_minutes} if backfill_minutes else {})
        return self._http.stream(self._endpoint + _STREAM, params=params, check=_checked("the stream of X"))

    async def rules(self) -> list[Rule]:
        """Return the rules of the app, with those that others have made.

        Raises:
            ConnectorError: As for `lines`.
        """
        found: list[Rule] = []
        params: dict[str, str | int] = {}
        for _ in range(_MOST_PAGES):
            document = await self._get(_RULES, params, "the list of rules of X")
            data = document.get("data")
            for rule in data if isinstance(data, list) else []:
                number, value = identifier(members(rule).get("id")), string(members(rule).get("value"))
                if number is None or value is None:
                    raise UnavailableError("the list of rules of X has a rule without an id or a value")
                found.append(Rule(number, value, string(rule.get("tag")) or ""))
            token = string(members(document.get("meta")).get("next_token"))
            if token is None:
                return found
            params["pagination_token"] = token
        raise UnavailableError("the list of rules of X does not end")

    async def add(self, values: Sequence[str], tag: str) -> list[str]:
        """Add rules. Return the ids of those that somebody else has made meanwhile.

        Raises:
            RejectedError: X refuses a rule, or there are too many.
            ConnectorError: As for `lines`.
        """
        twice: list[str] = []
        for begin in range(0, len(values), _AT_ONCE):
            left = list(values[begin : begin + _AT_ONCE])
            while left:
                answer = await self._http.post(
                    self._endpoint + _RULES, {"add": [{"value": value, "tag": tag} for value in left]}
                )
                document = document_of(answer.body)
                problems = problems_of(document)
                doubled = {string(one.get("value")): one for one in problems if kind_of(one) == "duplicate-rules"}
                if not doubled:
                    _check_added(answer, problems)
                    break
                twice += [number for one in doubled.values() if (number := identifier(one.get("id"))) is not None]
                done = [*doubled, *named(members(document).get("data"), "value")]
                left, before = [value for value in left if value not in done], left
                if len(left) == len(before):
                    raise UnavailableError(f"X did not add a rule: {text_of(problems[0])}")
        return twice

    async def delete(self, ids: Sequence[str]) -> None:
        """Delete rules. A rule that does not exist any more is not an error.

        Raises:
            ConnectorError: As for `lines`.
        """
        for begin in range(0, len(ids), _AT_ONCE):
            document = {"delete": {"ids": list(ids[begin : begin + _AT_ONCE])}}
            _checked("deleting a rule at X")(await self._http.post(self._endpoint + _RULES, document))

    async def page(self, query: str, params: Params) -> Page:
        """Return a page of the search of the last seven days.

        Args:
            query: what is searched for.
            params: further parameters: `since_id`, `until_id`, `start_time`, `max_results`, `next_token`.

        Raises:
            TooLargeError: The page is longer than `MAX_PAGE_BYTES`.
            ConnectorError: As for `lines`.
        """
        document = await self._get(_SEARCH, {**self._fields, "query": query, **params}, "the search of X")
        data, includes = document.get("data"), members(document.get("includes"))
        documents = [{"data": post, "includes": includes} for post in data] if isinstance(data, list) else []
        return Page(documents, string(members(document.get("meta")).get("next_token")))

    async def _get(self, path: str, params: Params, what: str) -> Mapping[str, Any]:
        answer = await self._http.get(self._endpoint + path, params=params, max_bytes=MAX_PAGE_BYTES)
        _checked(what)(answer)
        document = document_of(answer.body)
        if not isinstance(document, Mapping):
            raise UnavailableError(f"{what} did not answer with a JSON object")
        return document

    async def patiently(self, request: Callable[[], Awaitable[T]]) -> T:
        """Repeat a request until X answers it, and return its result. Beside a stream, which goes on meanwhile.

        The waits are those that X names, up to 15 minutes, or else double from 5 seconds on. `retries` counts them.

        Raises:
            RejectedError: X refuses the request.
            TooLargeError: The answer is too large.
        """
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                return await request()
            except TooLargeError:  # and so it would be the next time
                raise
            except UnavailableError as exc:
                named = exc.retry_after_s if isinstance(exc, RateLimitError) else None
                pause_s = min(_MOST_WAIT_S, wait_s if named is None else max(named, _LEAST_WAIT_S))
                logger.warning("%s; it tries again in %.1f s", exc, pause_s)
            self.retries += 1
            await asyncio.sleep(pause_s)
            wait_s = min(2 * wait_s, _MOST_WAIT_S)


def _check_added(answer: Answer, problems: Sequence[Mapping[str, Any]]) -> None:
    for problem in problems:
        if kind_of(problem) in ("invalid-rules", "rule-cap"):
            rule = string(problem.get("value"))
            raise RejectedError(f"X refuses the rule{f' {rule[:200]!r}' if rule else ''}: {text_of(problem)}")
    _checked("adding a rule at X")(answer)
    if problems:
        raise UnavailableError(f"X did not add a rule: {text_of(problems[0])}")


def _checked(what: str) -> Callable[[Answer], None]:
    return lambda answer: check_answer(answer.status, answer.headers, answer.body, what)
