"""`emostream evaluate`: what it prints and writes, and its error messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from models.errors import ModelNotFoundError, ModelPackageError
from models.package.manifest import CARD
from models.training.errors import TrainingError
from streams.cli import evaluate as command
from streams.errors import EmostreamError, InputError
from streams.ops import evaluate
from tests.tiny_model import SENTIMENT, tiny_package


@pytest.fixture
def package(tmp_path: Path) -> str:
    return str(tiny_package(tmp_path / "tiny", heads=(SENTIMENT,)).path)


@pytest.fixture
def data(tmp_path: Path) -> str:
    file = tmp_path / "data" / "tweets" / "sentiment_validation.tsv"
    file.parent.mkdir(parents=True)
    file.write_text("good\tpositive\nbad\tnegative\ngroß\tneutral\nhello\tneutral\n", encoding="utf-8")
    file.with_name("sentiment_test.tsv").write_text("bad\tnegative\n", encoding="utf-8")
    return str(tmp_path / "data")


def invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(command.evaluate_command, list(arguments), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def as_json(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(invoke(*arguments, "--json").stdout)
    return found


def test_tables_for_people(package: str, data: str) -> None:
    result = invoke("--package", package, "--data", data, "--rounds", "2")
    assert "tiny 1.0.0, validation" in result.stdout
    assert "tweets-sentiment" in result.stdout
    assert "posts/s on 1 thread (median of 2;" in result.stdout
    assert max(map(len, result.stdout.splitlines()[:-1])) <= 80
    # Each data set that is missing is named.
    assert result.stderr.count("left out: ") == 3
    assert "emotion/validation.tsv does not exist" in result.stderr


def test_the_json_document(package: str, data: str) -> None:
    found = as_json("--package", package, "--data", data, "--rounds", "1", "--threads", "2")
    (score,) = found["scores"]
    assert (score["name"], score["rows"], score["accuracy"]) == ("tweets-sentiment", 4, 0.75)
    assert score["confusion"] == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert set(found["skipped"]) == {"emotion", "goemotions", "tweets-emotion"}
    assert found["bytes"] > 0
    assert found["speed"]["threads"] == 2
    assert found["speed"]["posts"] == 4
    assert as_json("--package", package, "--data", data, "--rounds", "0")["speed"] is None


def test_another_split(package: str, data: str) -> None:
    found = as_json("--package", package, "--data", data, "--split", "test", "--rounds", "0")
    assert (found["split"], found["scores"][0]["rows"]) == ("test", 1)


def test_texts_of_the_user(package: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.tsv"
    file.write_text("good\tpositive\nbad\tpositive\n", encoding="utf-8")
    found = as_json("--package", package, "--file", str(file), "--head", "sentiment", "--rounds", "0")
    assert (found["split"], found["scores"][0]["name"], found["scores"][0]["accuracy"]) == ("mine.tsv", "mine", 0.5)


def test_plots_and_a_card(package: str, data: str, tmp_path: Path) -> None:
    result = invoke(
        *("--package", package, "--data", data, "--rounds", "0", "--plots", str(tmp_path / "plots")),
        *("--card", str(tmp_path)),
    )
    assert [file.name for file in (tmp_path / "plots").iterdir()] == ["tweets-sentiment.png"]
    assert (tmp_path / CARD).read_text("utf-8").startswith("# tiny 1.0.0")
    assert "drew 1 confusion matri" in result.stderr
    assert f"wrote {tmp_path / CARD}" in result.stderr.replace("\n", "")


def test_the_bundled_model_is_the_default(tmp_path: Path) -> None:
    folder = tmp_path / "emotion"
    folder.mkdir()
    (folder / "validation.tsv").write_text("i feel so happy and delighted today\tjoy\n", encoding="utf-8")
    found = as_json("--data", str(tmp_path), "--set", "emotion", "--rounds", "0")
    assert found["scores"][0]["accuracy"] == 1


def test_a_card_is_not_written_into_a_package(package: str, data: str) -> None:
    before = Path(package, CARD).read_bytes()
    for target in (package, f"{package}/{CARD}", f"{package}/other.md"):
        with pytest.raises(InputError, match="is a sealed package"):
            invoke("--package", package, "--data", data, "--card", target)
    assert Path(package, CARD).read_bytes() == before


def test_wrong_data(package: str, data: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"this folder does not exist; --data names the folder with emotion/val"):
        invoke("--package", package, "--data", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"this folder has none of the validation files"):
        invoke("--package", package, "--data", str(tmp_path))
    with pytest.raises(InputError, match=r"goemotions: .*goemotions/validation\.tsv does not exist"):
        invoke("--package", package, "--data", data, "--set", "tweets-sentiment", "--set", "goemotions")
    file = Path(data, "tweets", "sentiment_validation.tsv")
    file.write_text("good\tgreat\n", encoding="utf-8")
    with pytest.raises(TrainingError, match=r"sentiment_validation\.tsv, line 1: not a line of the data set"):
        invoke("--package", package, "--data", data)
    file.write_bytes(b"\xff\n")
    with pytest.raises(TrainingError, match=r"sentiment_validation\.tsv is not UTF-8"):
        invoke("--package", package, "--data", data)


def test_empty_data(package: str, data: str) -> None:
    Path(data, "tweets", "sentiment_validation.tsv").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="no posts"):
        invoke("--package", package, "--data", data)


def test_wrong_file(package: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.tsv"
    with pytest.raises(InputError, match=r"mine\.tsv cannot be read: No such file"):
        invoke("--package", package, "--file", str(file), "--head", "sentiment")
    file.write_text("good\n", encoding="utf-8")
    with pytest.raises(TrainingError, match="line 1: not text<TAB>label"):
        invoke("--package", package, "--file", str(file), "--head", "sentiment")
    with pytest.raises(ModelPackageError, match=r"tiny 1\.0\.0 has no head 'emotion'; its heads are: sentiment"):
        invoke("--package", package, "--file", str(file))


def test_a_data_set_whose_head_the_package_lacks(package: str, data: str) -> None:
    folder = Path(data, "emotion")
    folder.mkdir()
    (folder / "validation.tsv").write_text("good\tjoy\n", encoding="utf-8")
    with pytest.raises(ModelPackageError, match=r"emotion: model tiny 1\.0\.0 has no head 'emotion'"):
        invoke("--package", package, "--data", data, "--set", "emotion")
    found = as_json("--package", package, "--data", data, "--rounds", "0")
    assert "has no head 'emotion'" in found["skipped"]["emotion"]


def test_no_package(data: str, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        invoke("--package", str(tmp_path / "none"), "--data", data)


def test_plots_and_cards_that_cannot_be_written(package: str, data: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    options = ("--package", package, "--data", data, "--rounds", "0")
    with pytest.raises(InputError, match="the plots cannot be written"):
        invoke(*options, "--plots", str(tmp_path / "file" / "plots"))
    with pytest.raises(InputError, match="cannot be written"):
        invoke(*options, "--card", str(tmp_path / "nowhere" / "card.md"))


@pytest.mark.parametrize("option", ["--plots", "--card"])
def test_the_figures_are_printed_before_anything_is_written(
    package: str, data: str, tmp_path: Path, option: str
) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(
        command.evaluate_command,
        ["--package", package, "--data", data, "--rounds", "0", "--json", option, str(tmp_path / "file" / "x")],
    )
    assert isinstance(result.exception, InputError)
    assert json.loads(result.stdout)["scores"][0]["accuracy"] == 0.75


def test_a_defect_is_not_reported_as_an_input_error(package: str, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_named: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(evaluate, "read_sets", fail)
    with pytest.raises(ValueError, match="a defect"):
        invoke("--package", package, "--data", data)


def test_plots_without_matplotlib(package: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda _name: None)
    with pytest.raises(EmostreamError, match=r"needs matplotlib.*pip install 'emostream\[train\]'"):
        invoke("--package", package, "--data", data, "--plots", str(tmp_path / "plots"))
    invoke("--package", package, "--data", data, "--rounds", "0")


@pytest.mark.parametrize(
    "arguments",
    [[], ["--data", "x", "--file", "y"], ["--file", "y", "--set", "emotion"], ["--data", "x", "--set", "z"]],
)
def test_options_that_contradict_each_other(arguments: list[str]) -> None:
    result = CliRunner().invoke(command.evaluate_command, arguments)
    assert result.exit_code == 2
