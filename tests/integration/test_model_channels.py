"""Channels and the commands of `emostream model`, with a real S3 server."""

import json
from pathlib import Path

import pytest

from connectors.errors import RejectedError
from connectors.s3.client import S3, S3Config
from models.errors import ChannelMovedError, ModelError, ModelNotFoundError, ModelPackageError
from models.package.folder import bundled_package_path, load_package
from models.registry.cache import resolve
from models.registry.catalog import contents, find
from models.registry.channels import HISTORY_LIMIT, Release, move, read_channel
from models.registry.location import S3Location
from models.registry.publish import promote, publish, publish_if_empty, rollback
from streams.cli import main
from streams.ops.classify import load_classifier
from streams.ops.init import init_model
from tests.helpers import make_settings
from tests.integration.registry_support import BUCKET, SECRET, URI, make_package, one_line, race
from tests.tiny_model import tiny_package

HERE = S3Location(BUCKET, "emotion")


@pytest.fixture
def versions(s3: S3, tmp_path: Path) -> list[str]:
    """Publish five versions one after the other to `latest`, which then points to the last."""
    made = ["1.0.0", "1.1.0-rc.2", "1.1.0-rc.10", "1.1.0", "1.10.0"]
    for version in made:
        publish(make_package(tmp_path / version, version, version.encode()), URI, s3)
    return made


def at(s3: S3, channel: str) -> str:
    found = read_channel(HERE, s3, channel)
    assert found is not None
    return found.pointer.version


def test_a_move_is_recorded(s3, versions):
    channel = read_channel(HERE, s3, "latest")
    assert channel.pointer.version == "1.10.0"
    assert [position.version for position in channel.pointer.history] == versions[-2::-1]
    times = [position.moved_at for position in (channel.pointer, *channel.pointer.history)]
    assert times == sorted(times, reverse=True)
    assert "@" in channel.pointer.moved_by


def test_moving_to_the_same_version_changes_nothing(s3, versions):
    before = s3.read(BUCKET, "emotion/latest")
    promote(HERE, s3, Release("tiny", "1.10.0"), "latest")
    assert s3.read(BUCKET, "emotion/latest") == before


def test_one_of_several_concurrent_moves_succeeds(s3, versions):
    """All have read the same pointer. Without the condition on its ETag all moves would succeed."""
    seen = read_channel(HERE, s3, "latest")

    def attempt(number: int) -> str | ChannelMovedError:
        try:
            return move(HERE, s3, "latest", Release("tiny", versions[number % 4]), seen=seen).version
        except ChannelMovedError as exc:
            return exc

    outcomes = race(attempt)
    winners = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert winners == [at(s3, "latest")]
    for error in outcomes:
        if not isinstance(error, str):
            assert f"was moved meanwhile by {read_channel(HERE, s3, 'latest').pointer.moved_by} to tiny" in str(error)
            assert "try again" in str(error)
    # There is one history entry per move, so no move overwrote another.
    assert [p.version for p in read_channel(HERE, s3, "latest").pointer.history] == versions[::-1]


def test_a_new_channel_is_made_once(s3, versions):
    def attempt(number: int) -> bool:
        try:
            move(HERE, s3, "stable", Release("tiny", versions[number % 5]), seen=None)
        except ChannelMovedError:
            return False
        return True

    assert race(attempt).count(True) == 1


def test_a_move_whose_answer_was_lost_succeeds(s3, versions):
    """The client sends the write again, and the server answers that the condition does not hold any more."""

    class Twice(S3):
        def __init__(self, other: S3) -> None:
            self.__dict__.update(other.__dict__)

        def put(self, *args, **kwargs):
            super().put(*args, **kwargs)
            return super().put(*args, **kwargs)

    twice = Twice(s3)
    twice.require_conditional_writes = s3.require_conditional_writes
    seen = read_channel(HERE, s3, "latest")
    move(HERE, twice, "latest", Release("tiny", "1.0.0"), seen=seen)
    assert at(s3, "latest") == "1.0.0"


def test_a_server_that_ignores_conditions_is_refused_before_a_write(s3, versions, tmp_path):
    class Careless(S3):
        def __init__(self, other: S3) -> None:
            self.__dict__.update(other.__dict__)

        def put(self, bucket, key, body, **_conditions):
            return super().put(bucket, key, body)

    with pytest.raises(RejectedError, match="does not support conditional writes"):
        promote(HERE, Careless(s3), Release("tiny", "1.0.0"), "latest")
    assert at(s3, "latest") == "1.10.0"
    with pytest.raises(RejectedError, match="does not support conditional writes"):
        publish(make_package(tmp_path / "new", "2.0.0"), URI, Careless(s3), channel=None)
    assert list(s3.list(BUCKET, "emotion/tiny/2.0.0")) == [], "no claim, and no file"


def test_the_history_is_bounded(s3, versions):
    for number in range(HISTORY_LIMIT + 5):
        promote(HERE, s3, Release("tiny", versions[number % 2]), "stable")
    pointer = read_channel(HERE, s3, "stable").pointer
    assert len(pointer.history) == HISTORY_LIMIT
    assert len(s3.read(BUCKET, "emotion/stable").body) < 4_000


def test_rollbacks_go_further_and_further_back(s3, versions):
    assert rollback(HERE, s3, "latest")[1].version == "1.1.0"
    assert rollback(HERE, s3, "latest")[1].version == "1.1.0-rc.10"
    promote(HERE, s3, Release("tiny", "1.10.0"), "latest")  # the version is promoted again after its rollback
    assert rollback(HERE, s3, "latest")[1].version == "1.1.0-rc.10"
    assert rollback(HERE, s3, "latest")[1].version == "1.1.0-rc.2"
    assert rollback(HERE, s3, "latest")[1].version == "1.0.0"
    with pytest.raises(ModelNotFoundError, match=r"latest has no earlier version than tiny 1\.0\.0"):
        rollback(HERE, s3, "latest")
    assert at(s3, "latest") == "1.0.0"


def test_a_rollback_to_a_given_version_withdraws_all_that_came_after_it(s3, versions):
    assert rollback(HERE, s3, "latest", "1.1.0-rc.10")[1].version == "1.1.0-rc.10"
    history = read_channel(HERE, s3, "latest").pointer.history
    assert [(p.version, p.withdrawn) for p in history] == [
        ("1.10.0", True),
        ("1.1.0", True),
        ("1.1.0-rc.10", False),
        ("1.1.0-rc.2", False),
        ("1.0.0", False),
    ]
    assert rollback(HERE, s3, "latest")[1].version == "1.1.0-rc.2", "back, not forward to 1.1.0"


def test_a_rollback_to_a_given_version(s3, versions):
    assert rollback(HERE, s3, "latest", "1.0.0")[1].version == "1.0.0"
    assert rollback(HERE, s3, "latest", "tiny@1.1.0")[1].version == "1.1.0"
    with pytest.raises(
        ModelNotFoundError,
        match=r"has not pointed to 9\.9\.9 before; its earlier versions are: tiny 1\.0\.0, tiny 1\.10\.0",
    ):
        rollback(HERE, s3, "latest", "9.9.9")
    with pytest.raises(ModelNotFoundError, match="there is no emotion/stable"):
        rollback(HERE, s3, "stable")


def test_a_version_with_a_changed_file_is_not_promoted(s3, versions):
    s3.put(BUCKET, "emotion/tiny/1.1.0/model.onnx", b"!" * len("1.1.0") * 1000)
    with pytest.raises(ModelPackageError, match=r"tiny/1\.1\.0/model\.onnx is damaged"):
        promote(HERE, s3, Release("tiny", "1.1.0"), "stable")
    assert read_channel(HERE, s3, "stable") is None


@pytest.mark.parametrize("damage", ["gone", "truncated", "no manifest"])
def test_no_channel_is_moved_to_an_incomplete_version(s3, versions, damage):
    key = "emotion/tiny/1.1.0/model.onnx"
    match damage:
        case "gone":
            s3.delete(BUCKET, key)
        case "truncated":
            s3.put(BUCKET, key, b"net")
        case _:
            s3.delete(BUCKET, "emotion/tiny/1.1.0/manifest.json")
    expected = ModelNotFoundError if damage == "no manifest" else ModelPackageError
    with pytest.raises(expected) as info:
        promote(HERE, s3, Release("tiny", "1.1.0"), "stable")
    one_line(info, "tiny/1.1.0/")
    with pytest.raises(expected):
        rollback(HERE, s3, "latest")
    assert at(s3, "latest") == "1.10.0"
    assert read_channel(HERE, s3, "stable") is None


def test_a_channel_and_a_model_cannot_share_a_name(s3, versions, tmp_path):
    with pytest.raises(ModelError, match="tiny is the name of a model"):
        promote(HERE, s3, Release("tiny", "1.0.0"), "tiny")
    with pytest.raises(ModelError, match="latest is the name of a channel"):
        publish(make_package(tmp_path / "latest", name="latest"), URI, s3, channel=None)


@pytest.mark.parametrize("name", ["", "Stable", "a/b", "..", "1st", "x" * 51, "latest\n"])
def test_a_bad_channel_name_is_refused(s3, versions, name):
    with pytest.raises(ModelError, match="is not a valid channel name"):
        promote(HERE, s3, Release("tiny", "1.0.0"), name)


def test_a_channel_is_resolved(s3, versions, tmp_path):
    promote(HERE, s3, Release("tiny", "1.1.0"), "stable")
    assert resolve(URI, s3, tmp_path / "cache", "stable").manifest.version == "1.1.0"
    with pytest.raises(ModelNotFoundError, match="there is no emotion/candidate"):
        resolve(URI, s3, tmp_path / "cache", "candidate")


def test_a_pointer_from_before_there_was_a_history(s3, versions):
    s3.put(BUCKET, "emotion/stable", json.dumps({"name": "tiny", "version": "1.0.0"}).encode())
    promote(HERE, s3, Release("tiny", "1.1.0"), "stable")
    assert rollback(HERE, s3, "stable")[1].version == "1.0.0"


def test_the_first_publication_sets_both_channels_and_later_ones_neither(s3, tmp_path):
    assert publish_if_empty(make_package(tmp_path / "1"), URI, s3) == ("latest", "stable")
    publish(make_package(tmp_path / "2", "2.0.0"), URI, s3)
    assert publish_if_empty(make_package(tmp_path / "3", "3.0.0"), URI, s3) == ()
    assert (at(s3, "latest"), at(s3, "stable")) == ("2.0.0", "1.0.0")
    # This is a registry from before the channel `stable` existed.
    s3.delete(BUCKET, "emotion/stable")
    assert publish_if_empty(make_package(tmp_path / "4", "4.0.0"), URI, s3) == ("stable",)
    assert at(s3, "stable") == "2.0.0"


def settings_of(s3_server, uri, tmp_path):
    return make_settings(
        s3_endpoint=s3_server.endpoint,
        s3_access_key_id="key",
        s3_secret_access_key=SECRET,
        model_uri=uri,
        model_cache=tmp_path / "cache",
    )


def test_without_settings_workers_serve_stable_and_publishing_does_not_reach_them(s3, s3_server, tmp_path):
    """`emostream model publish` without options moves `latest`. `stable` stays as init created it until a promotion."""
    settings = settings_of(s3_server, URI, tmp_path)
    publish_if_empty(make_package(tmp_path / "1"), URI, s3)
    publish(make_package(tmp_path / "2", "2.0.0"), URI, s3)
    assert resolve(URI, s3, settings.model_cache, settings.model_channel).manifest.version == "1.0.0"
    promote(HERE, s3, Release("tiny", "2.0.0"), "stable")
    assert resolve(URI, s3, settings.model_cache, settings.model_channel).manifest.version == "2.0.0"


def test_versions_are_listed_by_precedence(s3, versions):
    s3.put(BUCKET, "emotion/tiny/2.0.0/model.onnx", b"an upload that is not finished")
    held = contents(HERE, s3)
    assert [release.version for release in held.releases] == versions
    assert set(held.channels) == {"latest"}


@pytest.mark.parametrize("content", [b"not a pointer", b" " * (2 << 20)])
def test_an_object_that_is_not_a_pointer_does_not_hide_others(s3, versions, content):
    s3.put(BUCKET, "emotion/readme", content)
    held = contents(HERE, s3)
    assert set(held.channels) == {"latest"}
    assert [release.version for release in held.releases] == versions
    assert list(held.problems) == ["readme"]
    assert f"{BUCKET}/emotion/readme" in held.problems["readme"]
    assert find(HERE, s3, "tiny") == ("tiny", "1.10.0")
    with pytest.raises(ModelPackageError, match="emotion/readme is"):
        find(HERE, s3, "readme")


def test_the_ways_to_name_a_version(s3, versions, tmp_path):
    publish(make_package(tmp_path / "other", "1.0.0", name="other"), URI, s3, channel="candidate")
    assert find(HERE, s3, "latest") == ("tiny", "1.10.0")
    assert find(HERE, s3, "candidate") == ("other", "1.0.0")
    assert find(HERE, s3, "tiny") == ("tiny", "1.10.0")
    assert find(HERE, s3, "1.1.0-rc.10") == ("tiny", "1.1.0-rc.10")
    assert find(HERE, s3, "other@1.0.0") == ("other", "1.0.0")
    with pytest.raises(ModelError, match=r"1\.0\.0 is a version of other, tiny: give NAME@VERSION"):
        find(HERE, s3, "1.0.0")
    with pytest.raises(ModelNotFoundError, match="'x'; channels: candidate, latest; models: other, tiny"):
        find(HERE, s3, "x")
    for wrong in ("tiny@9.0.0", "tiny@", "@1.0.0", "tiny@../other"):
        with pytest.raises(ModelNotFoundError):
            find(HERE, s3, wrong)


# --- the commands -----------------------------------------------------------------------------------------------


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
