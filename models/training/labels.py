"""The labels of the trained models, and how the labels of each data set map onto them.

The labels of GoEmotions map onto the eight emotions by its authors' grouping into Ekman's six emotions (Demszky et al.
2020, appendix). The exception is `love`, which is a separate emotion here, with `caring` and `desire` (Parrott 2001:
affection, longing). They map onto sentiment by the same authors' grouping; the labels that the authors call ambiguous
have no sentiment.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

EMOTIONS: Final = ("joy", "sadness", "anger", "fear", "love", "surprise", "disgust", "neutral")
SENTIMENTS: Final = ("negative", "neutral", "positive")
SENTIMENT_VALUES: Final = (-1.0, 0.0, 1.0)

# dair-ai/emotion has six of the eight emotions.
SARAVIA: Final[Mapping[str, str]] = MappingProxyType({label: label for label in EMOTIONS[:6]})

# TweetEval emotion (SemEval-2018 task 1) has three of them. Its fourth label, optimism, is joy in GoEmotions' grouping.
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
    """Returns the sentiment of one of GoEmotions' labels; None if the label is ambiguous."""
    if fine in _AMBIGUOUS:
        return None
    if fine == "neutral":
        return "neutral"
    return "negative" if fine in _NEGATIVE else "positive"
