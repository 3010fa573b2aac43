"""The labels that models answer with, and how each data set's own labels map onto them.

GoEmotions maps onto the eight emotions by its authors' grouping into Ekman's six (Demszky et al. 2020, appendix), but
for `love`, which is an emotion of its own here, with `caring` and `desire` as its kin (Parrott 2001: affection,
longing). It maps onto sentiment by the same authors' grouping; what they call ambiguous says nothing of sentiment.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

EMOTIONS: Final = ("joy", "sadness", "anger", "fear", "love", "surprise", "disgust", "neutral")
SENTIMENTS: Final = ("negative", "neutral", "positive")
SENTIMENT_VALUES: Final = (-1.0, 0.0, 1.0)

# dair-ai/emotion knows six of the eight.
SARAVIA: Final[Mapping[str, str]] = MappingProxyType({label: label for label in EMOTIONS[:6]})

# TweetEval emotion (SemEval-2018 task 1) knows three; its fourth, optimism, is joy in GoEmotions' grouping too.
TWEET_EVAL: Final[Mapping[str, str]] = MappingProxyType(
    {"anger": "anger", "joy": "joy", "optimism": "joy", "sadness": "sadness"}
)

_GROUPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "joy": (
            *("admiration", "amusement", "approval", "excitement", "gratitude"),
            *("joy", "optimism", "pride", "relief"),
        ),
        "sadness": ("disappointment", "embarrassment", "grief", "remorse", "sadness"),
        "anger": ("anger", "annoyance", "disapproval"),
        "fear": ("fear", "nervousness"),
        "love": ("caring", "desire", "love"),
        "surprise": ("confusion", "curiosity", "realization", "surprise"),
        "disgust": ("disgust",),
        "neutral": ("neutral",),
    }
)
GO_EMOTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {fine: emotion for emotion, group in _GROUPS.items() for fine in group}
)

_AMBIGUOUS: Final = frozenset(_GROUPS["surprise"])
_NEGATIVE: Final = frozenset({*_GROUPS["sadness"], *_GROUPS["anger"], *_GROUPS["fear"], *_GROUPS["disgust"]})


def sentiment_of(fine: str) -> str | None:
    """The sentiment of one of GoEmotions' labels; None for an ambiguous one."""
    if fine in _AMBIGUOUS:
        return None
    if fine == "neutral":
        return "neutral"
    return "negative" if fine in _NEGATIVE else "positive"
