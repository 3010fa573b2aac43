"""The language of any text can be decided, and stays what it is whatever tells no language is added."""

from hypothesis import given
from hypothesis import strategies as st

from models.text.language import UNKNOWN, identify, readable
from models.text.stated_language import language_of, primary

TEXTS = st.text(st.characters(exclude_categories=()), max_size=200)


@given(TEXTS, st.none() | st.text(st.characters(exclude_categories=()), max_size=35))
def test_any_text_and_any_tag_have_a_decision(text, tag):
    found = language_of(text, tag)
    assert found.code.isascii()
    assert found.code.islower()
    assert 2 <= len(found.code) <= 3
    assert 0 <= found.confidence <= 1
    readable(text).encode()


@given(st.text(st.characters(exclude_categories=("L", "M", "Cs")), max_size=40))
def test_a_text_without_letters_has_no_language(text):
    assert identify(text).code == UNKNOWN


@given(
    st.sampled_from(
        ["I love this phone", "ich liebe dieses Telefon", "me encanta este teléfono", "この電話が大好きです"]
    ),
    st.from_regex(r"@[a-z]{1,10} ", fullmatch=True),
    st.from_regex(r" https://[a-z]{1,10}\.example/[a-z]{0,10}", fullmatch=True),
    st.from_regex(r" #[a-z]{1,10}", fullmatch=True),
)
def test_handles_links_and_hashtags_change_nothing(text, handle, link, hashtag):
    assert identify(handle + text + link + hashtag).code == identify(text).code


@given(st.from_regex(r"[a-z]{2}", fullmatch=True), st.from_regex(r"(-[A-Z]{2})?", fullmatch=True))
def test_a_region_does_not_change_the_language(language, region):
    assert primary(language + region) == primary(language)
