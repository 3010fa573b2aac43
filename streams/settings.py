"""The settings: one class, and the function that reads them from the environment and a `.env` file.

Each setting is an environment variable with the prefix `EMOSTREAM_`, or a line in `.env`; the environment wins. A name
with the prefix that is not a setting is an error, so that a misspelt setting is not silently ignored.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from streams.errors import SettingsError
from streams.setting_problems import problems_of, unknown
from streams.setting_types import (
    CHANNEL,
    Address,
    Bootstrap,
    Endpoint,
    LanguageModels,
    ModelUri,
    PostgresDsn,
    RedisUrl,
    SecretKey,
    Topic,
    WindowSizes,
)
from streams.window_sizes import parse_sizes

LongTexts = Literal["cut", "refuse"]

PREFIX = "EMOSTREAM_"
TEST_PREFIX = "EMOSTREAM_TEST_"  # read by the test fixtures only


class Settings(BaseSettings):
    """All settings, of every command. Immutable; secrets are masked in its `repr`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        dotenv_filtering="only_existing",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use no source but the arguments of the constructor; `load_settings` reads the environment and the file.

        The other sources ignore unknown names in the environment, and cannot read an environment that is passed in.
        """
        return (init_settings,)

    # Kafka
    kafka_bootstrap: Bootstrap = Field("127.0.0.1:9092", description="Brokers, `host:port`, separated by commas.")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Protocol of the connections to the brokers."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        None, description="SASL mechanism; required with SASL_PLAINTEXT and SASL_SSL."
    )
    kafka_sasl_username: str | None = Field(None, description="SASL user.")
    kafka_sasl_password: SecretStr | None = Field(None, description="SASL password.")
    kafka_ssl_ca_location: Path | None = Field(None, description="PEM file of the certificate authority.")
    kafka_ssl_certificate_location: Path | None = Field(None, description="PEM file of the client certificate.")
    kafka_ssl_key_location: Path | None = Field(None, description="PEM file of the client's private key.")
    kafka_ssl_key_password: SecretStr | None = Field(None, description="Passphrase of the private key.")
    kafka_session_timeout_ms: int = Field(
        10_000, ge=1_000, le=300_000, description="Milliseconds after which a silent consumer loses its partitions."
    )
    kafka_timeout_s: float = Field(
        10.0, gt=0, le=300, description="Seconds that a request to the brokers may take at a start."
    )

    # Topics
    topic_raw: Topic = Field("posts.raw", description="Raw posts, written by producers.")
    topic_classified: Topic = Field("posts.classified", description="Classified posts.")
    topic_dead: Topic = Field("posts.dead", description="Dead letters: what could not be classified, and why.")
    topic_late: Topic = Field("posts.late", description="Posts that were too late for their window.")
    topic_windows: Topic = Field("emotions.windows", description="Emotion windows (compacted).")
    topic_totals: Topic = Field(
        "emotions.totals",
        description="Running totals: a record each second, or every ten while the worker is behind or no posts are "
        "counted.",
    )
    topic_control: Topic = Field("emostream.control", description="Commands to the workers.")
    topic_keywords: Topic = Field(
        "emostream.keywords", description="Keywords that sources search posts for (compacted)."
    )
    topic_sources: Topic = Field("emostream.sources", description="Positions of the sources (compacted).")
    topic_gaps: Topic = Field("emostream.gaps", description="Gaps: what the networks could not replay.")
    topic_deletions: Topic = Field("posts.deletions", description="Posts and accounts that were deleted.")
    partitions: int = Field(
        4, ge=1, le=10_000, description="Partitions of the raw, the classified and the windows topic."
    )
    replication_factor: int = Field(1, ge=1, le=9, description="Copies of each partition; 3 in production.")
    retention_hours: float = Field(
        168, gt=0, le=87_600, description="Hours that raw, classified, dead and late posts stay in Kafka."
    )
    group_prefix: Topic = Field("emostream", description="Prefix of the consumer groups and transactional ids.")

    # Sources
    unmatched_posts: Literal["drop", "keep"] = Field(
        "drop",
        description="What sources do with a post that has none of the keywords: `drop` it, or `keep` it in the windows "
        "of `*` only. Without keywords, all posts are kept.",
    )
    authors: Literal["hash", "omit", "plain"] = Field(
        "hash",
        description="What sources write as the author of a post: a keyed `hash`, which needs EMOSTREAM_AUTHOR_KEY, "
        "nothing (`omit`), or the account as the network names it (`plain`).",
    )
    author_key: SecretKey | None = Field(
        None,
        description="Secret key of the hashes of authors, at least 16 characters. Without it no authors are written.",
    )
    author_former_key: SecretKey | None = Field(
        None, description="The key before this one. Deletions of accounts reach posts with either key."
    )
    webhook_secret: SecretStr | None = Field(
        None, description="Secret of the signatures of webhooks, at least 16 characters."
    )

    # Redis
    redis_url: RedisUrl = Field(
        Address("redis://127.0.0.1:6379/0"), description="`redis://` or `rediss://` address of the windows' Redis."
    )
    redis_cluster: bool = Field(
        False, description="Whether the address is that of a node of a Redis Cluster; any node will do."
    )
    redis_prefix: str = Field(
        "emo",
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="Prefix of every Redis key.",
    )
    shards: int = Field(4, ge=1, le=1024, description="Number of Redis hash tags that the windows are spread over.")

    # Postgres
    postgres_dsn: PostgresDsn = Field(
        Address("postgresql://emostream@127.0.0.1:5432/emostream"),
        description="`postgresql://` address of the database that the sink writes to.",
    )
    keep_text: bool = Field(True, description="Whether the classified topic and Postgres keep the texts of posts.")

    # S3 and the model
    s3_endpoint: Endpoint | None = Field(None, description="Endpoint of an S3-compatible server; empty for AWS.")
    s3_region: str = Field("us-east-1", min_length=1, description="S3 region.")
    s3_access_key_id: str | None = Field(None, description="S3 key id; empty for the default credential chain.")
    s3_secret_access_key: SecretStr | None = Field(None, description="S3 secret key.")
    model_uri: ModelUri = Field(
        "s3://emostream-models/emotion",
        description="Model registry, `s3://bucket/prefix`, or the folder of one model package.",
    )
    model_channel: str = Field(
        "stable",
        pattern=f"^{CHANNEL}$",
        description="Channel of the registry that workers serve: `stable`, `candidate`, `latest`, …",
    )
    models: LanguageModels = Field(
        (),
        description="Models for single languages, `LANGUAGE=URI[#CHANNEL]`, separated by commas, such as "
        "`es=s3://bucket/spanish#stable,hi=/models/hindi`. The channel is by default that of the main model, which "
        "classifies the posts in the other languages that it reads.",
    )
    model_poll_s: float = Field(
        10.0,
        ge=0,
        le=86_400,
        description="Seconds between two polls of each channel by a worker; 0 reads the channels only at the start.",
    )
    model_cache: Path = Field(Path("~/.cache/emostream/models"), description="Folder for downloaded model packages.")
    model_threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads of the inference session of each process. 0 divides the cores among the processes of a "
        "worker, with at least one thread for each.",
    )

    # Posts, batches and windows
    batch_max: int = Field(512, ge=1, le=100_000, description="Most posts in a batch of the classify stage.")
    batch_wait_ms: int = Field(
        20,
        ge=1,
        le=60_000,
        description="Milliseconds that a batch waits to fill while no other one is being classified. While "
        "another one is, it goes on filling.",
    )
    aggregate_batch_max: int = Field(
        16_384,
        ge=1,
        le=100_000,
        description="Most classified posts in a batch of the aggregate stage. The work of Redis grows with the windows "
        "in a batch, and hardly with its posts.",
    )
    aggregate_wait_ms: int = Field(
        200,
        ge=1,
        le=60_000,
        description="Milliseconds that a batch of the aggregate stage waits to fill; thirty times as long while the "
        "worker is behind.",
    )
    text_max_chars: int = Field(5_000, ge=1, le=200_000, description="The most characters of a text.")
    long_texts: LongTexts = Field(
        "refuse",
        description="What a worker does with a longer text: `refuse` makes it a dead letter, `cut` keeps its beginning "
        "and marks the post as `truncated`.",
    )
    source_long_texts: LongTexts = Field(
        "cut", description="The same for posts of networks and feeds, before they are written to the raw topic."
    )
    invalid_characters: Literal["replace", "refuse"] = Field(
        "replace",
        description="What happens to a post with U+0000 or a lone surrogate, which cannot be stored: `replace` puts "
        "U+FFFD there, `refuse` makes it a dead letter or refuses the row.",
    )
    max_future_s: float = Field(
        300, ge=0, le=86_400, description="A post dated more than this many seconds in the future is dead-lettered."
    )
    window_sizes: WindowSizes = Field(
        parse_sizes("1m:2d,5m:7d,1h:30d,1d:400d"),
        description="Sizes of the tumbling windows, separated by commas. After each colon: how long after its end a "
        "window stays in Redis and still counts late posts. Durations end with s, m, h or d.",
    )
    allowed_lateness_s: float = Field(
        10, ge=0, le=86_400, description="Seconds that the watermark stays behind the latest event time."
    )
    idle_partition_s: float = Field(
        30, gt=0, le=86_400, description="Seconds without posts until a partition no longer holds the watermark back."
    )
    source_deduplication_s: float = Field(
        900,
        ge=0,
        le=7 * 86_400,
        description="Seconds, by the broker's clock, within which a post of a source (`emostream ingest`) with an id "
        "that came before is not counted again. 0 counts every such post. Costs about 300 bytes of memory for each "
        "post of a source within that time, for at most 400,000 posts in all partitions.",
    )
    deduplication_s: float = Field(
        0,
        ge=0,
        le=7 * 86_400,
        description="The same for every post, whoever sent it. Posts of sources have the longer of the two times. 0 "
        "counts every post of others. With it the number of posts in memory has no limit, and a worker fetches its "
        "own records.",
    )
    emit_interval_ms: int = Field(
        1_000,
        ge=50,
        le=600_000,
        description="Milliseconds between two publications of changed windows. Windows of two minutes and more are "
        "published every second interval, those of five and more every fifth, those of ten and more every tenth. While "
        "the worker is behind (more than a batch of posts waits), all are published ten times less often.",
    )

    # Sink and operation
    sink_batch: int = Field(
        20_000,
        ge=1,
        le=1_000_000,
        description="Most records of a topic that the sink holds in memory; a transaction has at most half of them.",
    )
    sink_slice_ms: int = Field(
        100, ge=10, le=60_000, description="Milliseconds that a transaction should take. The load is checked before it."
    )
    sink_cpu_percent: float = Field(
        20,
        gt=0,
        le=100,
        description="The sink writes only while the CPU utilization of everything else is below this percentage of the "
        "machine, or of the quota in a container with a CPU quota. 100 is no limit.",
    )
    sink_calm_s: float = Field(
        3, ge=0, le=3_600, description="Seconds that the load must stay low before the sink writes again."
    )
    sink_pressure_percent: float | None = Field(
        None,
        gt=0,
        le=100,
        description="The sink also waits while tasks stall for CPU, memory or I/O for this percentage of the time "
        "(Linux pressure stall information); empty for no limit.",
    )
    sink_max_delay_s: float = Field(
        0,
        ge=0,
        le=31_536_000,
        description="Seconds after which a record that waits in Kafka is written whatever the load; 0 for no deadline.",
    )
    sink_backfill_interval_s: float = Field(
        3_600,
        ge=0,
        le=31_536_000,
        description="Seconds between two backfills: the sink finds rows that are missing and fills them while the "
        "machine is idle. 0 for no backfills.",
    )
    sink_web_port: int = Field(
        6065, ge=0, le=65_535, description="Port of the sink's web server (/metrics, /health, /status); 0 turns it off."
    )
    worker_processes: int = Field(
        0, ge=0, le=256, description="Processes of one `emostream worker`. 0: one per core, at most one per partition."
    )
    web_port: int = Field(
        6066,
        ge=0,
        le=65_535,
        description="Port of the web server (/metrics) of a worker's first process; each other process has the next "
        "port. 0 turns them off.",
    )
    web_bind: str = Field("127.0.0.1", min_length=1, description="Address that the web servers listen on.")
    ingest_web_port: int = Field(
        6064,
        ge=0,
        le=65_535,
        description="Port of the web server (/metrics) of `emostream ingest`; 0 turns it off.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Level of the log.")

    @model_validator(mode="after")
    def _check_together(self) -> Settings:
        if self.kafka_security_protocol.startswith("SASL"):
            if self.kafka_sasl_mechanism is None:
                raise ValueError(f"{PREFIX}KAFKA_SECURITY_PROTOCOL with SASL needs {PREFIX}KAFKA_SASL_MECHANISM")
            if self.kafka_sasl_username is None or self.kafka_sasl_password is None:
                raise ValueError(f"SASL needs {PREFIX}KAFKA_SASL_USERNAME and {PREFIX}KAFKA_SASL_PASSWORD")
        elif self.kafka_sasl_mechanism is not None:
            raise ValueError(
                f"{PREFIX}KAFKA_SASL_MECHANISM needs {PREFIX}KAFKA_SECURITY_PROTOCOL SASL_PLAINTEXT or SASL_SSL"
            )
        for name in ("kafka_ssl_ca_location", "kafka_ssl_certificate_location", "kafka_ssl_key_location"):
            path: Path | None = getattr(self, name)
            # Unlike `Path.is_file`, `os.path.isfile` is false if the name is too long.
            if path is not None and not os.path.isfile(path):  # noqa: PTH113
                raise ValueError(f"{PREFIX}{name.upper()}: no such file: {path}")
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise ValueError(f"give both {PREFIX}S3_ACCESS_KEY_ID and {PREFIX}S3_SECRET_ACCESS_KEY, or neither")
        topics = [value for name, value in self if name.startswith("topic_")]
        if len(set(topics)) != len(topics):
            raise ValueError("two topics have the same name; give each topic a name of its own")
        return self

    def secrets(self) -> list[str]:
        """Returns every string that must not be printed: secret settings, and the passwords in addresses."""
        found: list[str] = []
        for _, value in self:
            if isinstance(value, Address):
                found += value.passwords()
            elif isinstance(value, SecretStr):
                found.append(value.get_secret_value())
        return [secret for secret in found if secret]


def load_settings(
    env_file: Path | None = Path(".env"),
    environ: Mapping[str, str] | None = None,
    **overrides: Any,  # noqa: ANN401 - each setting has its own type
) -> Settings:
    """Read the settings from the environment and `env_file`. An empty value is the default.

    Args:
        env_file: A dotenv file; it need not exist. Names without the prefix are ignored, because `docker compose`
            reads the same file.
        environ: The environment; None for that of this process. It wins over `env_file`.
        overrides: Settings by field name; they win over both.

    Raises:
        SettingsError: A setting is unknown or malformed, or contradicts another one. The error has a line for each
            such setting; no line contains a secret.
    """
    file = _read_env_file(env_file)
    environment = EnvSettingsSource(Settings)
    if environ is not None:
        environment.env_vars = {name.lower(): value for name, value in environ.items()}
    # The sources ignore names that are not settings.
    names = [name.upper() for name in {**file.env_vars, **environment.env_vars}]
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    problems = [
        unknown(name, known)
        for name in names
        if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX) and name not in known
    ]
    given = {name: value for name, value in {**file(), **environment()}.items() if value != ""}
    try:
        settings = Settings(**{**given, **overrides})
    except ValidationError as exc:
        raise SettingsError(problems + problems_of(exc, PREFIX)) from None
    if problems:
        raise SettingsError(problems)
    return settings


def _read_env_file(env_file: Path | None) -> DotEnvSettingsSource:
    try:
        return DotEnvSettingsSource(Settings, env_file)
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise SettingsError([f"{env_file}: cannot be read: {reason}"]) from None
