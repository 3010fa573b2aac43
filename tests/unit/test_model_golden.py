"""Golden posts: the model must give the answers that it gave when its package was sealed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.errors import ModelPackageError
from models.package.folder import ModelPackage
from models.package.manifest import Tier
from models.text.golden import check_golden, read_golden, write_golden
from models.text.onnx_classifier import OnnxClassifier
from tests.onnx_files import bag_of_words
from tests.tiny_model import HEADS, WORDS, network, tiny_package, weights

TEXTS = ["buy buy", "hello\u2028 hello", "groß groß groß"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a package without golden posts, and a file of golden posts of its model."""
    classifier = OnnxClassifier.load(tiny_package(tmp_path))
    assert write_golden(classifier, TEXTS, tmp_path / "golden.jsonl") == 3
    return tmp_path


def sealed(folder: Path, content: bytes | None = None) -> ModelPackage:
    return tiny_package(folder, golden="golden.jsonl", networks={"model.onnx": content or network()})


def check(package: ModelPackage) -> int:
    return check_golden(OnnxClassifier.load(package), package)


def edit(folder: Path, line: int, **fields: object) -> None:
    file = folder / "golden.jsonl"
    lines = [json.loads(text) for text in file.read_text("utf-8").split("\n")[:-1]]
    lines[line] |= fields
    file.write_text("".join(json.dumps(post) + "\n" for post in lines))


def test_the_model_that_was_sealed_passes(folder: Path) -> None:
    assert check(sealed(folder)) == 3
    assert [post.text for post in read_golden(folder / "golden.jsonl")] == TEXTS
    assert read_golden(folder / "golden.jsonl")[0].scores["topic"]["spam"] == pytest.approx(0.9951)


def test_a_package_without_golden_posts_has_none_to_check(tmp_path: Path) -> None:
    assert check(tiny_package(tmp_path)) == 0


def test_another_label_is_an_error_that_names_the_post(folder: Path) -> None:
    swapped = bag_of_words({head.output: weights(head, WORDS, 3.0)[:, ::-1].copy() for head in HEADS})
    with pytest.raises(
        ModelPackageError, match=r"golden\.jsonl, line 1 \('buy buy'\): head 'topic' answers 'größer"
    ) as info:
        check(sealed(folder, swapped))
    assert "but answered 'spam' when it was sealed" in str(info.value)


def test_a_changed_probability_is_found_in_any_head(folder: Path) -> None:
    heads = {head.output: weights(head, WORDS, 3.0 if head.name == "topic" else 1.5) for head in HEADS}
    with pytest.raises(
        ModelPackageError, match=r"line 1 .*head 'sentiment' gives 'negative' 0\.9\d\d, but gave 0\.995"
    ):
        check(sealed(folder, bag_of_words(heads)))


def test_a_small_change_of_a_probability_is_allowed(folder: Path) -> None:
    assert check(sealed(folder, network(strength=2.7))) == 3


def test_a_probability_that_is_nan_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = sealed(folder)
    classifier = OnnxClassifier.load(package)
    real = classifier.classify(TEXTS)
    real.probabilities["sentiment"][2, 1] = np.nan
    monkeypatch.setattr(classifier, "classify", lambda texts: real)
    with pytest.raises(ModelPackageError, match=r"line 3 .*head 'sentiment' .*nan"):
        check_golden(classifier, package)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scores": {"topic": {"spam": 1}}}, "has scores for topic; the model's heads are: topic, sentiment"),
        ({"scores": {"topic": {"spam": 1}, "sentiment": {}}}, "has other labels than head 'topic': spam"),
        ({"scores": {"topic": {"spam": 2}}}, "line 2 is not a golden post: scores.topic.spam"),
        ({"text": None}, "line 2 is not a golden post: text"),
        ({"more": 1}, "line 2 is not a golden post: more"),
    ],
)
def test_a_malformed_file_is_reported_in_one_line(folder: Path, fields: dict[str, object], message: str) -> None:
    edit(folder, 1, **fields)
    with pytest.raises(ModelPackageError, match=message) as info:
        check(sealed(folder))
    assert "line 2" in str(info.value)
    assert "\n" not in str(info.value)


def test_an_empty_file_is_an_error(folder: Path) -> None:
    (folder / "golden.jsonl").write_bytes(b"")
    with pytest.raises(ModelPackageError, match="contains no golden posts"):
        check(sealed(folder))


def test_unclear_answers_are_left_out(tmp_path: Path) -> None:
    """The texts have no known words, as many words for one label as for another, or a confidence near a threshold."""
    quick = Tier(name="quick", file="quick.onnx", thresholds={"topic": float(np.e**3 / (np.e**3 + 2)) - 0.01})
    package = tiny_package(
        tmp_path,
        networks={"quick.onnx": network(), "model.onnx": network(strength=2.0)},
        tiers=[quick, Tier(name="full", file="model.onnx")],
    )
    classifier = OnnxClassifier.load(package)
    assert write_golden(classifier, ["", "buy hello", "buy", "buy buy"], tmp_path / "golden.jsonl") == 1
    assert [post.text for post in read_golden(tmp_path / "golden.jsonl")] == ["buy buy"]
    with pytest.raises(ModelPackageError, match="none of the 2 texts a clear answer"):
        write_golden(classifier, ["", "buy hello"], tmp_path / "golden.jsonl")


def test_a_confidence_above_a_threshold_close_to_one_is_kept(tmp_path: Path) -> None:
    quick = Tier(name="quick", file="quick.onnx", thresholds={"topic": 0.99})
    package = tiny_package(
        tmp_path,
        networks={"quick.onnx": network(), "model.onnx": network(strength=2.0)},
        tiers=[quick, Tier(name="full", file="model.onnx")],
    )
    classifier = OnnxClassifier.load(package)
    assert classifier.classify(["buy buy buy", "buy"]).tiers.tolist() == [0, 1]
    assert write_golden(classifier, ["buy buy buy", "buy"], tmp_path / "golden.jsonl") == 2


def test_a_file_that_cannot_be_read_or_written_is_reported_in_one_line(tmp_path: Path) -> None:
    classifier = OnnxClassifier.load(tiny_package(tmp_path))
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelPackageError, match="folder cannot be written: Is a directory"):
        write_golden(classifier, TEXTS, tmp_path / "folder")
    with pytest.raises(ModelPackageError, match="nowhere cannot be read: No such file"):
        read_golden(tmp_path / "nowhere")


def test_texts_are_classified_once_and_by_each_tier_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = OnnxClassifier.load(tiny_package(tmp_path))
    calls: list[str] = []
    for name in ("classify", "classify_with"):
        real = getattr(classifier, name)
        monkeypatch.setattr(classifier, name, lambda *given, name=name, real=real: calls.append(name) or real(*given))
    write_golden(classifier, TEXTS, tmp_path / "golden.jsonl")
    assert sorted(calls) == ["classify", "classify_with"]
