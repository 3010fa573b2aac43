"""Turns the settings into what the connectors take."""

from __future__ import annotations

from pydantic import SecretStr

from connectors.kafka.config import KafkaConfig
from streams.settings import Settings


def kafka_config(settings: Settings) -> KafkaConfig:
    """How to reach Kafka."""
    return KafkaConfig(
        bootstrap=settings.kafka_bootstrap,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username,
        sasl_password=_reveal(settings.kafka_sasl_password),
        ssl_ca_location=settings.kafka_ssl_ca_location,
        ssl_certificate_location=settings.kafka_ssl_certificate_location,
        ssl_key_location=settings.kafka_ssl_key_location,
        ssl_key_password=settings.kafka_ssl_key_password and settings.kafka_ssl_key_password.get_secret_value(),
        timeout_s=settings.kafka_timeout_s,
        session_timeout_ms=settings.kafka_session_timeout_ms,
    )


def _reveal(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None
