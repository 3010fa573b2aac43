"""Reads what the chart of the demo shows: the posts of all windows of one size, from Postgres."""

from __future__ import annotations

from connectors.postgres import connect, postgres_errors
from streams.ops.bi.share_chart import KeywordShare
from streams.records import ALL_KEYWORDS


def read_shares(dsn: str, size: int) -> list[KeywordShare]:
    """Returns the posts of each keyword by label, over all windows of one size, in seconds.

    The keyword `*` comes first, then the keywords with most posts.

    Raises:
        ConnectorError: Postgres does not answer, or rejects the call.
    """
    with connect(dsn, application_name="emostream-chart") as connection, postgres_errors("reading the windows"):
        rows = connection.execute(
            "SELECT keyword, label, sum(posts)::bigint FROM emotion_window_labels WHERE size_s = %s GROUP BY 1, 2",
            (size,),
        ).fetchall()
    counts: dict[str, dict[str, int]] = {}
    for keyword, label, posts in rows:
        counts.setdefault(str(keyword), {})[str(label)] = int(str(posts))
    shares = [KeywordShare(keyword, by_label) for keyword, by_label in counts.items()]
    return sorted(shares, key=lambda share: (share.keyword != ALL_KEYWORDS, -share.posts, share.keyword))
