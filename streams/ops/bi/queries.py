"""Reads the rows of the charts. It reads views of the schema `bi` only, for which the role `tableau` is enough."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.errors import RejectedError
from connectors.postgres import Connection, address_of, connect, postgres_errors
from streams.ops.bi.share_chart import KeywordShare
from streams.records import ALL_KEYWORDS

_SHARES = """
    SELECT keyword, emotion, sum(posts)::bigint
    FROM bi.emotion_share WHERE hour > (SELECT newest_hour - interval '7 days' FROM bi.freshness) GROUP BY 1, 2
"""
_SHARES_ALL = """
    SELECT emotion, sum(posts)::bigint
    FROM bi.emotion_share_all WHERE hour > (SELECT newest_hour - interval '7 days' FROM bi.freshness) GROUP BY 1
"""
_UNSUPPORTED = """
    SELECT keyword, sum(unsupported_posts)::bigint
    FROM bi.keyword_frequency WHERE hour > (SELECT newest_hour - interval '7 days' FROM bi.freshness) GROUP BY 1
    UNION ALL
    SELECT %s, sum(unsupported_posts)::bigint
    FROM bi.keyword_frequency_all WHERE hour > (SELECT newest_hour - interval '7 days' FROM bi.freshness)
"""
_SCATTER = """
    SELECT keyword, emotion, posts, percent, mean_confidence, is_outlier,
        coalesce(percent_score, confidence_score) IS NOT NULL,
        greatest(abs(percent_score), abs(confidence_score), 0)
    FROM bi.confidence_scatter ORDER BY posts DESC, keyword, emotion
"""


@dataclass(frozen=True)
class ScatterPoint:
    """A row of `bi.confidence_scatter`.

    Attributes:
        keyword: the keyword.
        emotion: the emotion.
        posts: posts of the keyword with the emotion.
        percent: their share of the keyword's posts, from 0 to 100.
        confidence: the mean confidence of the model in them, from 0 to 1.
        outlier: whether the share or the confidence is an outlier.
        judged: whether there are enough posts and keywords to tell outliers.
        score: the larger absolute value of the modified z-scores of both; 0 if `judged` is false.
    """

    keyword: str
    emotion: str
    posts: int
    percent: float
    confidence: float
    outlier: bool
    judged: bool
    score: float


@dataclass(frozen=True)
class ChartData:
    """The rows of both charts, of the last seven days of data. `until` is the time of the newest post, as text."""

    shares: list[KeywordShare]
    points: list[ScatterPoint]
    until: str


def read_chart_data(dsn: str) -> ChartData:
    """Read the rows of both charts, in one transaction.

    Raises:
        ConnectorError: Postgres does not answer or rejects the call, or the views have no posts.
    """
    with (
        connect(dsn, application_name="emostream-bi-charts") as connection,
        postgres_errors("reading the views of the schema bi"),
    ):
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        newest = connection.execute(
            "SELECT to_char(newest_post_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') FROM bi.freshness"
        ).fetchone()
        shares = _shares(connection)
        points = [
            ScatterPoint(
                str(keyword),
                str(emotion),
                int(str(posts)),
                float(str(percent)),
                float(str(confidence)),
                bool(outlier),
                bool(judged),
                float(str(score)),
            )
            for keyword, emotion, posts, percent, confidence, outlier, judged, score in connection.execute(_SCATTER)
        ]
    if not shares:
        raise RejectedError(
            f"the views of the schema bi in {address_of(dsn)} have no posts yet; the sink writes only while the "
            "machine is idle"
        )
    return ChartData(shares, points, f"{newest[0]} UTC" if newest else "")


def _shares(connection: Connection) -> list[KeywordShare]:
    """Returns the shares of all posts together first, then those of the keywords, most posts first."""
    counts: dict[str, dict[str, int]] = {}
    for emotion, posts in connection.execute(_SHARES_ALL):
        counts.setdefault(ALL_KEYWORDS, {})[str(emotion)] = int(str(posts))
    for keyword, emotion, posts in connection.execute(_SHARES):
        counts.setdefault(str(keyword), {})[str(emotion)] = int(str(posts))
    unsupported = {str(keyword): int(str(posts or 0)) for keyword, posts in connection.execute(_UNSUPPORTED, ["*"])}
    shares = [KeywordShare(keyword, found, unsupported.get(keyword, 0)) for keyword, found in counts.items()]
    return sorted(shares, key=lambda share: (share.keyword != ALL_KEYWORDS, -share.posts, share.keyword))
