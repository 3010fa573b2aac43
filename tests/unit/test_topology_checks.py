"""The topics that the application needs, and the refusal of topics that do not fit them."""

from __future__ import annotations

import pytest

from connectors.kafka.config import MAX_RESPONSE_BYTES
from connectors.kafka.producer import MAX_MESSAGE_BYTES
from streams.errors import TopologyError
from streams.topology import (
    RAW_MAX_BYTES,
    check_classified_is_new_too,
    check_raw_limits,
    check_topics,
    keywords_changes,
    raw_limits,
    topic_specs,
)
from tests.helpers import make_settings

SETTINGS = make_settings(partitions=6, replication_factor=3, retention_hours=1.5, topic_late="late")
GOOD = {spec.name: spec.partitions for spec in topic_specs(SETTINGS)}


def refusal(counts: dict[str, int]) -> str:
    with pytest.raises(TopologyError) as caught:
        check_topics(SETTINGS, counts)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_topic_of_the_settings_has_a_specification() -> None:
    assert set(GOOD) == {value for name, value in SETTINGS if name.startswith("topic_")}
    assert {spec.replication_factor for spec in topic_specs(SETTINGS)} == {3}


def test_raw_and_classified_have_the_same_number_of_partitions() -> None:
    assert (GOOD["posts.raw"], GOOD["posts.classified"]) == (6, 6)


def test_posts_are_kept_for_the_retention_and_windows_as_long_as_in_redis() -> None:
    config = {spec.name: spec.config for spec in topic_specs(SETTINGS)}
    for topic in ("posts.raw", "posts.classified", "posts.dead", "late"):
        assert (config[topic]["retention.ms"], config[topic]["cleanup.policy"]) == ("5400000", "delete")
    assert config["emotions.windows"]["cleanup.policy"] == "compact,delete"
    assert config["emotions.windows"]["retention.ms"] == str(401 * 86_400_000)  # 400 days after the day's end


def test_a_dead_letter_of_the_largest_raw_message_fits() -> None:
    config = {spec.name: spec.config for spec in topic_specs(SETTINGS)}
    in_base64 = (RAW_MAX_BYTES + 2) // 3 * 4
    for topic in ("posts.dead", "posts.classified"):
        assert in_base64 + 100_000 < int(config[topic]["max.message.bytes"]) <= MAX_MESSAGE_BYTES


def test_correct_topics_pass_and_other_topics_are_ignored() -> None:
    check_topics(SETTINGS, {**GOOD, "__consumer_offsets": 50})


def test_every_missing_topic_is_named_with_what_to_do() -> None:
    message = refusal({name: count for name, count in GOOD.items() if name not in {"late", "posts.raw"}})
    assert "posts.raw" in message
    assert "late" in message
    assert "posts.dead" not in message
    assert "emostream init" in message


@pytest.mark.parametrize("classified", [5, 7])
def test_raw_and_classified_must_have_the_same_number_of_partitions(classified: int) -> None:
    message = refusal({**GOOD, "posts.classified": classified})
    assert f"posts.raw has 6 partitions and posts.classified has {classified}" in message


def test_the_number_of_partitions_must_be_that_of_the_settings() -> None:
    assert "EMOSTREAM_PARTITIONS=12" in refusal({**GOOD, "posts.raw": 12, "posts.classified": 12})


def test_keywords_have_one_partition() -> None:
    message = refusal({**GOOD, "emostream.keywords": 3})
    assert "emostream.keywords has 3 partitions; it must have one" in message
    assert "emostream init" in message


@pytest.mark.parametrize(
    ("policy", "deletions_ms", "changes"),
    [
        ("compact", "86400000", {}),
        ("compact", "604800000", {}),
        ("delete", "86400000", {"cleanup.policy": "compact"}),
        ("compact,delete", "86400000", {"cleanup.policy": "compact"}),
        ("delete", "1000", {"cleanup.policy": "compact", "delete.retention.ms": "86400000"}),
    ],
)
def test_keywords_are_kept_for_ever(policy: str, deletions_ms: str, changes: dict[str, str]) -> None:
    config = {"cleanup.policy": policy, "delete.retention.ms": deletions_ms, "retention.ms": "1"}
    assert keywords_changes(config) == changes
    assert keywords_changes({**config, **changes}) == {}


def test_a_new_keywords_topic_keeps_them() -> None:
    config = {spec.name: spec.config for spec in topic_specs(SETTINGS)}["emostream.keywords"]
    assert keywords_changes(config) == {}


@pytest.mark.parametrize(
    ("compression", "most", "changes"),
    [
        ("snappy", 1_048_588, {}),
        ("uncompressed", 1_048_588, {}),
        ("uncompressed", 32_505_856, {}),
        ("lz4", 100_000, {}),
        ("gzip", 30_000, {}),
        ("producer", 1_048_588, {"compression.type": "snappy"}),
        ("zstd", 10_000, {"compression.type": "snappy"}),
        ("lz4", 1_048_588, {"compression.type": "snappy"}),
        ("gzip", 1_048_588, {"compression.type": "snappy"}),
        ("snappy", 4_194_304, {"max.message.bytes": "1048588"}),
        # A consumer takes no answer that has more, and would ask for this batch for ever.
        ("uncompressed", MAX_RESPONSE_BYTES, {"compression.type": "snappy", "max.message.bytes": "1048588"}),
        ("producer", 100_000_000, {"compression.type": "snappy", "max.message.bytes": "1048588"}),
    ],
)
def test_the_raw_topic_limits_what_a_batch_has_when_it_is_decompressed(
    compression: str, most: int, changes: dict[str, str]
) -> None:
    config = {"compression.type": compression, "max.message.bytes": str(most), "retention.ms": "1"}
    assert raw_limits(config) == changes
    assert raw_limits({**config, **changes}) == {}
    if changes:
        with pytest.raises(TopologyError, match=rf"posts.raw has compression.type={compression} .*`emostream init`"):
            check_raw_limits(SETTINGS, config)
    else:
        check_raw_limits(SETTINGS, config)


def test_a_new_raw_topic_has_the_limits() -> None:
    config = {spec.name: spec.config for spec in topic_specs(SETTINGS)}["posts.raw"]
    assert raw_limits(config) == {}


@pytest.mark.parametrize("changed", [[], ["posts.classified"], ["posts.raw", "posts.classified"], ["emotions.windows"]])
def test_topics_may_be_made_again_together(changed: list[str]) -> None:
    check_classified_is_new_too(SETTINGS, changed)


def test_a_raw_topic_must_not_be_made_again_alone() -> None:
    with pytest.raises(TopologyError, match=r"posts\.classified still holds posts of the former topic; delete"):
        check_classified_is_new_too(SETTINGS, ["posts.raw", "emotions.windows"])
