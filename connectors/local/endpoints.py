"""The addresses of the embedded servers, as arguments for clients and as `EMOSTREAM_…` variables."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

S3_ACCESS_KEY_ID = "local"
S3_SECRET_ACCESS_KEY = "local-secret"  # noqa: S105 - moto takes any; not a secret
S3_REGION = "us-east-1"

_PASSWORD_IN_URL = re.compile(r"(?<=:)[^:@/]+(?=@)")


@dataclass(frozen=True, repr=False)
class Endpoints:
    """Addresses and credentials of a running embedded stack.

    Attributes:
        kafka_bootstrap: `host:port` of the one broker, without encryption or authentication.
        redis_url: Redis URL with its password, database 0.
        postgres_dsn: libpq URL of user and database `emostream`, with its password.
        s3_endpoint: HTTP URL; buckets are addressed by path.
        s3_access_key_id: Every client gets this value; the server accepts any.
        s3_secret_access_key: Likewise.
        s3_region: Likewise.
    """

    kafka_bootstrap: str
    redis_url: str
    postgres_dsn: str
    s3_endpoint: str
    s3_access_key_id: str = S3_ACCESS_KEY_ID
    s3_secret_access_key: str = S3_SECRET_ACCESS_KEY
    s3_region: str = S3_REGION

    def __repr__(self) -> str:
        return (
            f"Endpoints(kafka_bootstrap={self.kafka_bootstrap!r}, redis_url={mask(self.redis_url)!r}, "
            f"postgres_dsn={mask(self.postgres_dsn)!r}, s3_endpoint={self.s3_endpoint!r})"
        )

    def as_env(self) -> dict[str, str]:
        """Returns the addresses as the environment variables that the application reads."""
        return {
            "EMOSTREAM_KAFKA_BOOTSTRAP": self.kafka_bootstrap,
            "EMOSTREAM_REDIS_URL": self.redis_url,
            "EMOSTREAM_POSTGRES_DSN": self.postgres_dsn,
            "EMOSTREAM_S3_ENDPOINT": self.s3_endpoint,
            "EMOSTREAM_S3_ACCESS_KEY_ID": self.s3_access_key_id,
            "EMOSTREAM_S3_SECRET_ACCESS_KEY": self.s3_secret_access_key,
            "EMOSTREAM_S3_REGION": self.s3_region,
        }

    def as_exports(self) -> str:
        """Returns `as_env` as lines of POSIX shell, quoted, for `eval`."""
        return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in self.as_env().items())


def mask(url: str) -> str:
    """Returns `url` with its password replaced by `***`."""
    return _PASSWORD_IN_URL.sub("***", url)
