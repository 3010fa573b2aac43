"""The words and the posts that moved a value, and the sentences about it."""

from __future__ import annotations

import pytest

from streams.alerts.engine.summary import closing, opening
from streams.alerts.explanation import evidence as evidence_module
from streams.alerts.explanation.evidence import Evidence, Sameness, concentration
from streams.alerts.explanation.words import MAX_WORD_CHARS, words_of
from streams.alerts.rules.rule import EmotionShare, SentimentShare, Volume
from streams.records import AlertReason, ClassifiedPost, ModelRef, Origin, Sentiment, from_ms
from tests.alert_support import ANGER, T0, rule

BELOW = {"type": "threshold", "limit": 10, "direction": "below"}
ABOVE = {"type": "threshold", "limit": 30}


def post(
    number: int,
    text: str | None,
    *,
    label: str | None = "anger",
    confidence: float | None = 0.9,
    author: str | None = None,
    sentiment: Sentiment | None = None,
) -> ClassifiedPost:
    return ClassifiedPost(
        id=f"p{number}",
        source="test",
        keywords=("coffee",),
        created_at=from_ms(T0 + number),
        text=text,
        author=author,
        label=label,
        confidence=confidence,
        scores={} if label is None or confidence is None else {label: confidence},
        sentiment=sentiment,
        model=ModelRef("m", "1"),
        origin=Origin("posts.raw", 0, number),
        classified_at=from_ms(T0),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Coffee coffee COFFEE, so good!", {"coffee", "so", "good"}),
        ("don’t don't DON'T", {"don't"}),
        ("see https://t.co/abc www.example.com/x @me @me@host.tld e-mail", {"see", "mail"}),
        ("#Recall of 5 a 42 4chan covid19 #Black_Friday", {"recall", "of", "4chan", "covid19", "black", "friday"}),
        ("Straße ＦＵＬＬ", {"strasse", "full"}),
        ("बहुत बुरी कॉफ़ी", {"बहुत", "बुरी", "कॉफ़ी"}),
        ("咖啡很贵", {"咖啡", "啡很", "很贵"}),
        ("貴 です", {"貴", "です"}),
        ("커피가 비싸요", {"커피가", "비싸요"}),
        ("قهوة سيئة", {"قهوة", "سيئة"}),
        ("😡😡 👍🏽", {"😡", "👍"}),
        ("\u202ecof\u200bfee\u202c", {"coffee"}),
        ("x" * (MAX_WORD_CHARS + 1), set()),
        ("", set()),
        ("\ud83d lone", {"lone"}),
    ],
)
def test_words_of_texts_in_any_language(text: str, words: set[str]) -> None:
    assert words_of(text) == {word if word.isascii() else next(iter(words_of(word))) for word in words}
    assert len(words_of(text)) == len(words)


def test_words_without_those_of_the_keyword() -> None:
    assert words_of("iced coffee is cold", words_of("Iced Coffee")) == {"is", "cold"}


def collected(measure: EmotionShare | SentimentShare | Volume = EmotionShare(label="anger")) -> Evidence:  # noqa: B008
    found = Evidence("coffee", measure)
    for number in range(200):
        found.add(post(number, f"coffee in the morning is nice {number % 7}th"), now=False)
    for number in range(60):
        text = f"the price of coffee is a scandal, scandal, says number{number}" if number % 2 else "coffee is nice"
        found.add(post(1_000 + number, text, confidence=0.5 + number / 200, author=f"a{number}"), now=True)
    return found


def test_words_that_are_more_frequent_now_come_first() -> None:
    words = collected().words()
    assert [one.word for one in words[:3]] == ["of", "price", "says"], "equal scores by the alphabet"
    assert {one.word for one in words} == {"of", "price", "says", "scandal"}
    assert all(one.score > 1.96 for one in words)
    assert {(one.word, one.now, one.before) for one in words} >= {("scandal", 30, 0)}, "posts, not repetitions"
    assert [one.word for one in collected().words(most=1)] == ["of"]


def test_there_are_no_words_without_something_to_compare() -> None:
    only_now = Evidence("coffee", Volume())
    only_now.add(post(1, "expensive"), now=True)
    assert only_now.words() == ()
    without_text = Evidence("coffee", Volume())
    for number in range(10):
        without_text.add(post(number, None), now=number > 5)
    assert without_text.words() == ()
    assert [one.text for one in without_text.examples()] == [None] * 4


def test_examples_have_the_label_the_highest_confidence_and_distinct_texts_and_authors() -> None:
    found = Evidence("coffee", EmotionShare(label="anger"))
    for number, (text, label, confidence, author) in enumerate(
        [
            ("so nice", "joy", 0.99, "a"),
            ("awful!", "anger", 0.7, "b"),
            ("AWFUL", "anger", 0.8, "c"),
            ("what a scandal", "anger", 0.9, "d"),
            ("another scandal", "anger", 0.85, "d"),
            ("bad", "anger", 0.6, None),
            ("worse", "anger", 0.5, None),
        ]
    ):
        found.add(post(number, text, label=label, confidence=confidence, author=author), now=True)
    found.add(post(99, "worst of all before", confidence=1.0), now=False)
    shown = found.examples(show=str.upper)
    assert [one.text for one in shown] == ["WHAT A SCANDAL", "AWFUL", "BAD", "WORSE", "ANOTHER SCANDAL"]
    assert [one.id for one in found.examples(most=2)] == ["p3", "p2"]
    assert shown[0].confidence == 0.9


def test_examples_of_a_sentiment_are_the_strongest() -> None:
    found = Evidence("coffee", SentimentShare(label="negative"))
    for number, score in enumerate([-0.2, -0.9, 0.8, None]):
        sentiment = None if score is None else Sentiment("negative" if score < 0 else "positive", score)
        found.add(post(number, f"text {number}a", sentiment=sentiment), now=True)
    assert [(one.id, one.label, one.confidence) for one in found.examples()] == [
        ("p1", "negative", None),
        ("p0", "negative", None),
    ]


def test_examples_of_a_volume_have_any_label_or_none() -> None:
    found = Evidence("*", Volume())
    found.add(post(1, "un texte", label=None, confidence=None), now=True)
    found.add(post(2, "a text", label="joy", confidence=0.4), now=True)
    assert [one.id for one in found.examples()] == ["p2", "p1"]


def test_a_burst_of_one_author_is_visible() -> None:
    found = Evidence("coffee", EmotionShare(label="anger"))
    for number in range(60):
        found.add(post(number, f"Boycott coffee now! https://x.example/{number}", author="one"), now=True)
    for number in range(20):
        found.add(post(100 + number, f"coffee number{number}", author=f"a{number}"), now=True)
        found.add(post(200 + number, f"coffee number{number}", author=f"a{number}"), now=False)
    sameness = found.sameness()
    assert sameness == Sameness(posts=80, authors=21, of_one_author=60, texts=21, of_one_text=60)
    assert concentration(sameness) == "of 80 posts, many are by one author (60) and have the same text (60)"
    assert [one.word for one in found.words()] == ["boycott", "now"]
    assert found.examples()[0].text == "Boycott coffee now! https://x.example/0"
    assert len({one.text for one in found.examples()}) == 5


@pytest.mark.parametrize(
    ("sameness", "sentence"),
    [
        (Sameness(0, 0, 0, 0, 0), None),
        (Sameness(1, 1, 1, 1, 1), None),
        (Sameness(80, 60, 39, 70, 5), None),
        (Sameness(80, 60, 40, 70, 5), "of 80 posts, many are by one author (40)"),
        (Sameness(80, 80, 1, 2, 60), "of 80 posts, many have the same text (60)"),
    ],
)
def test_a_sentence_about_sameness(sameness: Sameness, sentence: str | None) -> None:
    assert concentration(sameness) == sentence


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_module, "MAX_COUNTED", 100)
    monkeypatch.setattr(evidence_module, "MAX_CANDIDATES", 10)
    found = Evidence("coffee", EmotionShare(label="anger"))
    for number in range(1_000):
        found.add(post(number, f"often w{number}x", confidence=number / 1_000, author=f"a{number}"), now=True)
        found.add(post(number, f"rarely v{number}x"), now=False)
    assert len(found._now.counts) <= 100
    assert len(found._texts.counts) <= 100
    assert len(found._candidates) <= 20
    assert found.sameness()[:2] == (1_000, 1_000)
    assert [one.id for one in found.examples(most=2)] == ["p999", "p998"]
    assert [one.word for one in found.words()] == ["often"]


def reason(value: float, *, usual: float | None = None, limit: float = 30, posts: int = 320) -> AlertReason:
    return AlertReason(
        value=value, low=value * 0.9, high=value * 1.1, posts=posts, limit=limit, usual=usual, summary=""
    )


def in_brackets(sentence: str) -> str:
    """Returns a sentence with visible marks of what is isolated."""
    return sentence.replace("\u2068", "<").replace("\u2069", ">")


VOLUME_ABOVE, SHARE_ABOVE = rule(ABOVE), rule(ABOVE, ANGER, window_s=300)
SENTIMENT = {"of": "sentiment", "label": "negative"}


@pytest.mark.parametrize(
    ("one", "keyword", "given", "sentence"),
    [
        (
            SHARE_ABOVE,
            "coffee",
            reason(41, usual=12),
            "<anger> rose to 41 % of 320 posts about <coffee> in 5m "
            "(usual at this hour: 12 %, interval 36.9 to 45.1 %)",
        ),
        (
            SHARE_ABOVE,
            "*",
            reason(41, posts=1),
            "<anger> is 41 % of 1 post in 5m, above the limit of 30 % (interval 36.9 to 45.1 %)",
        ),
        (
            rule(BELOW, SENTIMENT),
            "tea",
            reason(4, limit=10),
            "<negative> sentiment is 4 % of 320 posts about <tea> in 1m, "
            "below the limit of 10 % (interval 3.6 to 4.4 %)",
        ),
        (
            rule({"type": "change", "by": 5, "direction": "below"}, SENTIMENT),
            "tea",
            reason(4, usual=12),
            "<negative> sentiment fell to 4 % of 320 posts about <tea> in 1m "
            "(usual at this hour: 12 %, interval 3.6 to 4.4 %)",
        ),
        (
            VOLUME_ABOVE,
            "coffee",
            reason(9_000, usual=0.5),
            "the number of posts about <coffee> rose to 9,000 in 1m (usual at this hour: 0.5, interval 8,100 to 9,900)",
        ),
        (
            rule(BELOW),
            "coffee",
            reason(0, limit=10),
            "the number of posts about <coffee> is 0 in 1m, below the limit of 10 (interval 0 to 0)",
        ),
    ],
)
def test_what_happened_in_a_sentence(one: object, keyword: str, given: AlertReason, sentence: str) -> None:
    assert in_brackets(opening(one, keyword, given)) == sentence  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("because", "value", "sentence"),
    [
        ("cleared", 14.0, "the share of <anger> about <coffee> is back at 14 %"),
        ("cleared", None, "the share of <anger> about <coffee> is back"),
        (
            "no data",
            None,
            "the share of <anger> about <coffee> has had no data for too long, so the incident was closed",
        ),
        (
            "the rule was changed",
            None,
            "the share of <anger> about <coffee> is no longer watched as before, because the rule was changed",
        ),
    ],
)
def test_how_it_ended_in_a_sentence(because: str, value: float | None, sentence: str) -> None:
    assert in_brackets(closing(SHARE_ABOVE, "coffee", because, value)) == sentence


@pytest.mark.parametrize("text", ["\u202eevil\u202c", "\u2066left open", "two\nlines", "קפה", "\u2069\u2069out"])
def test_a_keyword_cannot_leave_its_isolate(text: str) -> None:
    shown = closing(SHARE_ABOVE, text, "cleared", None).rpartition(" about ")[2].removesuffix(" is back")
    assert (shown[0], shown[-1]) == ("\u2068", "\u2069")
    assert not {*shown[1:-1]} & {*"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\n"}
