"""`model package` makes a package from any ONNX text classifier. Errors are one clear line, and leave no files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from models.package.folder import load_package
from models.text.golden import check_golden, read_golden
from models.text.head_spec import HeadSpec
from models.text.onnx_classifier import OnnxClassifier
from streams.cli.model_package import package as command
from streams.cli.model_package import parse_head, with_values
from streams.errors import USER_ERRORS
from tests.onnx_files import bag_of_words
from tests.tiny_model import HEADS, SENTIMENT, TOPIC, WORDS, network, save_tokenizer, weights

ID2LABEL = {str(number): label for number, label in enumerate(TOPIC.labels)}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """The files of an exported Hugging Face model: the network in a folder of its own, the other files above it."""
    folder = tmp_path / "export"
    (folder / "onnx").mkdir(parents=True)
    (folder / "onnx" / "model.onnx").write_bytes(network([TOPIC]))
    (folder / "config.json").write_text(json.dumps({"_name_or_path": "someone/tiny", "id2label": ID2LABEL}))
    save_tokenizer(folder / "tokenizer.json")
    return folder


def run(export: Path, *options: str, name: str = "spam-filter", version: str = "1.0.0") -> Result:
    arguments = ["--onnx", str(export / "onnx" / "model.onnx"), "--name", name, "--version", version]
    return CliRunner().invoke(command, [*arguments, "--out", str(export.parent / "out"), *options])


def refused(result: Result) -> str:
    """Returns the one line of a refusal, after checking that it left no files."""
    assert isinstance(result.exception, USER_ERRORS), result.exception
    message = str(result.exception)
    assert "\n" not in message
    return message


def test_an_export_needs_only_its_path_and_a_name(export: Path) -> None:
    result = run(export)
    assert result.exit_code == 0, result.exception
    out = export.parent / "out"
    assert f"next: emostream model publish {out}" in result.stdout
    assert "label (output topic): spam, ham, größer als 🙂" in result.stdout
    package = load_package(out)
    manifest = package.manifest
    assert (manifest.name, manifest.version, manifest.base_model) == ("spam-filter", "1.0.0", "someone/tiny")
    assert [(head.name, head.output, head.labels) for head in manifest.heads] == [("label", "topic", TOPIC.labels)]
    assert manifest.golden is None
    found = OnnxClassifier.load(package).classify(["hello hello", "groß"]).probabilities["label"]
    assert [TOPIC.labels[best] for best in found.argmax(axis=1)] == ["ham", "größer als 🙂"]
    assert sorted(file.name for file in export.parent.iterdir()) == ["export", "out"], "no temporary folder is left"


def test_heads_values_and_golden_posts(export: Path) -> None:
    (export / "onnx" / "model.onnx").write_bytes(network())
    (export / "texts.txt").write_text("buy buy\nhello good\nfiller\n")
    result = run(
        export,
        *("--head", 'kind:topic=spam,"ham, and eggs",größer als 🙂', "--head", "sentiment=bad,so-so,good"),
        *("--values", "sentiment=-1,0,0.5", "--golden", str(export / "texts.txt"), "--license", "MIT"),
        *("--normalization", "v2", "--max-tokens", "8", "--json"),
    )
    assert result.exit_code == 0, result.exception
    told = json.loads(result.stdout)
    assert (told["golden"], told["notes"], told["folder"]) == (2, [], str(export.parent / "out"))
    package = load_package(export.parent / "out")
    manifest = package.manifest
    assert manifest.head("kind").labels == ("spam", "ham, and eggs", "größer als 🙂")
    assert manifest.head("sentiment").values == (-1.0, 0.0, 0.5)
    assert (manifest.licence, manifest.normalization, manifest.max_tokens) == ("MIT", "v2", 8)
    assert package.golden_file is not None
    assert [post.text for post in read_golden(package.golden_file)] == ["buy buy", "hello good"]
    assert check_golden(OnnxClassifier.load(package), package) == 2


def test_a_sentiment_model_is_known_by_its_labels(export: Path) -> None:
    (export / "onnx" / "model.onnx").write_bytes(network([SENTIMENT]))
    labels = {"0": "Negative", "1": "Neutral", "2": "Positive"}
    (export / "config.json").write_text(json.dumps({"id2label": labels}))
    result = run(export)
    assert result.exit_code == 0, result.exception
    assert "note: sentiment: Negative, Neutral, Positive have the values -1, 0, 1" in result.stderr
    (head,) = load_package(export.parent / "out").manifest.heads
    assert (head.name, head.values) == ("sentiment", (-1.0, 0.0, 1.0))


@pytest.mark.parametrize(
    ("config", "note"),
    [
        ({"id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}}, "has only placeholders (LABEL_0, …)"),
        ({"id2label": ID2LABEL, "problem_type": "multi_label_classification"}, "a text may have several labels"),
    ],
)
def test_assumptions_are_reported(export: Path, config: dict[str, Any], note: str) -> None:
    (export / "config.json").write_text(json.dumps(config))
    result = run(export)
    assert result.exit_code == 0
    assert note in result.stderr


def test_external_weights_are_copied(export: Path) -> None:
    (export / "onnx" / "model.onnx.data").write_bytes(b"weights")
    assert run(export).exit_code == 0
    assert load_package(export.parent / "out").manifest.files["model.onnx.data"].bytes == 7


def test_a_package_is_replaced_only_with_the_option(export: Path) -> None:
    assert run(export).exit_code == 0
    assert "exists already; --replace replaces it" in refused(run(export, version="2.0.0"))
    assert run(export, "--replace", version="2.0.0").exit_code == 0
    assert load_package(export.parent / "out").manifest.version == "2.0.0"


def test_a_folder_that_is_not_a_package_is_never_replaced(export: Path) -> None:
    (export.parent / "out").mkdir()
    (export.parent / "out" / "thesis.tex").write_text("years of work")
    assert "it is not a package" in refused(run(export, "--replace"))
    assert (export.parent / "out" / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--name", "Spam Filter"), "name: 'Spam Filter' is not a valid name: use lower-case letters"),
        (("--version", "1"), "version: '1' is not a semantic version, such as 1.0.0"),
        (("--language", "eng"), "languages: give en in place of eng"),
        (("--language", "es", "--language", "Spanish"), "languages: 'Spanish' is not a language"),
        (("--head", "x:wrong"), "no output 'wrong'; its outputs are: topic"),
        (("--head", "x=spam,ham"), "model.onnx gives 3 values for head 'x', which has 2 labels"),
        (("--head", "x=spam,ham,spam"), "lists a label twice: spam"),
        (("--head", "x=spam,ham,"), "head 'x': labels.2: String should have at least 1 character"),
        (("--head", "a", "--head", "b"), "the heads a, b have no labels; config.json has those of one head only"),
        (("--head", "a=x,y,z", "--values", "a=1,2"), "head 'a': values.1: Input should be less than or equal to 1"),
        (("--head", "a=x,y,z", "--values", "a=1,0"), "head 'a' has 2 values for 3 labels"),
        (("--golden", "{export}/nothing.txt"), "nothing.txt holds no text"),
        (("--golden", "{export}/broken.jsonl"), "broken.jsonl, line 2: "),
        (("--out", "{export}/broken.jsonl/out"), "broken.jsonl cannot be read or written: "),
        (("--golden", "{export}/unsure.txt"), "none of the 1 texts a clear answer"),
    ],
)
def test_contradictions_are_reported_in_one_line_and_leave_nothing(
    export: Path, options: tuple[str, ...], message: str
) -> None:
    (export / "nothing.txt").write_text("\n")
    (export / "broken.jsonl").write_text('{"text": "buy"}\n{\n')
    (export / "unsure.txt").write_text("filler\n")
    assert message in refused(run(export, *(option.format(export=export) for option in options)))
    assert [file.name for file in export.parent.iterdir()] == ["export"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("tokenizer.json", None, "there is no tokenizer.json beside"),
        ("tokenizer.json", b"{}", "tokenizer.json is not a tokenizer"),
        ("config.json", None, r"the labels of head 'label' are not known"),
        ("config.json", b"{", "config.json is not JSON"),
        ("config.json", b"[]", "config.json is not a JSON object"),
        ("config.json", b'{"id2label": {"1": "a", "2": "b"}}', "does not map the numbers from 0 on to labels"),
        ("config.json", b'{"id2label": {}}', "does not map the numbers from 0 on to labels"),
        ("config.json", b'{"id2label": {"0": "a", "1": "b"}}', "gives 3 values for head 'label', which has 2 labels"),
        ("onnx/model.onnx", b"nothing", "model.onnx cannot be loaded"),
    ],
)
def test_unusable_files_are_reported_in_one_line(export: Path, file: str, content: bytes | None, message: str) -> None:
    if content is None:
        (export / file).unlink()
    else:
        (export / file).write_bytes(content)
    told = refused(run(export))
    assert message in told
    assert ".out." not in told, "the temporary folder means nothing to the user"
    assert not (export.parent / "out").exists()


def test_without_labels_the_error_shows_what_to_write(export: Path) -> None:
    (export / "config.json").unlink()
    assert "(there are 3): --head 'label:topic=first,second,…'" in refused(run(export))


def test_several_outputs_need_a_head_option(export: Path) -> None:
    (export / "onnx" / "model.onnx").write_bytes(network())
    assert "several outputs (topic, sentiment); say which one is head 'label'" in refused(run(export))
    assert run(export, "--head", "topic").exit_code == 0, "a head with the name of its output"


def test_a_network_with_too_few_positions_is_refused(export: Path) -> None:
    """The network has five positions, enough for the first check when it is loaded, and fails only on longer texts."""
    narrow = bag_of_words(
        {"topic": weights(TOPIC, WORDS, 3.0)},
        inputs=dict.fromkeys(("input_ids", "attention_mask"), (7, ("batch", 5))),
    )
    (export / "onnx" / "model.onnx").write_bytes(narrow)
    told = refused(run(export))
    assert "model.onnx fails on a text of 128 tokens, its max_tokens: " in told
    assert told.endswith("if the network has fewer positions, lower max_tokens")


def test_the_tokenizer_of_another_model_is_refused(export: Path) -> None:
    save_tokenizer(export / "tokenizer.json", [*WORDS, "another"])
    assert "model.onnx fails on token id 8, the tokenizer's highest: " in refused(run(export))
    save_tokenizer(export / "tokenizer.json", [*WORDS][:-1])
    assert run(export).exit_code == 0, "networks often have rows to spare"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("topic", HeadSpec("topic")),
        ("topic:out", HeadSpec("topic", "out")),
        ("topic=a, b c", HeadSpec("topic", None, ("a", "b c"))),
        ('topic:out="a, b","c ""d"""', HeadSpec("topic", "out", ("a, b", 'c "d"'))),
    ],
)
def test_a_head_as_an_option(text: str, expected: HeadSpec) -> None:
    assert parse_head(text) == expected


@pytest.mark.parametrize("text", ["", ":out", "=a,b", "topic:", "topic=", "topic:=a,b"])
def test_a_malformed_head_option_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="such as emotion:logits=joy,anger"):
        parse_head(text)


@pytest.mark.parametrize("given", ["a", "a=", "a=x", "a=1,", "=1"])
def test_malformed_values_are_refused(given: str) -> None:
    with pytest.raises(click.BadParameter):
        with_values([HeadSpec("a")], (given,))


def test_values_of_a_head_that_is_not_there() -> None:
    with pytest.raises(click.BadParameter, match="there is no head mood; add it with --head"):
        with_values([HeadSpec(HEADS[0].name)], ("mood=1,2",))
