"""Finds the keywords of a set in texts. Pure.

The Aho-Corasick automaton finds all keywords in one pass over the folded text, as substrings. Then `edges` decides
which of them are whole words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ahocorasick_rs import AhoCorasick, Implementation

from streams.ingest.keywords.edges import is_whole
from streams.ingest.keywords.folding import fold

_NOT_IN_HASHTAGS = str.maketrans("", "", " -'")
"""What people leave out when they write a keyword of several words as a hashtag."""

_BETWEEN = "\n"
"""Stands between a text and the hashtags that are not in it. A folded text or keyword has no line end."""


class Matcher:
    """Finds keywords in texts. Immutable, and safe to use in several threads.

    Attributes:
        keywords: the keywords, in the order in which they were given.
    """

    def __init__(self, keywords: Iterable[str]) -> None:
        """Build the automaton.

        Args:
            keywords: Keywords as `parse_keyword` returns them. Of those that fold to the same text, the last one is
                found.
        """
        by_fold = {fold(keyword): keyword for keyword in keywords}
        self.keywords = tuple(by_fold.values())
        patterns: dict[str, list[str]] = {}
        for folded, keyword in by_fold.items():
            patterns.setdefault(folded, []).append(keyword)
            hashtag = folded if folded.startswith("#") else f"#{folded}"
            # A hashtag of one word is found as the word in it.
            if (joined := hashtag.translate(_NOT_IN_HASHTAGS)) != hashtag and len(joined) > 1:
                patterns.setdefault(joined, []).append(keyword)
        self._keywords = [tuple(found) for found in patterns.values()]
        # The library's own choice is a table of some 50 MB for 10,000 keywords. This form has some 4 MB, which stay in
        # the caches of a processor that does other work between the texts.
        self._automaton = AhoCorasick(list(patterns), implementation=Implementation.ContiguousNFA)

    def __len__(self) -> int:
        """Returns the number of keywords."""
        return len(self.keywords)

    def find(self, text: str, hashtags: Sequence[str] = ()) -> tuple[str, ...]:
        """Returns the keywords that are in a text or in hashtags, in the order in which they begin, each once.

        Args:
            text: The text as people see it.
            hashtags: Hashtags that may be missing in the text, without `#`.
        """
        folded = f" {fold(text)} "
        for hashtag in hashtags:
            folded += f"{_BETWEEN}#{fold(hashtag)} "
        begins: dict[int, int] = {}
        for pattern, begin, end in self._automaton.find_matches_as_indexes(folded, overlapping=True):
            if pattern not in begins and is_whole(folded, begin, end):
                begins[pattern] = begin
        if not begins:
            return ()
        if len(begins) == 1:
            return self._keywords[next(iter(begins))]
        in_order = sorted(begins, key=begins.__getitem__)
        return tuple(dict.fromkeys([keyword for pattern in in_order for keyword in self._keywords[pattern]]))
