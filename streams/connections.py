"""Makes the configuration of the connectors and models, which do not know the settings, from the settings."""

from __future__ import annotations

from dataclasses import replace

from pydantic import SecretStr

from connectors.kafka.config import KafkaConfig
from connectors.machine.cores import usable_cores
from connectors.s3.client import S3Config
from models.serving.source import ModelSource
from streams.settings import Settings


def kafka_config(settings: Settings) -> KafkaConfig:
    """Returns the configuration of the Kafka clients."""
    return KafkaConfig(
        bootstrap=settings.kafka_bootstrap,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username,
        sasl_password=_reveal(settings.kafka_sasl_password),
        ssl_ca_location=settings.kafka_ssl_ca_location,
        ssl_certificate_location=settings.kafka_ssl_certificate_location,
        ssl_key_location=settings.kafka_ssl_key_location,
        ssl_key_password=_reveal(settings.kafka_ssl_key_password),
        timeout_s=settings.kafka_timeout_s,
        session_timeout_ms=settings.kafka_session_timeout_ms,
    )


def scan_group(settings: Settings) -> str:
    """Returns the consumer group of a `TopicScan`."""
    return f"{settings.group_prefix}-scan"


def _reveal(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def s3_config(settings: Settings) -> S3Config:
    """Returns the configuration of the S3 client."""
    return S3Config(
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        access_key_id=settings.s3_access_key_id,
        secret_access_key=_reveal(settings.s3_secret_access_key),
    )


def model_threads(settings: Settings, processes: int = 1) -> int:
    """Returns the number of ONNX Runtime's threads in each of a worker's processes.

    If `model_threads` is 0, that is the number of cores divided by `processes`, and at least 1.
    """
    return settings.model_threads or max(1, usable_cores() // processes)


def model_source(settings: Settings) -> ModelSource:
    """Returns where a process gets its main model from, and how it runs it."""
    return ModelSource(
        uri=settings.model_uri,
        channel=settings.model_channel,
        cache=settings.model_cache,
        threads=model_threads(settings),
        poll_s=settings.model_poll_s,
        s3=s3_config(settings),
    )


def language_model_sources(settings: Settings) -> dict[str, ModelSource]:
    """Returns the same of the models that are configured for a language, by language."""
    main = model_source(settings)
    return {
        model.language: replace(main, uri=model.uri, channel=model.channel or main.channel) for model in settings.models
    }
