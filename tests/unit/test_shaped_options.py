"""The options of sources whose posts have any shape, in sources.toml and on the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connectors.sources.events import SkipReason, SourcePost, SourceSkipped
from streams.cli import cli
from streams.errors import InputError
from streams.ingest.shaped.kinds import SHAPED_KINDS, beginning_now
from streams.ingest.shaped.options import document_reader, file_shape
from streams.ingest.shaped.topic import TopicSource
from streams.ingest.sources import run as run_module
from streams.ingest.sources.config import SourceSpec, read_config
from streams.ingest.sources.kinds import opener_of, option_names
from tests.helpers import make_settings

SECRET = "0123456789abcdef"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXAMPLES: dict[str, dict[str, Any]] = {
    "files": {"path": "/"},
    "kafka": {"topic": "tweets"},
    "s3": {"uri": "s3://bucket/posts/"},
    "webhook": {},
}


def spec(kind: str, **options: Any) -> SourceSpec:
    return SourceSpec("mine", kind, options={**EXAMPLES[kind], **options})


@pytest.mark.parametrize(
    ("kind", "options", "problem"),
    [
        ("kafka", {"topic": 5}, "topic is a string"),
        ("kafka", {"topic": ""}, "topic is a string"),
        ("kafka", {"topic": "posts.raw"}, "is the raw topic"),
        ("kafka", {"begin": "now"}, "begin is one of earliest, latest"),
        ("kafka", {"shape": "toots"}, "there is no shape 'toots'"),
        ("kafka", {"shape": "sentiment140"}, "is that of a table"),
        ("kafka", {"shape": "mastodon", "map": {"text": "a"}}, "give shape or map"),
        ("kafka", {"shape": "mastodon", "timezone": "UTC"}, "timezone is for other inputs"),
        ("kafka", {"timezone": "Mars"}, "timezone 'Mars' is not the name of a time zone"),
        ("kafka", {"map": "text=a"}, "map is a table"),
        ("kafka", {"map": {"txt": "a"}}, "a post has no field 'txt'"),
        ("kafka", {"map": {"text": "a["}}, "is not a JMESPath expression"),
        ("kafka", {"security_protocol": "SSL"}, "give servers too"),
        ("kafka", {"servers": "k:9092", "security_protocol": "SASL_SSL"}, "is PLAINTEXT or SSL"),
        ("files", {"path": "/nothing/here"}, "/nothing/here is no folder"),
        ("files", {"path": "~nobody-has-this-name/x"}, "begins with the home of a user that is not known"),
        ("files", {"path": "/" + "x" * 300}, "cannot be opened: File name too long"),
        ("files", {"pattern": "../*"}, "is not a pattern"),
        ("files", {"settle_s": -1}, "settle_s is a number from 0 to 86400"),
        ("files", {"interval_s": True}, "interval_s is a number"),
        ("files", {"format": "xml"}, "format is one of jsonl, json"),
        ("files", {"header": "yes"}, "header is true or false"),
        ("files", {"delimiter": "||"}, "is not one character"),
        ("files", {"encoding": "klingon"}, "is not an encoding"),
        ("files", {"format": "csv", "shape": "mastodon"}, "the shape is that of JSON"),
        ("s3", {"uri": "https://bucket/x"}, "is not an address such as s3://bucket/prefix/"),
        ("s3", {"max_bytes": 0}, "max_bytes is a number"),
        ("webhook", {"listen": "localhost"}, "listen is an address and a port"),
        ("webhook", {"listen": "127.0.0.1:99999"}, "listen is an address and a port"),
        ("webhook", {"listen": "me@127.0.0.1:80"}, "listen is an address and a port"),
        ("webhook", {"listen": "0.0.0.0:8090"}, "set EMOSTREAM_WEBHOOK_SECRET"),
        ("webhook", {"listen": "example.org:8090"}, "set EMOSTREAM_WEBHOOK_SECRET"),
        ("webhook", {"max_bytes": 10**9}, "max_bytes is a number"),
    ],
)
def test_options_that_cannot_be_used(kind: str, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        opener_of(spec(kind, **options), make_settings())
    message = str(caught.value)
    assert message.startswith("source 'mine': ")
    assert problem in message
    assert "\n" not in message


@pytest.mark.parametrize(("kind", "option"), [("kafka", "topic"), ("files", "path"), ("s3", "uri")])
def test_options_that_must_be_given(kind: str, option: str) -> None:
    with pytest.raises(InputError, match=f"give {option}, such as {option} = "):
        opener_of(SourceSpec("mine", kind), make_settings())


@pytest.mark.parametrize("kind", SHAPED_KINDS)
def test_an_endpoint_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match="has no endpoint"):
        opener_of(SourceSpec("mine", kind, endpoints=("https://x.example/",), options=EXAMPLES[kind]), make_settings())


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"signature_header": "two words"}, "signature_header is the name of a header"),
        ({"timestamp_header": ""}, "timestamp_header is a string"),
        ({"tolerance_s": 0}, "tolerance_s is a number"),
    ],
)
def test_options_of_signatures(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        opener_of(spec("webhook", **options), make_settings(webhook_secret=SECRET))


def test_a_webhook_listens_on_every_address_only_with_a_secret() -> None:
    opener_of(spec("webhook", listen="0.0.0.0:8090"), make_settings(webhook_secret=SECRET))
    opener_of(spec("webhook", listen="[::1]:8090"), make_settings())
    with pytest.raises(InputError, match="at least 16 characters"):
        opener_of(spec("webhook"), make_settings(webhook_secret="short"))


def test_another_cluster_does_not_get_the_credentials_of_ours() -> None:
    settings = make_settings(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="PLAIN",
        kafka_sasl_username="me",
        kafka_sasl_password="hunter22",
    )
    own, other = (opener_of(spec("kafka", **options), settings)() for options in ({}, {"servers": "k.example:9092"}))
    assert isinstance(own, TopicSource)
    assert isinstance(other, TopicSource)
    assert own._options.kafka.sasl_password == "hunter22"
    assert (other._options.kafka.bootstrap, other._options.kafka.sasl_password) == ("k.example:9092", None)
    # The same name in another cluster is not our raw topic.
    opener_of(spec("kafka", topic="posts.raw", servers="k.example:9092"), settings)


def test_from_now_does_not_begin_with_what_is_there() -> None:
    assert beginning_now(spec("kafka", begin="earliest")).options["begin"] == "latest"
    assert "begin" not in beginning_now(spec("webhook")).options


def test_documents_have_the_id_of_their_instance() -> None:
    reader = document_reader(spec("kafka", map={"text": "body", "created_at": "at"}, timezone="UTC"), make_settings())
    event = reader.event(
        b'{"id": 7, "body": "tea\\u0000", "at": "2026-03-01 11:00:00"}', default_id="x", received_at=NOON
    )
    assert event == SourcePost(id="mine:7", text="tea�", created_at=NOON.replace(hour=11), cleaned=True)
    event = reader.event(b'{"body": "tea", "at": "2027-03-01 11:00:00"}', default_id="x", received_at=NOON)
    assert event == SourcePost(id="mine:x", text="tea", created_at=NOON)


@pytest.mark.parametrize("value", [b"", b"\xff", b"{", b"[]", b"5", b'{"a": NaN}', b"[" * 10_000])
def test_documents_that_cannot_be_read(value: bytes) -> None:
    event = document_reader(spec("kafka"), make_settings()).event(value, default_id="x", received_at=NOON)
    assert isinstance(event, SourceSkipped)
    assert event.reason is SkipReason.UNREADABLE


def test_characters_are_left_as_they_are_if_a_setting_says_so() -> None:
    reader = document_reader(spec("kafka"), make_settings(invalid_characters="refuse"))
    event = reader.event(b'{"text": "tea\\u0000"}', default_id="x", received_at=NOON)
    assert event == SourcePost(id="mine:x", text="tea\0", created_at=NOON)


def test_options_of_other_formats_do_not_count(tmp_path: Path) -> None:
    shape = file_shape(spec("files", delimiter="tab", header=False, encoding="latin-1"), make_settings())
    (tmp_path / "a.csv").touch()
    csv, jsonl, parquet = (shape.spec(str(tmp_path / name)) for name in ("a.csv", "a.jsonl", "a.parquet"))
    assert (csv.delimiter, csv.header, csv.encoding) == ("\t", False, "iso8859-1")
    assert (jsonl.delimiter, jsonl.header, jsonl.encoding) == (None, None, "iso8859-1")
    assert (parquet.delimiter, parquet.header, parquet.encoding) == (None, None, None)


def test_a_mapping_in_sources_toml(tmp_path: Path) -> None:
    path = tmp_path / "sources.toml"
    path.write_text("[orders]\nsource = 'kafka'\ntopic = 'orders'\nmap.text = 'comment.body'\n")
    found = read_config(path, option_names())["orders"]
    assert found.options == {"topic": "orders", "map": {"text": "comment.body"}}
    assert opener_of(found, make_settings())().name == "kafka"


def test_options_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[SourceSpec] = []
    monkeypatch.setattr(run_module, "run_sources", lambda _settings, specs, **_: started.extend(specs))
    words = ["ingest", "kafka", "--option", "topic=tweets", "--option", "begin=earliest", "--map", "text=body[0]"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    assert started[0].options == {"topic": "tweets", "begin": "earliest", "map": {"text": "body[0]"}}
    result = CliRunner().invoke(cli, ["ingest", "files", "--option", "interval_s=0.5", "--option", "header=true"])
    assert started[1].options == {"interval_s": 0.5, "header": True}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["kafka", "--option", "topik=x"], "'topik' is no option of kafka; there are begin, map,"),
        (["bluesky", "--map", "text=x"], "'map' is no option of bluesky"),
        (["kafka", "--option", "topic"], "'topic' is not NAME=VALUE"),
        (["kafka", "--option", "topic=a", "--option", "topic=b"], "the option 'topic' is given twice"),
        (["kafka", "--map", "text=a", "--map", "text=b"], "the expression of 'text' is given twice"),
        (["kafka", "files", "--option", "topic=x"], "are for one source"),
    ],
)
def test_wrong_options_on_the_command_line(words: list[str], problem: str) -> None:
    result = CliRunner().invoke(cli, ["ingest", *words])
    assert result.exit_code == 2
    assert problem in " ".join(result.output.split())
