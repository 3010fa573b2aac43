"""The settings: `Settings` has all of them, and `load_settings` reads them from the environment and a `.env` file.

Each setting is an environment variable with the prefix `EMOSTREAM_`, or a line in `.env`; the environment wins. A name
with the prefix that is not a setting is an error, so that a misspelt setting is not silently ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    DotEnvSettingsSource,
    EnvSettingsSource,
)

from streams.api_settings import ApiSettings
from streams.errors import SettingsError
from streams.setting_problems import problems_of, unknown
from streams.setting_types import (
    PREFIX,
    Address,
    Endpoint,
    WindowSizes,
)
from streams.window_sizes import parse_sizes

LongTexts = Literal["cut", "refuse"]

TEST_PREFIX = "EMOSTREAM_TEST_"  # read by the test fixtures only


class Settings(ApiSettings):
    """All settings, of every command. Immutable; secrets are masked in its `repr`."""

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

    # Alerts
    alert_channels: Path | None = Field(
        None,
        description="channels.toml with the channels that are told of incidents, and their secrets; empty for none. "
        "Incidents then go to the topic, to Postgres and to the HTTP service only.",
    )
    alert_retry_h: float = Field(
        24,
        gt=0,
        le=720,
        description="Hours in which a message of an incident is sent again to a channel that does not accept it. It "
        "fails after that.",
    )
    public_url: Endpoint | None = Field(
        None, description="Address of the HTTP service for people, to which messages of incidents link; empty for none."
    )
    alert_interval_ms: int = Field(
        1_000, ge=50, le=60_000, description="Milliseconds between two rounds in which rules are evaluated."
    )
    alert_hold_ms: int = Field(
        3_000,
        ge=0,
        le=600_000,
        description="Milliseconds that the final windows of a span wait for each other, after that of all posts was "
        "published. A window that comes later changes nothing, so this is the difference that workers may have.",
    )
    alert_web_port: int = Field(
        6062,
        ge=0,
        le=65_535,
        description="Port of the web server (/metrics, /health) of `emostream alerts run`; 0 turns it off.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Level of the log.")

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
