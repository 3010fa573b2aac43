"""The commands of `emostream model` lead a model from publication to rollback, and report each mistake in one line."""

import json
from pathlib import Path

import pytest

from connectors.s3.client import S3Config
from models.package.folder import bundled_package_path, load_package
from models.registry.catalog import contents
from models.registry.publish import publish
from streams.cli import main
from streams.ops.classify import load_classifier
from streams.ops.init import init_model
from tests.integration.registry_support import BUCKET, HERE, SECRET, URI, settings_of
from tests.tiny_model import spanish_package, tiny_package


@pytest.fixture
def emostream(s3_server: S3Config, monkeypatch, capsys, tmp_path):
    """Returns a function that runs a command in this process, and returns its exit code, stdout and stderr."""
    settings = {
        "S3_ENDPOINT": s3_server.endpoint,
        "S3_ACCESS_KEY_ID": "key",
        "S3_SECRET_ACCESS_KEY": SECRET,
        "MODEL_URI": URI,
        "MODEL_CACHE": str(tmp_path / "cache"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"EMOSTREAM_{name}", value)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["model", *arguments])
        out, err = capsys.readouterr()
        assert SECRET not in out + err
        return int(ended.value.code or 0), out, err

    return run


def test_the_life_of_a_model(s3, emostream, tmp_path):
    for version in ("1.0.0", "1.1.0"):
        tiny_package(tmp_path / version, version=version)
    assert emostream("list")[2] == f"{URI} holds no model yet\n"

    code, out, _ = emostream("publish", "1.0.0")
    assert code == 0
    assert f"tiny 1.0.0 in {URI}: uploaded" in out
    assert "channel latest now points to tiny 1.0.0 (it is new)" in out
    assert emostream("promote", "latest", "--to", "stable")[1] == (
        "channel stable now points to tiny 1.0.0 (it is new)\n"
    )
    done = json.loads(emostream("publish", "1.1.0", "--channel", "candidate", "--json")[1])
    assert (done["uploaded"], done["channel"]["channel"], done["channel"]["moved"]) == (True, "candidate", True)
    assert "already in the registry" in emostream("publish", "1.1.0", "--no-channel")[1]

    listed = json.loads(emostream("list", "--json")[1])
    assert [(row["version"], row["channels"]) for row in listed] == [
        ("1.0.0", ["latest", "stable"]),
        ("1.1.0", ["candidate"]),
    ]
    assert "candidate" in emostream("list")[1]

    assert emostream("promote", "candidate", "--to", "stable")[1] == (
        "channel stable now points to tiny 1.1.0 (before: tiny 1.0.0)\n"
    )
    assert "already points to tiny 1.1.0" in emostream("promote", "1.1.0", "--to", "stable")[1]
    back = json.loads(emostream("rollback", "stable", "--json")[1])
    assert (back["version"], back["before"]) == ("1.0.0", {"name": "tiny", "version": "1.1.0"})

    code, out, _ = emostream("show", "stable")
    assert "rolled back" in out
    assert "positive (1)" in out
    shown = json.loads(emostream("show", "tiny@1.1.0", "--json")[1])
    assert (shown["manifest"]["version"], shown["channels"], shown["channel"]) == ("1.1.0", ["candidate"], None)
    assert json.loads(emostream("show", "stable", "--json")[1])["channel"]["history"][0]["withdrawn"]

    assert emostream("pull", "candidate", "--out", "here")[1] == "here\n"
    assert (tmp_path / "here/manifest.json").read_bytes() == (tmp_path / "1.1.0/manifest.json").read_bytes()
    folder = Path(emostream("pull")[1].strip())
    assert (folder / "manifest.json").read_bytes() == (tmp_path / "1.0.0/manifest.json").read_bytes()


def test_another_registry_is_named_by_its_uri(s3, emostream, tmp_path):
    """Such as that of a model for one language."""
    spanish_package(tmp_path / "spanish")
    other = ("--uri", f"s3://{BUCKET}/spanish")
    assert f"spanish 2.0.0 in s3://{BUCKET}/spanish: uploaded" in emostream("publish", "spanish", *other)[1]
    assert "now points to spanish 2.0.0" in emostream("promote", "latest", "--to", "stable", *other)[1]
    assert [row["name"] for row in json.loads(emostream("list", "--json", *other)[1])] == ["spanish"]
    assert json.loads(emostream("show", "--json", *other)[1])["manifest"]["languages"] == ["es"]
    assert "has no earlier version" in emostream("rollback", "stable", *other)[2]
    assert Path(emostream("pull", *other)[1].strip()).parent.name == "spanish"
    assert emostream("list")[2] == f"{URI} holds no model yet\n"
    assert "must be s3://bucket/prefix" in emostream("list", "--uri", "spanish")[2]


def test_the_bundled_package_is_published_by_its_own_name(s3, emostream):
    code, out, _ = emostream("publish", "--bundled", "--channel", "candidate", "--json")
    bundled = load_package(bundled_package_path()).manifest
    assert (code, json.loads(out)["name"], json.loads(out)["version"]) == (0, bundled.name, bundled.version)


@pytest.mark.parametrize("arguments", [[], ["my-model", "--bundled"]])
def test_a_package_is_named_in_one_way(emostream, arguments):
    code, _, err = emostream("publish", *arguments)
    assert code == 2
    assert "give the FOLDER of a package, or --bundled" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["publish", "nothing"], "no model package at nothing"),
        (["publish", "broken"], "model.onnx is damaged"),
        (["publish", "no-network"], "model.onnx cannot be loaded"),
        (["publish", "other-content"], "already has tiny 1.0.0 with other content"),
        (["promote", "candidate", "--to", "stable"], "no channel, model or version 'candidate'"),
        (["promote", "latest", "--to", "Not A Name"], "is not a valid channel name"),
        (["rollback", "latest"], "has no earlier version"),
        (["rollback", "stable"], "there is no emotion/stable"),
        (["show", "9.9.9"], "no channel, model or version '9.9.9'"),
        (["pull", "latest", "--out", "good"], "good already exists"),
        (["pull", "latest", "--out", "good/manifest.json/x"], "cannot be written"),
    ],
)
def test_mistakes_are_reported_in_one_line(s3, emostream, tmp_path, arguments, message):
    publish(tiny_package(tmp_path / "good"), URI, s3)
    tiny_package(tmp_path / "broken")
    (tmp_path / "broken/model.onnx").write_bytes(b"x")
    tiny_package(tmp_path / "no-network", version="2.0.0", networks={"model.onnx": b"not a network"})
    network = (tmp_path / "good/model.onnx").read_bytes()
    tiny_package(tmp_path / "other-content", networks={"model.onnx": network + b" "})
    if arguments[1] == "other-content":
        arguments = [*arguments, "--no-check"]
    before = {info.key for info in s3.list(BUCKET)}

    code, out, err = emostream(*arguments)

    assert (code, out) == (1, "")
    assert err.startswith("emostream: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert {info.key for info in s3.list(BUCKET)} == before


def test_a_registry_is_not_a_folder(emostream, monkeypatch, tmp_path):
    monkeypatch.setenv("EMOSTREAM_MODEL_URI", str(tmp_path))
    for arguments in (["list"], ["show"], ["pull"], ["rollback", "latest"]):
        code, _, err = emostream(*arguments)
        assert code == 1
        assert "a model registry must be s3://bucket/prefix, not the folder" in err


def test_a_missing_bucket_is_reported(no_buckets, emostream):
    for arguments in (["list"], ["show"], ["promote", "latest", "--to", "stable"]):
        code, _, err = emostream(*arguments)
        assert code == 1
        assert f"there is no bucket {BUCKET}" in err


def test_a_version_with_a_damaged_manifest_is_listed_as_such(s3, versions, emostream):
    s3.put(BUCKET, "emotion/tiny/1.1.0/manifest.json", b"{}")
    code, out, _ = emostream("list", "--json")
    assert code == 0
    problems = {row["version"]: row["problem"] for row in json.loads(out)}
    assert "malformed" in problems.pop("1.1.0")
    assert set(problems.values()) == {None}


def test_an_object_that_is_not_a_pointer_is_reported(s3, versions, emostream):
    s3.put(BUCKET, "emotion/readme", b"our models")
    code, out, err = emostream("list", "--json")
    assert code == 0
    *rows, last = json.loads(out)
    assert [row["version"] for row in rows] == versions
    assert (last["name"], last["version"], last["channels"]) == (None, None, ["readme"])
    assert last["problem"] == f"{URI}/readme is malformed: it does not name a model and a version"
    assert err == f"{last['problem']}\n"
    code, out, err = emostream("list")
    assert (code, err) == (0, f"{last['problem']}\n")
    assert "1.10.0" in out
    assert json.loads(emostream("show", "latest", "--json")[1])["channels"] == ["latest"]


def test_the_scheme_may_be_in_capitals(s3, s3_server, emostream, monkeypatch, tmp_path):
    """The settings allow this. All commands must use the same registry then."""
    uri = f"S3://{BUCKET}/emotion"
    settings = settings_of(s3_server, uri, tmp_path)
    init_model(settings, lambda _line: None)
    assert {"latest", "stable"} <= contents(HERE, s3).channels.keys()
    classifier = load_classifier(settings, uri)
    assert classifier.manifest == load_package(bundled_package_path()).manifest
    monkeypatch.setenv("EMOSTREAM_MODEL_URI", uri)
    assert json.loads(emostream("show", "--json")[1])["uri"] == URI
