"""Types of settings that pydantic lacks, such as topic names, and addresses whose passwords are masked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from urllib.parse import SplitResult, unquote, unquote_plus, urlsplit, urlunsplit

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    AnyUrl,
    BeforeValidator,
    SecretStr,
    TypeAdapter,
    UrlConstraints,
    ValidationError,
)
from pydantic_core import MultiHostUrl
from pydantic_settings import NoDecode

from streams.window_sizes import WindowSize, parse_sizes

PREFIX = "EMOSTREAM_"
"""The names of all environment variables with settings begin so."""

MASK = "***"

CHANNEL = r"[a-z][a-z0-9-]{0,49}"
"""The regular expression of a channel's name."""

MAX_LANGUAGE_MODELS = 50
"""The most languages that have a model of their own. Each of these models is in the memory of every worker process."""

MIN_KEY_CHARS = 16
"""The fewest characters of a secret key."""

_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
_ORIGIN = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/,@\[\]]+):(\d{1,5})")
_REGISTRY = re.compile(r"(?i:s3)://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?", re.DOTALL)
_PASSWORD_PARAMETERS = frozenset({"password", "sslpassword"})

# Not pydantic's own types: its RedisDsn accepts `redis://` without a host, its PostgresDsn the schemes of SQLAlchemy.
_REDIS: TypeAdapter[AnyUrl] = TypeAdapter(
    Annotated[AnyUrl, UrlConstraints(allowed_schemes=["redis", "rediss"], host_required=True)]
)
_LIBPQ = UrlConstraints(allowed_schemes=["postgresql", "postgres"], host_required=True)
# AnyUrl is tried first, because MultiHostUrl takes a comma in a password for the end of a host.
_POSTGRES: TypeAdapter[AnyUrl | MultiHostUrl] = TypeAdapter(Annotated[AnyUrl, _LIBPQ] | Annotated[MultiHostUrl, _LIBPQ])
_HTTP: TypeAdapter[AnyHttpUrl] = TypeAdapter(AnyHttpUrl)

_Url = TypeVar("_Url", AnyUrl, AnyHttpUrl, AnyUrl | MultiHostUrl)


class Address(SecretStr):
    """The address of a server. It may contain passwords, so its `repr` is masked."""

    def passwords(self) -> list[str]:
        """Returns the passwords in the address, both as they are written and decoded: drivers print either form."""
        parts = self._split()
        written = [pair.partition("=")[2] for pair in parts.query.split("&") if _is_password(pair)]
        written.append(parts.password or "")
        # In the query part, redis-py reads "+" as a space and libpq does not.
        forms = [form for text in written for form in (text, unquote(text), unquote_plus(text))]
        return [form for form in forms if form]

    def masked(self) -> str:
        """Returns the address with `***` in place of the user's password and of passwords in the query part."""
        parts = self._split()
        credentials, _, hosts = parts.netloc.rpartition("@")
        user, colon, _ = credentials.partition(":")
        netloc = f"{user}:{MASK}@{hosts}" if colon else parts.netloc
        pairs = [f"{pair.partition('=')[0]}={MASK}" if _is_password(pair) else pair for pair in parts.query.split("&")]
        return urlunsplit(parts._replace(netloc=netloc, query="&".join(pairs)))

    def _split(self) -> SplitResult:
        # libpq has no fragments, so a "#" may be part of a password.
        return urlsplit(self.get_secret_value(), allow_fragments=False)


@dataclass(frozen=True)
class LanguageModel:
    """The model that is configured for a language.

    Attributes:
        language: the shortest subtag of BCP 47, two or three lower-case letters.
        uri: a registry, `s3://bucket/prefix`, or the folder of one package.
        channel: the channel of the registry; None for the channel of the main model.
    """

    language: str
    uri: str
    channel: str | None = None

    def __str__(self) -> str:
        """Returns the model as the settings have it: `es=s3://bucket/spanish#stable`."""
        return f"{self.language}={self.uri}" + (f"#{self.channel}" if self.channel else "")

    @classmethod
    def parse(cls, text: str) -> LanguageModel:
        """Parse `LANGUAGE=URI[#CHANNEL]`.

        Raises:
            ValueError: `text` is malformed, or one of its parts is.
        """
        language, equals, rest = text.partition("=")
        uri, has_channel, channel = rest.strip().partition("#")
        if not equals or not uri:
            raise ValueError(f"{text!r} is not LANGUAGE=URI[#CHANNEL], such as es=s3://bucket/spanish#stable")
        if has_channel and "://" not in uri:
            raise ValueError(f"{text!r}: only a registry, s3://bucket/prefix, has channels; leave out #{channel}")
        if has_channel and not re.fullmatch(CHANNEL, channel):
            raise ValueError(f"{text!r}: {channel!r} is not the name of a channel, such as stable")
        return cls(_language(language.strip()), _model_uri(uri), channel or None)


def _language(code: str) -> str:
    # It takes a third of a second to load, and most commands do without it.
    from models.text.stated_language import check_code  # noqa: PLC0415

    check_code(code)
    return code


def _language_models(value: Any) -> Any:  # noqa: ANN401 - text of the environment, or a value that a caller gives
    if not isinstance(value, str):
        return value
    models = tuple(LanguageModel.parse(part.strip()) for part in value.split(","))
    languages = [model.language for model in models]
    if twice := sorted({language for language in languages if languages.count(language) > 1}):
        raise ValueError(f"{', '.join(twice)} is given twice; give each language once")
    if len(models) > MAX_LANGUAGE_MODELS:
        raise ValueError(f"{len(models)} languages are too many; give at most {MAX_LANGUAGE_MODELS}")
    return models


def _is_password(parameter: str) -> bool:
    return unquote(parameter.partition("=")[0]) in _PASSWORD_PARAMETERS


def _origins(value: Any) -> Any:  # noqa: ANN401 - text of the environment, or a value that a caller gives
    if not isinstance(value, str):
        return value
    origins = tuple(part.strip() for part in value.split(","))
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is not an origin, such as https://dashboard.example.com")
    return origins


def _window_sizes(value: Any) -> Any:  # noqa: ANN401 - text of the environment, or a value that a caller gives
    return parse_sizes(value) if isinstance(value, str) else value


def _topic(value: str) -> str:
    if not _TOPIC_NAME.fullmatch(value) or value in {".", ".."}:
        raise ValueError("not a topic name; give 1 to 249 letters, digits, '.', '_' or '-', other than '.' and '..'")
    return value


def _bootstrap(value: str) -> str:
    servers = [server.strip() for server in value.split(",")]
    for server in servers:
        match = _HOST_PORT.fullmatch(server)
        if match is None or not 1 <= int(match[2]) <= 65_535:
            raise ValueError("not a list of brokers; give host:port, separated by commas: broker1:9092,broker2:9092")
    return ",".join(servers)


def _parsed(kind: TypeAdapter[_Url], text: str, schemes: str) -> _Url:
    try:
        return kind.validate_python(text)
    except ValidationError:
        raise ValueError(f"not a valid address; give {schemes}host[:port]/…") from None


def _redis_address(value: Address) -> Address:
    return Address(str(_parsed(_REDIS, value.get_secret_value(), "redis:// or rediss://")))


def _postgres_address(value: Address) -> Address:
    return Address(str(_parsed(_POSTGRES, value.get_secret_value(), "postgresql:// or postgres://")))


def _endpoint(value: str) -> str:
    return _without_credentials(value, "it must have none")


def _s3_endpoint(value: str) -> str:
    return _without_credentials(value, "give them in EMOSTREAM_S3_ACCESS_KEY_ID and EMOSTREAM_S3_SECRET_ACCESS_KEY")


def _without_credentials(value: str, advice: str) -> str:
    url = _parsed(_HTTP, value, "http:// or https://")
    if url.username or url.password:
        raise ValueError(f"the address contains credentials; {advice}")
    return str(url).rstrip("/")


def _model_uri(value: str) -> str:
    if "://" in value and not _REGISTRY.fullmatch(value):
        raise ValueError("not a model registry; give s3://bucket/prefix with a valid bucket name, or a folder")
    return value


def _secret_key(value: SecretStr) -> SecretStr:
    if len(value.get_secret_value()) < MIN_KEY_CHARS:
        raise ValueError(f"has fewer than {MIN_KEY_CHARS} characters; make a key with `openssl rand -hex 32`")
    return value


Topic = Annotated[str, AfterValidator(_topic)]
SecretKey = Annotated[SecretStr, AfterValidator(_secret_key)]
Bootstrap = Annotated[str, AfterValidator(_bootstrap)]
RedisUrl = Annotated[Address, AfterValidator(_redis_address)]
PostgresDsn = Annotated[Address, AfterValidator(_postgres_address)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
S3Endpoint = Annotated[str, AfterValidator(_s3_endpoint)]
ModelUri = Annotated[str, AfterValidator(_model_uri)]
LanguageModels = Annotated[tuple[LanguageModel, ...], NoDecode, BeforeValidator(_language_models)]
WindowSizes = Annotated[tuple[WindowSize, ...], NoDecode, BeforeValidator(_window_sizes)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)]
