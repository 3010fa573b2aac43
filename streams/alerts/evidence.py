"""What moved the value of an incident: the words that its posts use more than those before, and example posts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from streams.alerts.rule import Measure
from streams.records import AlertPost, AlertWord, ClassifiedPost

MAX_WORDS = 10
MAX_EXAMPLES = 5


class Sameness(NamedTuple):
    """How much of some posts is by one author, or the same text.

    Attributes:
        posts: the number of posts.
        authors: the number of known authors.
        of_one_author: the posts of the author who has most; 0 if no author is known.
        texts: the number of distinct texts, compared by their words.
        of_one_text: the posts with the most frequent text; 0 if no text is known.
    """

    posts: int
    authors: int
    of_one_author: int
    texts: int
    of_one_text: int


class Evidence:
    """Collects posts of one keyword, in bounded memory, and tells what distinguishes those of the incident."""

    def __init__(self, keyword: str, measure: Measure) -> None:
        """Create an empty collection.

        Args:
            keyword: the keyword, whose own words are not counted; `*` for all posts.
            measure: what the rule measures. Examples have its label; of a volume, they have any.
        """
        raise NotImplementedError

    def add(self, post: ClassifiedPost, *, now: bool) -> None:
        """Count a post: of the incident (`now`), or of the time before it. The caller adds each post once."""
        raise NotImplementedError

    def words(self, most: int = MAX_WORDS) -> tuple[AlertWord, ...]:
        """Returns the words that the posts of the incident use more often than those before, the clearest first.

        Empty if one of the two has no posts with a text. A word counts once per post.
        """
        raise NotImplementedError

    def examples(self, most: int = MAX_EXAMPLES, show: Callable[[str], str] | None = None) -> tuple[AlertPost, ...]:
        """Returns posts of the incident with the measured label, of distinct texts and authors, the clearest first.

        Args:
            most: the most posts.
            show: changes a text before it is shown, such as to cut it.
        """
        raise NotImplementedError

    def sameness(self) -> Sameness:
        """Returns how much of the posts of the incident is by one author, or the same text."""
        raise NotImplementedError


def words_of(text: str, without: Iterable[str] = ()) -> frozenset[str]:
    """Returns the folded words of a text, each once, without links, mentions, and the words of `without`."""
    raise NotImplementedError
