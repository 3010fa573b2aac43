"""A rebuild counts a row of Postgres as the worker counted the record that the row was made from."""

import pytest

from streams.records import ClassifiedPost, Sentiment
from streams.windows.rebuild.posts import _ROWS, _from_row
from tests.helpers import classified, for_counting, row_of

POSTS = [
    classified(7, keywords=["tea"], confidence=0.25, sentiment=Sentiment("positive", 0.5), lang="en"),
    classified(8, label=None, lang="es"),
    classified(9, label=None, lang="ceb"),
    classified(10),
]


@pytest.mark.parametrize("post", POSTS, ids=["labelled", "unsupported", "a code of three letters", "of version 0.1"])
def test_a_row_counts_as_its_record(post: ClassifiedPost) -> None:
    columns = [name.strip() for name in _ROWS.partition("SELECT")[2].partition("FROM")[0].split(",")]
    row = row_of(post)._asdict()
    counted, _ = _from_row("posts.raw", 0, tuple(row[name] for name in columns))
    assert counted == for_counting(post)
    assert counted.lang == {7: "en", 8: "es", 9: "mis", 10: None}[post.origin.offset]
