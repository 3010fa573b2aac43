"""A channel moves only to a complete version, by one writer at a time, and goes back to the versions before it."""

import json

import pytest

from connectors.errors import RejectedError
from connectors.s3.client import S3
from models.errors import ChannelMovedError, ModelError, ModelNotFoundError, ModelPackageError
from models.registry.cache import resolve
from models.registry.channels import HISTORY_LIMIT, Release, move, read_channel
from models.registry.publish import promote, publish, publish_if_empty, rollback
from tests.integration.registry_support import BUCKET, HERE, URI, make_package, one_line, race, settings_of


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


def test_without_settings_workers_serve_stable_and_publishing_does_not_reach_them(s3, s3_server, tmp_path):
    """`emostream model publish` without options moves `latest`. `stable` stays as init created it until a promotion."""
    settings = settings_of(s3_server, URI, tmp_path)
    publish_if_empty(make_package(tmp_path / "1"), URI, s3)
    publish(make_package(tmp_path / "2", "2.0.0"), URI, s3)
    assert resolve(URI, s3, settings.model_cache, settings.model_channel).manifest.version == "1.0.0"
    promote(HERE, s3, Release("tiny", "2.0.0"), "stable")
    assert resolve(URI, s3, settings.model_cache, settings.model_channel).manifest.version == "2.0.0"
