"""The settings of the HTTP service, of the answers that it gives, and of its clients."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from streams.server_settings import ServerSettings
from streams.setting_types import PREFIX, Endpoint, Origins, PostgresDsn


class ApiSettings(ServerSettings):
    """The part of `Settings` that the HTTP service (`emostream api`), the warmer and their clients use."""

    # HTTP service
    api_host: str = Field("127.0.0.1", min_length=1, description="Address that the HTTP service listens on.")
    api_port: int = Field(8000, ge=0, le=65_535, description="Port of the HTTP service; 0 for any free port.")
    api_metrics_port: int = Field(
        0,
        ge=0,
        le=65_535,
        description="Port on which a process of the HTTP service serves its own /metrics, at EMOSTREAM_WEB_BIND; 0 for "
        "none. With `--processes`, each further process takes the next port.",
    )
    api_allow_open: bool = Field(
        False,
        description="Whether the HTTP service may run without authentication on an address that is not loopback.",
    )
    api_postgres_dsn: PostgresDsn | None = Field(
        None,
        description="`postgresql://` address from which the HTTP service reads; empty for EMOSTREAM_POSTGRES_DSN.",
    )
    api_max_body_bytes: int = Field(
        1_048_576, ge=1_024, le=67_108_864, description="Most bytes of the body of a request."
    )
    api_max_texts: int = Field(256, ge=1, le=10_000, description="Most texts in one request.")
    api_max_waiting_texts: int = Field(
        4_096,
        ge=1,
        le=1_000_000,
        description="Most texts that wait for the model in one process. A request beyond them gets 503.",
    )
    api_requests_per_minute: int = Field(
        6_000,
        ge=0,
        le=100_000_000,
        description="Requests that one key may send in a minute, unless the key has its own limit; 0 for no limit.",
    )
    api_cors_origins: Origins = Field(
        (),
        description="Origins whose pages may call the HTTP service from a browser, separated by commas, such as "
        "`https://dashboard.example.com`; empty for none.",
    )
    api_max_streams: int = Field(
        2_000, ge=1, le=1_000_000, description="Most live streams of one process; a further one gets 503."
    )
    api_live_interval_s: float = Field(
        2.0, ge=0.05, le=3_600, description="Least seconds between two events with the same window on a live stream."
    )
    api_live_posts_interval_s: float = Field(
        0.25, ge=0.05, le=3_600, description="Least seconds between two events with posts on a live stream."
    )
    api_sink_url: Endpoint | None = Field(
        None,
        description="Address of the sink's web server, whose gate `GET /v1/status` shows; empty for that of a sink on "
        "this machine (EMOSTREAM_WEB_BIND, EMOSTREAM_SINK_WEB_PORT).",
    )
    oidc_issuer: Endpoint | None = Field(
        None, description="Issuer (`iss`) of the bearer tokens that the HTTP service accepts; empty for none."
    )
    oidc_audience: str | None = Field(None, description="Audience (`aud`) of these tokens; required with an issuer.")
    oidc_jwks_url: Endpoint | None = Field(
        None, description="Address of the issuer's keys (JWKS); empty to ask the issuer's discovery document for it."
    )

    # Answers
    query_cache_s: float = Field(
        3_600, ge=1, le=2_592_000, description="Seconds that an answer stays in the cache in Redis."
    )
    query_fresh_s: float = Field(
        60,
        ge=0,
        le=2_592_000,
        description="Seconds after which an answer in the cache is still sent, and computed again in the background.",
    )
    query_deadline_s: float = Field(
        10, gt=0, le=600, description="Seconds after which an answer is sent with what was found until then."
    )
    query_sources: Path | None = Field(
        None,
        description="sources.toml with the sources that are searched for posts if the windows have too few; empty for "
        "none.",
    )
    warm_cpu_percent: float = Field(
        35,
        gt=0,
        le=100,
        description="The warmer refreshes answers only while the CPU utilization of everything else is below this.",
    )
    warm_keywords: int = Field(
        100,
        ge=1,
        le=10_000,
        description="Most questions whose answers the warmer refreshes because they are asked for most. A fifth as "
        "many keywords that rise fastest come in addition.",
    )
    warm_half_life_s: float = Field(
        3_600, ge=1, le=31_536_000, description="Seconds after which a question counts half for the warmer."
    )
    warm_web_port: int = Field(
        6063, ge=0, le=65_535, description="Port of the web server (/metrics) of the warmer; 0 turns it off."
    )

    # Clients of the HTTP service
    api_url: Endpoint = Field("http://127.0.0.1:8000", description="Address at which commands call the HTTP service.")
    api_key: SecretStr | None = Field(None, description="API key that commands send to it.")

    @model_validator(mode="after")
    def _check_api(self) -> Self:
        if self.oidc_issuer is not None and not self.oidc_audience:
            raise ValueError(f"{PREFIX}OIDC_ISSUER needs {PREFIX}OIDC_AUDIENCE")
        if self.oidc_issuer is None and (self.oidc_audience or self.oidc_jwks_url):
            raise ValueError(f"{PREFIX}OIDC_AUDIENCE and {PREFIX}OIDC_JWKS_URL need {PREFIX}OIDC_ISSUER")
        return self
