"""The client for programs without asyncio."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

import httpx
from httpx_sse import connect_sse

from api.client import calls
from api.client.calls import TIMEOUT_S, AnswerT, Call
from api.client.errors import ApiConnectionError, ApiError
from api.client.following import STREAM_TIMEOUT, Pauses, live_message
from api.client.reading import LimitedStream, read
from api.models.alerts import AlertIncidentAnswer, AlertIncidentsAnswer, AlertMute, Severity, StoredAlertRule
from api.models.audit import AuditAnswer
from api.models.health import Readiness
from api.models.live import LiveMessage
from api.models.query import PlotFormat, PlotKind, QueryAnswer, QueryRequest
from api.models.status import StatusAnswer
from api.models.texts import Analysis, Prediction
from api.models.windows import KeywordsAnswer, ModelAnswer, PostsAnswer, Window


class Client:
    """Asks the HTTP service. A context manager that closes the connections.

    All methods raise `ApiError` if the service answers with an error, and `ApiConnectionError` if it does not answer.
    """

    def __init__(self, url: str, *, key: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        """Prepare a client. It connects with the first call.

        Args:
            url: The address of the service.
            key: The API key; None if the service needs none.
            timeout_s: Seconds that the service has for an answer.
        """
        headers = {"X-API-Key": key} if key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)
        self._address = self._http.base_url.copy_with(userinfo=b"")  # it may have a password

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def query(
        self,
        keyword: str,
        *,
        limit: int = 250,
        since: datetime | None = None,
        return_plot: bool = False,
        plot_kind: PlotKind = "pie",
        plot_format: PlotFormat = "png",
    ) -> QueryAnswer:
        """Returns what people feel about a keyword, taken literally; `*` stands for all posts.

        Args:
            keyword: The keyword.
            limit: With fewer posts than this in the windows, sources are searched for more; at most 500.
            since: The beginning of the time that the answer is about; None for 24 hours ago.
            return_plot: Whether the answer has a picture.
            plot_kind: A ring, or a stacked bar.
            plot_format: The format of the picture.
        """
        request = QueryRequest(
            keyword=keyword,
            limit=limit,
            since=since,
            return_plot=return_plot,
            plot_kind=plot_kind,
            plot_format=plot_format,
        )
        return self._send(calls.query(request))

    def predict(self, text: str, *, lang: str | None = None) -> Prediction:
        """Returns what the models say about a text. `lang` is its language tag (BCP 47), if it is known."""
        return self._send(calls.predict(text, lang=lang))

    def predict_batch(self, texts: Sequence[str], *, lang: str | None = None) -> list[Prediction]:
        """Returns what the models say about each text, in order."""
        return (self._send(calls.predict_batch(texts, lang=lang))).predictions

    def analyze(self, texts: Sequence[str], *, lang: str | None = None, tier: str = "auto") -> list[Analysis]:
        """Returns what a tier of the main model says about each text, in order; with `auto` the tiers decide."""
        return (self._send(calls.analyze(texts, lang=lang, tier=tier))).analyses

    def windows(
        self, keyword: str, *, size: int | None = None, since: datetime | None = None, limit: int = 100
    ) -> list[Window]:
        """Returns the latest windows of a keyword.

        Args:
            keyword: The keyword; `*` stands for all posts.
            size: Only windows of this size, in seconds; None for all sizes.
            since: Only windows that end after this time; None for all.
            limit: The most windows.
        """
        return (self._send(calls.windows(keyword, size=size, since=since, limit=limit))).windows

    def keywords(self, *, order: calls.Order = "frequent", limit: int = 20) -> KeywordsAnswer:
        """Returns the keywords with the most posts, or those that rise fastest."""
        return self._send(calls.keywords(order=order, limit=limit))

    def posts(
        self, *, keyword: str | None = None, label: str | None = None, limit: int = 50, before: str | None = None
    ) -> PostsAnswer:
        """Returns posts of the history, the newest first. `before` is the `next_before` of the page before."""
        return self._send(calls.posts(keyword=keyword, label=label, limit=limit, before=before))

    def model(self) -> ModelAnswer:
        """Returns the models that serve."""
        return self._send(calls.model())

    def incidents(
        self,
        *,
        state: calls.State = "all",
        rule: str | None = None,
        keyword: str | None = None,
        severity: Severity | None = None,
        since: datetime | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> AlertIncidentsAnswer:
        """Returns incidents, the newest decision first.

        Args:
            state: Only those that are `open` or `closed`.
            rule: Only those of the rule with this id.
            keyword: Only those of this keyword; `*` stands for all posts.
            severity: Only those of this severity.
            since: Only those that were decided at this time or later.
            limit: The most incidents; at most 200.
            before: The `next_before` of the page before.
        """
        wanted = calls.incidents(
            state=state, rule=rule, keyword=keyword, severity=severity, since=since, limit=limit, before=before
        )
        return self._send(wanted)

    def incident(self, key: str) -> AlertIncidentAnswer:
        """Returns an incident with the words and posts that moved the value, and what was told of it."""
        return self._send(calls.incident(key))

    def alert_rules(self) -> list[StoredAlertRule]:
        """Returns the rules of alerts, in the order of their ids."""
        return (self._send(calls.alert_rules())).rules

    def alert_mutes(self, *, ended: bool = False) -> list[AlertMute]:
        """Returns the mutes that hold now, the newest first; with `ended` also those that have ended."""
        return (self._send(calls.alert_mutes(ended=ended))).mutes

    def audit(self) -> AuditAnswer:
        """Returns the result of the last audit."""
        return self._send(calls.audit())

    def status(self) -> StatusAnswer:
        """Returns the state of the application: what comes in, how late it is, what waits, and why."""
        return self._send(calls.status())

    def ready(self) -> Readiness:
        """Returns the health of each part."""
        return self._send(calls.ready())

    def follow(
        self,
        *keywords: str,
        kinds: Sequence[calls.Kind] = ("window",),
        last_id: str | None = None,
        reconnect: bool = True,
    ) -> Iterator[LiveMessage]:
        """Yield changed windows and new posts as they come, until the caller stops.

        If the connection ends, it is made again, and the stream resumes after the last message. What may have been
        missed is told by a message with the event `gap`.

        Args:
            keywords: The keywords; `*` stands for all posts, and is the default.
            kinds: `window`, `post` or both.
            last_id: The id of a message after which to resume; None begins with what is new.
            reconnect: Whether to connect again after an error. If not, it is raised.
        """
        pauses = Pauses()
        while True:
            retry_after_s = None
            params = calls.live_params(keywords, kinds)
            headers = {"Last-Event-ID": last_id.encode()} if last_id else {}
            try:
                with connect_sse(
                    self._http, "GET", calls.STREAM, params=params, headers=headers, timeout=STREAM_TIMEOUT
                ) as source:
                    if not source.response.is_success:
                        raise ApiError.of(source.response, read(source.response))
                    limit = LimitedStream.of(source.response)
                    for event in source.iter_sse():
                        limit.reset()
                        last_id = event.id or last_id
                        pauses.reset()
                        if event.event != "end":
                            yield live_message(event.id, event.event, event.data)
            except httpx.HTTPError as exc:
                if not reconnect:
                    raise ApiConnectionError(f"the live stream of {self._address} ended: {exc}") from exc
            except ApiError as exc:
                if not reconnect or exc.status not in {429, 502, 503, 504}:
                    raise
                retry_after_s = exc.retry_after_s
            time.sleep(pauses.next_s(retry_after_s))

    def _send(self, call: Call[AnswerT]) -> AnswerT:
        content = None if call.body is None else call.body.model_dump_json()
        try:
            with self._http.stream(
                call.method,
                call.path,
                content=content,
                params=call.params,
                headers={"Content-Type": "application/json"} if content else None,
            ) as response:
                body = read(response)
        except httpx.HTTPError as exc:
            raise ApiConnectionError(f"the HTTP service at {self._address} did not answer: {exc}") from exc
        return calls.answer_of(call, response, body)
