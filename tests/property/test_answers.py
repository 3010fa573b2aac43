"""Every text gets exactly one answer, in order, from the model that reads its language, whatever the others do."""

from collections.abc import Sequence
from unittest.mock import patch

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.classifier import Classification
from models.package.manifest import Head
from models.text.language import Language
from models.text.model_set import ModelSet
from streams.classification import texts as module
from streams.classification.predictions import Prediction
from streams.classification.texts import Failed, classify_texts

CODES = ("en", "es", "hi", "pt", "und", "mis", "fr")


class Echo:
    """A model whose answer to text number n has the confidence n / 1,000. It fails on the texts that it is told."""

    version = "1.0.0"
    heads = (Head(name="mood", labels=("a", "b"), output="mood"),)

    def __init__(self, name: str, languages: Sequence[str], bad: frozenset[int] = frozenset()) -> None:
        self.name, self.languages, self.bad = name, languages, bad

    def classify(self, texts: Sequence[str]) -> Classification:
        numbers = [0 if text == module._PROBE_TEXT else int(text) for text in texts]
        if not self.bad.isdisjoint(numbers):
            raise RuntimeError(f"{self.name} fell over")
        first = np.array(numbers, np.float32)[:, None] / 1_000
        return Classification({"mood": np.hstack([first, 1 - first])}, np.zeros(len(texts), np.intp))


# Each text has a language, and may be one that its model cannot classify.
BATCHES = st.lists(st.tuples(st.sampled_from(CODES), st.booleans()), max_size=30)


@given(BATCHES)
def test_every_text_gets_the_answer_of_its_model(batch):
    numbered = list(enumerate(batch, start=1))
    bad = frozenset(number for number, (_, fails) in numbered if fails)
    main = Echo("main", ["en", "fr"], bad)
    iberian, hindi = Echo("iberian", ["es", "pt"], bad), Echo("hindi", ["*"], bad)
    models = ModelSet(main, {"es": iberian, "pt": iberian, "hi": hindi})
    of_code = {"en": main, "fr": main, "und": main, "es": iberian, "pt": iberian, "hi": hindi, "mis": None}

    with patch.object(module, "language_of", lambda _text, stated: Language(stated, 1.0)):
        found = classify_texts(models, [str(number) for number, _ in numbered], [code for _, (code, _) in numbered])

    assert [each.language.code for each in found] == [code for code, _ in batch]
    for (number, (code, fails)), each in zip(numbered, found, strict=True):
        model = of_code[code]
        if model is None:
            assert (each.found.name, each.found.tier) == ("main", "unsupported")
        elif fails:
            assert each.found == Failed(f"RuntimeError: {model.name} fell over")
        else:
            assert isinstance(each.found, Prediction)
            assert each.found.model.name == model.name
            assert each.found.scores["a"] == number / 1_000
