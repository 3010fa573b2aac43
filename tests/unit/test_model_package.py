"""The package format: a written package is read back, and a package that differs from its manifest is not loaded."""

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from models.errors import ModelNotFoundError, ModelPackageError
from models.package.folder import ModelPackage, bundled_package_path, load_package, put_in_place, write_package
from models.package.manifest import MAX_MANIFEST_BYTES, DataSource, Head, Manifest, Tier, parse_manifest


def small_package(folder: Path, **changes: object) -> ModelPackage:
    """Seal a package whose files are not a real network or tokenizer; the format does not check their content."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"network " * 100)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "MODEL_CARD.md").write_text("# card\n")
    (folder / "licences").mkdir()
    (folder / "licences" / "LICENSE").write_text("do as you please\n")
    fields: dict[str, object] = {
        "name": "tiny",
        "version": "1.0.0",
        "created_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "base_model": "none",
        "licence": "Apache-2.0",
        "training_data": [DataSource(name="made up", licence="CC0-1.0", rows=3)],
        "normalization": "v2",
        "max_tokens": 16,
        "heads": [Head(name="emotion", labels=("joy", "anger"), output="emotion")],
        "metrics": {"emotion.accuracy": 0.5},
        "files": ["model.onnx", "tokenizer.json", "MODEL_CARD.md", "licences/LICENSE"],
    }
    return write_package(folder, **(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def package(tmp_path: Path) -> ModelPackage:
    return small_package(tmp_path / "package")


def tier(**fields: object) -> dict[str, object]:
    return {"name": "full", "file": "model.onnx", **fields}


def edit(package: ModelPackage, **fields: object) -> None:
    file = package.path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_a_written_package_is_read_back(package):
    again = load_package(str(package.path))
    assert again == package
    assert again.manifest.files["licences/LICENSE"].bytes == 17
    assert again.manifest.tiers == (Tier(name="full", file="model.onnx"),)
    assert again.manifest.tiers[0].temperature("emotion") == 1.0
    assert again.golden_file is None
    assert again.tier_files[-1].read_bytes().startswith(b"network")


def test_a_file_that_is_not_listed_is_ignored(package):
    (package.path / "notes.txt").write_text("mine")
    assert load_package(package.path) == package


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "MODEL_CARD.md", "licences/LICENSE"])
def test_one_changed_byte_is_found(package, name):
    file = package.path / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    expected = package.manifest.files[name].sha256[:12]
    with pytest.raises(
        ModelPackageError, match=f"{name} is damaged: expected sha256 {expected}….*found [0-9a-f]{{12}}…"
    ) as info:
        load_package(package.path)
    assert "\n" not in str(info.value)


def test_a_truncated_file_is_found(package):
    (file,) = package.tier_files
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelPackageError, match=r"model\.onnx is damaged: .*\(800 bytes\).*\(799 bytes\)"):
        load_package(package.path)


def test_a_missing_file_is_found(package):
    package.tokenizer_file.unlink()
    with pytest.raises(ModelPackageError, match=r"tokenizer\.json is missing"):
        load_package(package.path)


def test_a_folder_in_place_of_a_file_is_an_error(package):
    package.tokenizer_file.unlink()
    package.tokenizer_file.mkdir()
    with pytest.raises(ModelPackageError, match=r"tokenizer\.json"):
        load_package(package.path)


@pytest.mark.parametrize(("where", "why"), [("nowhere", "there is no such folder"), (".", r"it has no manifest\.json")])
def test_a_missing_package_is_an_error(tmp_path, where, why):
    with pytest.raises(ModelNotFoundError, match=rf"no model package at .*: {why}$"):
        load_package(tmp_path / where)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format_version": 2}, "format_version"),
        ({"surprise": 1}, "surprise: Extra inputs"),
        ({"version": "1.0"}, "version"),
        ({"version": "01.0.0"}, "version"),
        ({"version": "1.0.0\n"}, "version"),
        ({"version": "1.0.\u0661"}, "version"),
        ({"name": "../up"}, "name"),
        ({"name": "Emotion"}, "name"),
        ({"heads": []}, "heads"),
        ({"heads": [{"name": "emotion", "labels": ["joy"], "output": "x"}]}, "labels"),
        (
            {"heads": [{"name": "emotion", "labels": ["joy", "fear", "joy"], "output": "x"}]},
            "head 'emotion' lists a label twice: joy",
        ),
        (
            {"heads": [{"name": "a", "labels": ["x", " y"], "output": "x"}]},
            "the label ' y' is blank, or begins or ends",
        ),
        ({"heads": [{"name": "a", "labels": ["x", "  "], "output": "x"}]}, "is blank"),
        ({"heads": [{"name": "a", "labels": ["x", "a\0b"], "output": "x"}]}, "contains a control character"),
        ({"heads": [{"name": "a", "labels": ["x", "a\nb"], "output": "x"}]}, "contains a control character"),
        (
            {"heads": [{"name": "mood", "labels": ["x", "y"], "output": "x", "values": [-1, 0, 1]}]},
            "head 'mood' has 3 values for 2 labels; give one number for each label",
        ),
        ({"heads": [{"name": "a", "labels": ["x", "y"], "output": "x", "values": [-2, 1]}]}, "heads.0.values.0"),
        (
            {"heads": [{"name": "a", "labels": ["x", "y"], "output": "x", "temperature": 2}]},
            "temperature: Extra inputs",
        ),
        ({"heads": [{"name": "a", "labels": ["x", "y"], "output": "x", "kind": "magic"}]}, "kind"),
        ({"heads": [{"name": "a", "labels": ["x", "y"], "output": "x"}] * 2}, "two heads have the same name: a"),
        ({"tiers": []}, "tiers"),
        ({"tiers": [tier(thresholds={"emotion": 0.5}), tier()]}, "two tiers have the same name: full"),
        ({"tiers": [tier(file="other.onnx")]}, "files does not list other.onnx"),
        ({"tiers": [tier(file="../up")]}, "not a plain relative path"),
        (
            {"tiers": [tier(temperatures={"mood": 1})]},
            "tier 'full': temperatures names the unknown head mood; the heads are: emotion",
        ),
        ({"tiers": [tier(temperatures={"emotion": 0})]}, "tiers.0.temperatures.emotion"),
        ({"tiers": [tier(temperatures={"emotion": 1e-300})]}, "tiers.0.temperatures.emotion"),
        ({"tiers": [tier(biases={"emotion": [0, 1e300]})]}, "tiers.0.biases.emotion"),
        ({"tiers": [tier(biases={"mood": [0, 1]})]}, "biases names the unknown head mood"),
        (
            {"tiers": [tier(biases={"emotion": [1.0]})]},
            "tier 'full': head 'emotion' has 1 biases for 2 labels; give one number for each label, in their order",
        ),
        (
            {"tiers": [tier(name="a", thresholds={"mood": 0.5}), tier()]},
            "tier 'a': thresholds names the unknown head mood; the heads are: emotion",
        ),
        ({"tiers": [tier(name="a", thresholds={"emotion": -0.1}), tier()]}, "tiers.0.thresholds.emotion"),
        ({"tiers": [tier(name="a"), tier()]}, "tier 'a' has no thresholds, so no text would reach the tiers after it"),
        (
            {"tiers": [tier(earlier_weights={"emotion": 0.5})]},
            "is the first, so it must not have earlier_weights",
        ),
        ({"tiers": [tier(earlier_weights={"mood": 0.5})]}, "earlier_weights names the unknown head mood"),
        ({"tiers": [tier(thresholds={"emotion": 0.5})]}, "tier 'full' is the last and answers all other texts"),
        ({"golden": "golden.jsonl"}, "files does not list golden.jsonl"),
        ({"created_at": "2026-01-01T00:00:00"}, "created_at"),
        ({"max_tokens": 1}, "max_tokens"),
        ({"files": {}}, "files does not list MODEL_CARD.md, model.onnx, tokenizer.json"),
        ({"max_tokens": 1, "heads": []}, "(and 1 more)"),
    ],
)
def test_a_malformed_manifest_is_refused_with_one_line(package, fields, message):
    edit(package, **fields)
    with pytest.raises(ModelPackageError, match=re.escape(message)) as info:
        load_package(package.path)
    assert "manifest.json is malformed" in str(info.value)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a\\b", "a//b", "./a", "a/..", "", "manifest.json"]
)
def test_a_file_name_that_leads_out_of_the_folder_is_refused(package, name):
    files = json.loads((package.path / "manifest.json").read_text())["files"]
    edit(package, files=files | {name: {"sha256": "0" * 64, "bytes": 0}})
    with pytest.raises(ModelPackageError, match="files"):
        load_package(package.path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["model.onnx/x"], "files lists 'model.onnx/x', but 'model.onnx' cannot be both a file and a folder"),
        (["a/b/c", "a"], "files lists 'a/b/c', but 'a' cannot be both a file and a folder"),
        (["manifest.json/x"], "'manifest.json' cannot be both a file and a folder"),
        (["x" * 256], "is longer than 255 bytes in UTF-8"),
        (["ß" * 128], "is longer than 255 bytes in UTF-8"),
    ],
)
def test_file_names_that_a_folder_cannot_hold_are_refused(package, names, message):
    """Otherwise the cache could not write the files, and workers would download them again and again."""
    entry = {"sha256": "0" * 64, "bytes": 0}
    files = json.loads((package.path / "manifest.json").read_text())["files"]
    edit(package, files=files | dict.fromkeys(names, entry))
    with pytest.raises(ModelPackageError, match=re.escape(message)) as info:
        load_package(package.path)
    assert "\n" not in str(info.value)


def test_a_long_file_name_is_accepted(tmp_path):
    name = "ß" * 127
    (tmp_path / name).write_bytes(b"")
    manifest = small_package(tmp_path / "package").manifest.model_dump(mode="json")
    manifest["files"][name] = {"sha256": "0" * 64, "bytes": 0}
    assert name in parse_manifest(json.dumps(manifest).encode(), "the manifest").files


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b" " * (MAX_MANIFEST_BYTES + 1)])
def test_content_that_is_not_a_manifest_is_refused(content):
    with pytest.raises(ModelPackageError, match=r"^the manifest"):
        parse_manifest(content, "the manifest")


def test_a_package_cannot_be_sealed_without_its_files(package):
    (package.path / "model.onnx").unlink()
    manifest = package.manifest
    with pytest.raises(ModelPackageError, match=r"model\.onnx cannot be read"):
        write_package(
            package.path,
            **{
                name: getattr(manifest, name)
                for name in Manifest.model_fields
                if name not in ("format_version", "files")
            },
            files=list(manifest.files),
        )


def test_a_manifest_cannot_be_changed(package):
    with pytest.raises(ValidationError, match="frozen"):
        package.manifest.name = "other"


def test_an_unknown_head_is_a_key_error(package):
    with pytest.raises(KeyError, match="sentiment"):
        package.manifest.head("sentiment")


def test_a_manifest_with_all_fields_is_read_back(tmp_path):
    sentiment = Head(name="sentiment", labels=("negative", "größer als 🙂"), output="sentiment", values=(-1, 0.5))
    emotion = Head(name="emotion", labels=("joy", "anger"), output="emotion")
    first = Tier(name="quick", file="model.onnx", thresholds={"emotion": 0.9}, temperatures={"emotion": 1.5})
    package = small_package(
        tmp_path / "full",
        heads=[emotion, sentiment],
        tiers=[first, Tier(name="full", file="licences/LICENSE")],
        golden="licences/LICENSE",
    )
    assert Manifest.model_validate_json(package.manifest.model_dump_json()) == package.manifest
    assert load_package(package.path).manifest.tiers[0] == first
    assert [file.name for file in package.tier_files] == ["model.onnx", "LICENSE"]
    assert package.golden_file == package.path / "licences/LICENSE"
    assert package.manifest.head("sentiment").values == (-1.0, 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"golden": "posts.jsonl"}, r"cannot be sealed: files does not list posts\.jsonl"),
        ({"tiers": [Tier(name="a", file="model.onnx")] * 2}, "cannot be sealed: two tiers have the same name"),
        ({"tiers": [Tier(name="a", file="quick.onnx")]}, r"cannot be sealed: files does not list quick\.onnx"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_not_sealed(tmp_path, changes, message):
    with pytest.raises(ModelPackageError, match=message):
        small_package(tmp_path / "package", **changes)
    assert not (tmp_path / "package" / "manifest.json").exists()


# SHA-256 of the manifests of the bundled packages. The manifests list the SHA-256 of their files.
BUNDLED = {
    "1.0.0": "f639a477063bd182bc07b3f0e75ecf6ad807e23268291ee522e562f65b750b1c",
    "1.0.1": "fc8208d5361481b2cbb144f156c37a822f5387e36237e00b78dd0a39276e2595",
    "2.0.0": "2c070f16910a3ffb08bd1e4386af7a641c8149607550f1b2f477df67a0d04c96",
    "2.1.0": "8140bb6fece62cda9bccc52961c25155c01b6425abb2f8b756a74878ef2ab185",
    "3.0.0": "fa8c9584aa928807aab7a26cd90444aaa4166b564d1d3ef29725d58923aa2952",
}


def test_a_change_of_the_bundled_package_needs_a_new_version():
    """Registries and caches identify it by its version. Add a line above for a new version; change no other line."""
    manifest = bundled_package_path() / "manifest.json"
    version = load_package(bundled_package_path()).manifest.version
    assert BUNDLED[version] == hashlib.sha256(manifest.read_bytes()).hexdigest()


def test_the_bundled_package_is_complete():
    package = load_package(bundled_package_path())
    assert package.manifest.name == bundled_package_path().name
    assert [head.name for head in package.manifest.heads] == ["emotion", "sentiment"]
    assert package.golden_file is not None
    assert package.manifest.size < 30e6
    assert {"joy", "sadness", "anger", "fear", "love", "surprise"} <= set(package.manifest.head("emotion").labels)
    assert package.manifest.metrics["emotion.accuracy"] >= 0.92
    listed = {str(Path(name)) for name in package.manifest.files} | {"manifest.json"}
    assert {str(f.relative_to(package.path)) for f in package.path.rglob("*") if f.is_file()} == listed


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk full")])
@pytest.mark.parametrize("done", [False, True])
def test_an_interrupted_replacement_leaves_one_complete_package(tmp_path, monkeypatch, error, done):
    """The interruption comes between the two renames, or right after them."""
    folder, out, aside = (tmp_path / name for name in ("new", "out", "aside"))
    for made in (folder, out):
        made.mkdir()
        (made / "name").write_text(made.name)
    rename = Path.rename

    def cut_off(self: Path, target: Path) -> Path:
        if self != folder:
            return rename(self, target)
        if done:
            rename(self, target)
        raise error

    monkeypatch.setattr(Path, "rename", cut_off)
    with pytest.raises(type(error)):
        put_in_place(folder, out, aside)
    assert (out / "name").read_text() == ("new" if done else "out")


def test_a_package_replaces_the_one_in_its_place(tmp_path):
    folder, out, aside = (tmp_path / name for name in ("new", "out", "aside"))
    for version in ("first", "second"):
        folder.mkdir()
        (folder / "name").write_text(version)
        put_in_place(folder, out, aside)
        assert (out / "name").read_text() == version
    assert (aside / "name").read_text() == "first"
    assert not folder.exists()
