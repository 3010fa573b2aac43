"""The comparison of models: timing in rounds, medians, ratios, and equal answers in every round."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks import bench_frontier, distilbert
from benchmarks.frontier import EMOTION_MIX, EQUAL_MIX, Contender, Frontier, markdown, mixture
from benchmarks.frontier_plot import plot
from models.errors import ModelError
from models.text.onnx_classifier import OnnxClassifier
from models.training import speed
from models.training.data import SETS
from models.training.speed import BATCH, Speed, measure, served, spread
from tests.onnx_files import bag_of_words
from tests.tiny_model import WORDS, save_tokenizer, tiny_package

LINES = {
    "emotion": "good\tjoy\nbad\tsadness\n",
    "goemotions": "a\tgood\tjoy\n",
    "tweets-emotion": "good\tjoy\n",
    "tweets-sentiment": "good\tpositive\nbad\tnegative\nbad\tneutral\n",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for data_set in SETS:
        file = tmp_path / "data" / data_set.validation
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(LINES[data_set.name], encoding="utf-8")
    return tmp_path / "data"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The work folder, with a small network in place of the DistilBERT."""
    weights = np.zeros((len(WORDS) + 2, 6), np.float32)
    weights[5, 1] = weights[6, 0] = 1  # bad is sadness, good is joy
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "distilbert-int8.onnx").write_bytes(bag_of_words({"logits": weights}))
    return folder


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    save_tokenizer(tmp_path / "tokenizer.json")
    return Tokenizer.from_file(str(tmp_path / "tokenizer.json"))


def bench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(bench_frontier.main, [str(argument) for argument in arguments])


def test_contestants_alternate_and_the_median_round_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    # After the warm-up, each answer of a contestant takes the next of its seconds.
    answered: list[str] = []
    seconds = {"a": iter([1.0, 8.0, 2.0]), "b": iter([4.0, 5.0, 40.0])}
    now = 0.0

    def contestant(name: str) -> Any:
        def answer(texts: Sequence[str]) -> NDArray[np.intp]:
            nonlocal now
            answered.append(name)
            now += 0 if len(answered) <= 2 else next(seconds[name])
            return np.zeros(len(texts), np.intp)

        return answer

    monkeypatch.setattr(speed.time, "perf_counter", lambda: now)
    monkeypatch.setattr(speed.time, "process_time", lambda: now / 2)
    calls = itertools.count()
    found = measure({name: contestant(name) for name in "ab"}, ["x"] * 40, 3, lambda: next(calls))
    assert answered == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert next(calls) == len(answered)
    assert found["a"] == Speed(posts=40, rounds=3, per_second=20, slowest=5, fastest=40, cpu_us=25_000)
    assert found["b"] == Speed(posts=40, rounds=3, per_second=8, slowest=1, fastest=10, cpu_us=62_500)


def test_other_answers_in_a_later_round_are_an_error() -> None:
    count = itertools.count()
    with pytest.raises(ModelError, match="fickle gave other answers in round 2"):
        measure({"fickle": lambda texts: np.full(len(texts), next(count) // 2)}, ["x"], 2)


@pytest.mark.parametrize(("texts", "rounds"), [([], 1), (["x"], 0)])
def test_without_texts_or_rounds_there_is_an_error(texts: list[str], rounds: int) -> None:
    with pytest.raises(ValueError, match="at least one text and one round"):
        measure({}, texts, rounds)


def test_a_package_is_timed_as_a_worker_calls_it(tmp_path: Path) -> None:
    classifier = OnnxClassifier.load(tiny_package(tmp_path / "tiny"))
    answers = served(classifier)(["buy", "hello"] * BATCH)
    assert answers.tolist() == [0, 1] * BATCH


def test_texts_are_spread() -> None:
    assert spread(["a", "b"], 5) == ["a", "b"]
    assert spread([str(i) for i in range(101)], 3) == ["0", "50", "100"]


def test_a_mixture_has_equally_many_texts_of_each_set() -> None:
    sets = [[f"{name}{i}" for i in range(size)] for name, size in (("a", 100), ("b", 10), ("c", 30))]
    assert mixture(sets, 9) == ["a0", "b0", "c0", "a33", "b3", "c10", "a66", "b6", "c20"]
    assert len(mixture(sets, 1000)) == 30
    assert mixture([["a"], []], 10) == []


@pytest.mark.parametrize("by_length", [False, True])
def test_the_reference_answers_in_the_order_of_the_texts(work: Path, tokenizer: Tokenizer, by_length: bool) -> None:
    file = work / "distilbert-int8.onnx"
    reference = distilbert.DistilBert(file, tokenizer, threads=1, max_tokens=16, by_length=by_length)
    # More texts than a worker passes in a call, of many lengths.
    labels = [(i * 7) % 2 for i in range(BATCH + 100)]
    texts = [" ".join([("good", "bad")[label]] * (1 + i % 11)) for i, label in enumerate(labels)]
    assert reference(texts).tolist() == labels


def test_sorting_by_length_saves_padding(work: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(["good"] * (1 + i % 16)) for i in range(128)]
    tokens = {}
    for by_length in (False, True):
        reference = distilbert.DistilBert(
            work / "distilbert-int8.onnx", tokenizer, threads=1, max_tokens=16, by_length=by_length
        )
        run, padded = reference._network.run, []

        def counted(ids: Any, run: Any = run, padded: list[int] = padded) -> Any:
            padded.append(len(ids) * max(map(len, ids)))
            return run(ids)

        monkeypatch.setattr(reference._network, "run", counted)
        reference(texts)
        assert len(padded) == 4
        tokens[by_length] = sum(padded)
    assert tokens == {False: 4 * 32 * 16, True: 32 * (4 + 8 + 12 + 16)}


def speeds(per_second: float) -> dict[str, Speed]:
    return {mix: Speed(1000, 5, per_second, per_second / 2, per_second * 2, 1e6 / per_second) for mix in MIXES}


MIXES = (EMOTION_MIX, EQUAL_MIX)
FRONTIER = Frontier(
    machine={"CPU": "some", "cores": 2},
    threads=1,
    posts=dict.fromkeys(MIXES, 1000),
    contenders=(
        Contender("mini 2.0.0", 16_900_000, {"emotion": 0.9344, "goemotions": 0.65}, False, speeds(2000)),
        Contender("DistilBERT", 68_000_000, {"emotion": 0.927}, True, speeds(250)),
    ),
    reference="DistilBERT",
)


def test_markdown() -> None:
    text = markdown(FRONTIER)
    assert "| mini 2.0.0 | 16.9 | 93.44 | 65.00 | - | 2,000 | 8.00x | 2,000 | 8.00x |" in text
    assert "| DistilBERT | 68.0 | 92.7 (published) | - | - | 250 | 1.00x | 250 | 1.00x |" in text
    assert "| mini 2.0.0 | 2,000 | 1,000 | 4,000 | 8.00x | 500 | 8.00x |" in text
    assert "1 thread, 5 interleaved rounds, tokenisation included; ratios are to DistilBERT; CPU some, cores 2." in text


def test_without_a_reference_there_are_no_ratios() -> None:
    alone = Frontier(FRONTIER.machine, 2, FRONTIER.posts, FRONTIER.contenders[:1], None)
    assert "| mini 2.0.0 | 16.9 | 93.44 | 65.00 | - | 2,000 | - | 2,000 | - |" in markdown(alone)
    assert alone.to_dict()["contenders"][0]["ratios"][EMOTION_MIX] == {"wall": None, "cpu": None}


def test_the_chart_is_a_png(tmp_path: Path) -> None:
    plot(FRONTIER, tmp_path / "new" / "frontier.png")
    assert (tmp_path / "new" / "frontier.png").read_bytes().startswith(b"\x89PNG")


def test_the_complete_comparison(data: Path, work: Path, tmp_path: Path) -> None:
    candidates = [tiny_package(tmp_path / name).path for name in ("one", "two")]
    files = {name: tmp_path / "out" / name for name in ("f.json", "f.md", "f.png")}
    result = bench(
        *("--data", data, "--candidates", candidates[0], "--candidates", candidates[1], "--work", work),
        *("--posts", 8, "--rounds", 2),
        *("--json", files["f.json"], "--markdown", files["f.md"], "--plot", files["f.png"]),
    )
    assert result.exit_code == 0, result.output
    assert files["f.md"].read_text("utf-8") in result.output
    found = json.loads(files["f.json"].read_text("utf-8"))
    assert found["posts"] == {EMOTION_MIX: 2, EQUAL_MIX: 4}
    names = [contender["name"] for contender in found["contenders"]]
    assert names == [
        *(f"tiny 1.0.0 ({path})" for path in candidates),
        bench_frontier.REFERENCE,
        bench_frontier.REFERENCE_BY_LENGTH,
    ]
    tiny, *_, reference = found["contenders"]
    # The package has a head `topic` instead of `emotion`. Its recalls of the sentiments are 1, 0 and 1.
    assert tiny["figures"] == {"emotion": None, "goemotions": None, "tweets-sentiment": pytest.approx(2 / 3)}
    assert reference["figures"] == {"emotion": 0.927}
    assert found["contenders"][2]["ratios"][EQUAL_MIX] == {"wall": 1, "cpu": 1}
    assert files["f.png"].read_bytes().startswith(b"\x89PNG")


def test_without_the_library_onnx_only_packages_are_measured(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(_file: Path) -> None:
        raise ModuleNotFoundError("No module named 'onnx'", name="onnx")

    monkeypatch.setattr(distilbert, "build", build)
    package = tiny_package(tmp_path / "tiny").path
    result = bench("--data", data, "--candidates", package, "--work", tmp_path, "--posts", 8, "--rounds", 1)
    assert result.exit_code == 0, result.output
    assert "DistilBERT is not measured: building it needs onnx" in result.stderr
    assert "| tiny 1.0.0 |" in result.stdout


def test_without_data_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench_frontier, "DEFAULT_DATA", tmp_path / "none")
    result = bench()
    assert (result.exit_code, result.output.count("\n")) == (0, 1)
    assert "--data DATA" in result.output


def test_a_set_without_posts_is_one_line(data: Path, work: Path) -> None:
    (data / SETS[1].validation).write_text("", encoding="utf-8")
    result = bench("--data", data, "--work", work)
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert "the validation split has no posts in goemotions" in result.output


def test_a_wrong_candidate_is_one_line(data: Path, tmp_path: Path) -> None:
    result = bench("--data", data, "--candidates", tmp_path / "none")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert "no model package at" in result.output
    result = bench("--data", tmp_path / "none")
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
