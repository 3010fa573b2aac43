"""The language of a post: rules, normalisation, and what a source states."""

import pytest

from models.text.hindi_words import CLEAR, SHARED
from models.text.language import (
    ENGLISH,
    MAX_CHARS,
    UNCODED,
    UNKNOWN,
    Language,
    decide,
    hindi_share,
    identify,
    knows,
    readable,
)
from models.text.stated_language import language_of, primary

HINGLISH = "yaar battery do ghante mein khatam, bilkul bakwas phone hai"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("@ana look https://a.example/x?y=1 now", "look now"),
        ("@ana.bsky.social and @bo@mastodon.example: hi", "and : hi"),
        ("so happy #blessed #día", "so happy"),
        ("lol idk what, smh!", "what,"),
        ("nooooo waaaay", "noo waay"),
        ("salt &amp; pepper", "salt & pepper"),
        ("I h\u200ba\u200bt\u200be it \ud800", "I hate it"),
        ("write to me@mail.example", "write to me@mail.example"),
    ],
)
def test_what_tells_no_language_is_removed(text, left):
    assert readable(text).split() == left.split()


@pytest.mark.parametrize(
    "text",
    [
        "this game is f***ing sick, cannot stop playing",
        "ok that was unexpected",
        "nah fam u trippin",
        "@user I love my new phone 😍😍 https://t.co/abc #happy",
        "WHY IS THE BATTERY DEAD AGAIN",
        "I love biryani bhai",
        "this phone is amazing yaar, loved it",
        "great!",
    ],
)
def test_english_is_english(text):
    assert identify(text).code == ENGLISH


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (HINGLISH, "hi"),
        ("bhai kya phone hai, mast!", "hi"),
        ("bro esto está so annoying, no puedo más con este phone", "es"),
        ("Ich bin so done mit diesem update, echt nervig", "de"),
        ("c'est vraiment too much, j'en peux plus de ce bug lol", "fr"),
        ("omg ang ganda ng bagong phone, super love it", "tl"),
        ("手机好用吗", "zh"),
        ("好", "zh"),
        ("यह फ़ोन बहुत अच्छा है", "hi"),
        ("@usuario me encanta este teléfono 😍 https://t.co/abc #android", "es"),
        ("Kuzoba nemibukiso nezingoma ezivela kulo lonke izwe", UNCODED),
    ],
)
def test_other_languages_and_mixed_posts_are_not_english(text, code):
    assert identify(text).code == code


@pytest.mark.parametrize(
    "text", ["", "   ", "😂😂😂", "12:30", "@user https://t.co/x", "lol smh", "ok", "#día", "\ud800"]
)
def test_a_text_that_tells_nothing_has_no_language(text):
    assert identify(text) == Language(UNKNOWN, 0.0)


def test_only_the_first_characters_are_read():
    english = "I love this phone, and I use it every single day. "
    assert identify(english * 100 + "你好" * 1_000) == identify((english * 100)[:MAX_CHARS])


@pytest.mark.parametrize(
    ("best", "score", "english", "characters", "code"),
    [
        ("en", 0.9, 0.9, 100, "en"),
        ("en", 0.61, 0.61, 100, UNCODED),  # too low for a long English text
        ("en", 0.61, 0.61, 60, "en"),
        ("es", 0.85, 0.8, 100, "es"),
        ("es", 0.85, 0.8, 15, UNKNOWN),  # too little of a lead for a short text
        ("es", 0.85, 0.5, 15, "es"),
        ("zu", 0.3, 0.29, 100, UNCODED),
        ("zh", 0.97, 0.0, 1, "zh"),
    ],
)
def test_short_texts_need_a_larger_lead(best, score, english, characters, code):
    assert decide(best, score, english, characters) == Language(code, score)


def test_hindi_words_need_a_clear_one():
    assert hindi_share("the main par") == 0
    assert hindi_share("kya main") == 1
    assert not CLEAR & SHARED


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("en", "en"),
        ("EN-us", "en"),
        ("pt_BR", "pt"),
        (" zh-Hant-TW ", "zh"),
        ("iw", "he"),
        ("eng", "en"),
        ("fil", "tl"),
        ("hi-Latn", "hi"),
        ("und", None),
        ("zxx", None),
        ("qme", None),
        ("x-own", None),
        ("xx", None),
        ("englisch", None),
        ("en--us", None),
        ("", None),
        (None, None),
        ("\0", None),
    ],
)
def test_the_primary_subtag_of_a_tag(tag, code):
    assert primary(tag) == code


@pytest.mark.parametrize(
    ("text", "stated", "code"),
    [
        (HINGLISH, "en", "hi"),
        ("Me encanta este teléfono nuevo", "en", "es"),
        ("I love this phone so much", "es", "en"),
        ("I love this phone so much", "ga", "en"),
        ("I love this phone so much", "en-GB", "en"),
        ("lol", "es", "es"),
        ("lol", "en", "en"),
        ("😂😂", "es", UNKNOWN),
        ("Jeg elsker denne telefonen, den er helt fantastisk", "nb", "nb"),
        ("Bhí cosc air staidéar a dhéanamh sa bhaile", "ga", "ga"),
        ("Saya suka sekali ponsel baru ini", "id", "id"),
        ("ok that was unexpected", "qme", "en"),
        ("ok that was unexpected", None, "en"),
    ],
)
def test_the_stated_language_counts_unless_the_text_contradicts_it(text, stated, code):
    assert language_of(text, stated).code == code


def test_a_stated_language_that_nothing_supports_has_no_confidence():
    assert language_of("lol", "es") == Language("es", 0.0)
    assert language_of("I love this phone so much", "en").confidence > 0.8


def test_the_identifier_knows_english_and_not_zulu():
    assert knows(ENGLISH)
    assert not knows("zu")
