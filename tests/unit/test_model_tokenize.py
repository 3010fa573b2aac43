"""A tokenizer that fails on posts, or cannot cut them, is refused when it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from models.errors import ModelPackageError
from models.package.folder import ModelPackage
from models.text import tokenize
from models.text.tokenize import TextEncoder
from tests.tiny_model import tiny_package

WORDS = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "hello": 4}


def package(folder: Path, tokenizer: Tokenizer, max_tokens: int = 16) -> ModelPackage:
    made = tiny_package(folder, max_tokens=max_tokens)
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(made.tokenizer_file))
    return made


def framed(special: str = "[CLS] $A [SEP]", end: int = 3) -> Tokenizer:
    """Returns a tokenizer that adds special tokens to each text."""
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.post_processor = TemplateProcessing(single=special, special_tokens=[("[CLS]", 2), ("[SEP]", end)])
    return tokenizer


@pytest.mark.parametrize(("special", "count"), [("[CLS] $A [SEP]", 2), ("[CLS] [CLS] $A [SEP]", 3)])
def test_special_tokens_must_leave_room_for_text(tmp_path: Path, special: str, count: int) -> None:
    """If all tokens are special ones, no text is left. If there are even more, the tokenizer does not cut texts."""
    for few in range(2, count + 1):
        message = (
            rf"tokenizer\.json adds {count} special tokens to each text, but max_tokens is {few}; it must be larger"
        )
        with pytest.raises(ModelPackageError, match=message):
            TextEncoder(package(tmp_path / str(few), framed(special), few))
    encoder = TextEncoder(package(tmp_path / "enough", framed(special), count + 1))
    ((_, [ids]),) = encoder.encode(["hello " * 50])
    assert len(ids) == count + 1
    assert 4 in ids


def test_a_tokenizer_that_fails_on_unknown_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ModelPackageError, match=r"tokenizer\.json fails on a text of unknown words: .*Missing \[UNK\] token"
    ):
        TextEncoder(package(tmp_path, Tokenizer(WordLevel({"hello": 0}))))


def test_the_highest_id_is_known(tmp_path: Path) -> None:
    assert TextEncoder(package(tmp_path / "words", framed())).tokens.highest == 4
    assert TextEncoder(package(tmp_path / "special", framed(end=9))).tokens.highest == 9, "an id that no word has"
    added = framed()
    added.add_tokens(["extra"])
    assert TextEncoder(package(tmp_path / "added", added)).tokens.highest == 5


class PanicException(BaseException):
    """Has the name of pyo3's exception, which cannot be imported."""


@pytest.mark.parametrize(("raised", "seen"), [(PanicException, RuntimeError), (KeyboardInterrupt, KeyboardInterrupt)])
def test_a_panic_on_a_text_is_an_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: type[BaseException], seen: type[BaseException]
) -> None:
    """So the classify stage can dead-letter the text. The panic itself would end the worker."""
    encoder = TextEncoder(package(tmp_path, framed()))

    class Panicking:
        def encode_batch_fast(self, texts: list[str]) -> None:
            raise raised("index out of bounds")

    monkeypatch.setattr(encoder, "_tokenizer", Panicking())
    with pytest.raises(seen, match="index out of bounds"):
        list(encoder.encode(["hello"]))


@pytest.mark.parametrize(
    ("call", "problem"), [("from_file", "is not a tokenizer"), ("encode_batch_fast", "fails on a")]
)
def test_a_panic_while_loading_is_an_error_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, problem: str
) -> None:
    made = package(tmp_path, framed())

    def panic(*_arguments: object) -> None:
        raise PanicException("index out of bounds")

    loaded = Tokenizer.from_file(str(made.tokenizer_file))

    class Panicking:
        from_file = staticmethod(panic if call == "from_file" else lambda _file: Panicking())
        encode_batch_fast = staticmethod(panic)

        def __getattr__(self, name: str) -> object:
            return getattr(loaded, name)

    monkeypatch.setattr(tokenize, "Tokenizer", Panicking)
    with pytest.raises(ModelPackageError, match=rf"tokenizer\.json {problem}.*: the tokenizer panicked: index out"):
        TextEncoder(made)
