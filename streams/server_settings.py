"""The settings of the servers, topics, sources and models. `streams.settings` has the others, and reads them all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from streams.setting_types import (
    CHANNEL,
    PREFIX,
    Address,
    Bootstrap,
    LanguageModels,
    ModelUri,
    PostgresDsn,
    RedisUrl,
    S3Endpoint,
    SecretKey,
    Topic,
)


class ServerSettings(BaseSettings):
    """Where the servers, the topics and the models are. The part of `Settings` that it begins with."""

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
    topic_alerts: Topic = Field("alerts", description="Starts and ends of incidents.")
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
    s3_endpoint: S3Endpoint | None = Field(None, description="Endpoint of an S3-compatible server; empty for AWS.")
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

    @model_validator(mode="after")
    def _check_together(self) -> Self:
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
