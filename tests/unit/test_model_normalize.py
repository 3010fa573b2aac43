"""Text normalisation: models/normalize_*.json define what each version does. A version never changes."""

import html
import json
import time
import unicodedata
from pathlib import Path

import emoji
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.text import normalize as module
from models.text.normalize import NORMALIZATION_ID, NORMALIZERS, normalize

VERSION = "v2"
GOLDEN = json.loads((Path(__file__).parent / "models" / f"normalize_{VERSION}.json").read_text(encoding="utf-8"))


def test_the_golden_file_is_that_of_the_current_version():
    assert NORMALIZATION_ID == VERSION


@pytest.mark.parametrize("case", GOLDEN, ids=[case["what"] for case in GOLDEN])
def test_golden(case):
    assert NORMALIZERS[VERSION](case["text"]) == case["normal"]


@given(st.text(st.characters(codec=None), max_size=200))
def test_any_text_becomes_plain_one_line_utf8(text):
    normal = normalize(text)
    normal.encode("utf-8")
    assert normal == " ".join(normal.split())
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in normal)


def with_every_step(text: str) -> str:
    """Returns what `normalize` does by its docstring, without the checks whether a step is needed."""
    text = module._ESCAPED.sub(lambda escapes: str(json.loads(f'"{escapes[0]}"')), text)
    text = unicodedata.normalize("NFC", module.INVISIBLE.sub("", html.unescape(text))).translate(module._PLAIN)
    text = module.HANDLE.sub("@user", module.LINK.sub("http", text))
    text = emoji.replace_emoji(module._SKIN_TONE.sub("", text), module._name)
    text = module._REPEATED_NAME.sub("\\1\0", text).replace("\0", " ")
    return " ".join(module._ELONGATED.sub(r"\1\1", text).split())


# What the steps search for, complete and in parts, in any mix of case.
SIGNS = "aAbBsSkK\u017f\u212a\u0301\u037e\u2019\u2026 .@/\t\x00\u200b\U0001f642"
PIECES = [
    "http://a",
    "HTTPS://b",
    "www.a",
    "wWw.",
    "pic.twitter.com/",
    "t.co/b",
    "@a",
    "&amp;",
    "&#64;",
    "&#8203;",
    "sss",
]
PIECES += [r"\u2019", r"\ud83d\ude42", r"\u0040b", "&rsquo;", "&hellip;"]


@given(st.lists(st.sampled_from(PIECES) | st.text(SIGNS, max_size=6), max_size=12))
def test_a_step_is_only_left_out_where_it_does_nothing(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert normalize(text) == with_every_step(text)


@pytest.mark.parametrize(
    "text",
    ["@" * 50_000, "@a." * 20_000, "@a@" * 20_000, "a" * 50_000, "&amp" * 20_000, "&" * 50_000, "http://" * 10_000],
    ids=["at signs", "dotted handles", "handle chains", "letters", "entities", "ampersands", "links"],
)
def test_hostile_repetition_takes_linear_time(text):
    """Four times the text takes about four times the processor time; a quadratic expression takes 16 times as much."""

    def cost(repeated: str) -> float:
        costs = []
        for _ in range(5):
            begin = time.thread_time()
            normalize(repeated)
            costs.append(time.thread_time() - begin)
        return min(costs)

    part = text[: len(text) // 4]
    assert cost(text) < 8 * cost(part) + 0.001
