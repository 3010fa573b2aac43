"""What moved the value of an incident: the words that its posts use more than those before, and example posts. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Generic, NamedTuple, TypeVar

from streams.alerts.engine.statistics import Z_95, log_odds
from streams.alerts.explanation.words import words_of
from streams.alerts.rules.rule import EmotionShare, Measure, SentimentShare
from streams.alerts.storage.stored import MAX_EXAMPLES
from streams.records import ALL_KEYWORDS, AlertPost, AlertWord, ClassifiedPost

MAX_WORDS: Final = 10
SPARE_EXAMPLES: Final = 20
"""Examples that are chosen in place of those that turn out to be erased."""

MIN_WORD_POSTS: Final = 3
"""A word in fewer posts of the incident tells nothing."""

MIN_WORD_SCORE: Final = Z_95

PRIOR_WORDS: Final = 500
"""How many words the prior of the log-odds is worth, at most as many as the smaller of the two corpora has. It keeps
rare words from being the clearest ones."""

MAX_COUNTED: Final = 100_000
"""The most words, texts or authors that are counted at a time. If there are more, the rarest are dropped."""

MAX_CANDIDATES: Final = 200
"""The most posts that are kept, of which the examples are chosen."""

CONCENTRATED: Final = 0.5
"""From this share of the posts on, an explanation says that they are by one author, or have one text."""

_K = TypeVar("_K")


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


def concentration(sameness: Sameness) -> str | None:
    """Returns a sentence if much of the posts is by one author or has one text: `60 of 80 posts are by one author`."""
    if sameness.posts < 2:
        return None
    found = []
    if sameness.of_one_author > 1 and sameness.of_one_author >= CONCENTRATED * sameness.posts:
        found.append(f"are by one author ({sameness.of_one_author:,})")
    if sameness.of_one_text > 1 and sameness.of_one_text >= CONCENTRATED * sameness.posts:
        found.append(f"have the same text ({sameness.of_one_text:,})")
    return f"of {sameness.posts:,} posts, many {' and '.join(found)}" if found else None


class Evidence:
    """Collects posts of one keyword, in bounded memory, and tells what distinguishes those of the incident."""

    def __init__(self, keyword: str, measure: Measure) -> None:
        """Create an empty collection.

        Args:
            keyword: the keyword, whose own words are not counted; `*` for all posts.
            measure: what the rule measures. Examples have its label; of a volume, they have any.
        """
        self._without = frozenset[str]() if keyword == ALL_KEYWORDS else words_of(keyword)
        self._measure = measure
        self._now: _Counts[str] = _Counts()
        self._before: _Counts[str] = _Counts()
        self._posts = 0
        self._authors: _Counts[str] = _Counts()
        self._texts: _Counts[bytes] = _Counts()
        self._candidates: dict[bytes, _Candidate] = {}

    def add(self, post: ClassifiedPost, *, now: bool) -> None:
        """Count a post: of the incident (`now`), or of the time before it. The caller adds each post once."""
        words = frozenset[str]() if post.text is None else words_of(post.text, self._without)
        (self._now if now else self._before).add(words)
        if not now:
            return
        self._posts += 1
        if post.author is not None:
            self._authors.add([post.author])
        same = _digest(post, words)
        if post.text is not None:
            self._texts.add([same])
        confidence = self._confidence(post)
        if confidence is not None:
            self._keep(_Candidate(-confidence, post.created_at.ms, post.id, same, post))

    def words(self, most: int = MAX_WORDS) -> tuple[AlertWord, ...]:
        """Returns the words that the posts of the incident use more often than those before, the clearest first.

        Empty if one of the two has no posts with a text. A word counts once per post, however often the post repeats
        it. So a text that is posted again and again makes its words clear, and `sameness` tells that it does.
        """
        now, before = self._now, self._before
        if not now.total or not before.total:
            return ()
        found = []
        prior = min(PRIOR_WORDS, now.total, before.total)
        for word, posts in now.counts.items():
            if posts >= MIN_WORD_POSTS:
                score = log_odds(posts, now.total, before.counts[word], before.total, prior)
                if score >= MIN_WORD_SCORE:
                    found.append(AlertWord(word, score, posts, before.counts[word]))
        return tuple(sorted(found, key=lambda one: (-one.score, one.word))[:most])

    def examples(self, most: int = MAX_EXAMPLES, show: Callable[[str], str] | None = None) -> tuple[AlertPost, ...]:
        """Returns posts of the incident with the measured label, of distinct texts and authors, the clearest first.

        Posts of the same author follow only if there are too few authors.

        Args:
            most: the most posts.
            show: changes a text before it is shown, such as to cut it.
        """
        first: list[_Candidate] = []
        again: list[_Candidate] = []
        authors: set[str] = set()
        for candidate in sorted(self._candidates.values()):
            author = candidate.post.author
            (again if author is not None and author in authors else first).append(candidate)
            if author is not None:
                authors.add(author)
        chosen = [candidate.post for candidate in (*first, *again)[:most]]
        return tuple(self._shown(post, show) for post in chosen)

    def authors(self) -> dict[str, str]:
        """Returns the known authors of the posts that may be examples, by the ids of the posts."""
        posts = [candidate.post for candidate in self._candidates.values()]
        return {post.id: post.author for post in posts if post.author is not None}

    def sameness(self) -> Sameness:
        """Returns how much of the posts of the incident is by one author, or the same text."""
        return Sameness(self._posts, self._authors.distinct, self._authors.most, self._texts.distinct, self._texts.most)

    def _confidence(self, post: ClassifiedPost) -> float | None:
        """Returns how clearly a post has the measured label; None if it does not have it."""
        measure = self._measure
        if isinstance(measure, SentimentShare):
            if post.sentiment is None or post.sentiment.label != measure.label:
                return None
            return abs(post.sentiment.score)
        if isinstance(measure, EmotionShare) and post.label != measure.label:
            return None
        return post.confidence or 0.0

    def _shown(self, post: ClassifiedPost, show: Callable[[str], str] | None) -> AlertPost:
        is_sentiment = isinstance(self._measure, SentimentShare) and post.sentiment is not None
        return AlertPost(
            post.id,
            post.source,
            post.created_at,
            show(post.text) if show is not None and post.text is not None else post.text,
            post.sentiment.label if is_sentiment and post.sentiment is not None else post.label,
            None if is_sentiment else post.confidence,
            post.url,
        )

    def _keep(self, candidate: _Candidate) -> None:
        known = self._candidates.get(candidate.same)
        if known is not None and known <= candidate:
            return
        self._candidates[candidate.same] = candidate
        if len(self._candidates) > 2 * MAX_CANDIDATES:
            kept = sorted(self._candidates.values())[:MAX_CANDIDATES]
            self._candidates = {one.same: one for one in kept}


class _Candidate(NamedTuple):
    """A post that may be an example. The least is the best."""

    rank: float
    created_at: int
    id: str
    same: bytes
    post: ClassifiedPost


class _Counts(Generic[_K]):
    """Counts in bounded memory. If there are too many, the rarest are dropped, so that rare ones may be too low."""

    def __init__(self) -> None:
        self.counts: Counter[_K] = Counter()
        self.total = 0
        self._dropped = 0
        self._limit = MAX_COUNTED

    def add(self, keys: Iterable[_K]) -> None:
        for key in keys:
            self.counts[key] += 1
            self.total += 1
        rare = 1
        while len(self.counts) > self._limit:
            before = len(self.counts)
            self.counts = Counter({key: count for key, count in self.counts.items() if count > rare})
            self._dropped += before - len(self.counts)
            rare += 1

    @property
    def distinct(self) -> int:
        """The number of keys. A key that was dropped and came again counts twice."""
        return len(self.counts) + self._dropped

    @property
    def most(self) -> int:
        """The largest count."""
        return max(self.counts.values(), default=0)


def _digest(post: ClassifiedPost, words: frozenset[str]) -> bytes:
    """Returns what is the same for posts with the same words, or for the same post if it has none."""
    text = " ".join(sorted(words)) if words else f"\0{post.text if post.text is not None else post.id}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
