"""What the commands share that ask the HTTP service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from connectors.errors import RejectedError, UnavailableError
from streams.cli.common import read_settings

if TYPE_CHECKING:
    from api.client import Client

_UNAUTHORIZED = 401

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def api_options(command: FunctionT) -> FunctionT:
    """Add the options of a command that asks the HTTP service."""
    return click.option("--url", metavar="URL", show_default="EMOSTREAM_API_URL", help="Address of the HTTP service.")(
        command
    )


class KeywordType(click.ParamType):
    """A keyword that the service takes."""

    name = "KEYWORD"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Returns the keyword without the spaces around it; fails if the service would refuse it."""
        from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - `--help` does not need it

        from api.models.base import Keyword  # noqa: PLC0415

        try:
            keyword: str = TypeAdapter(Keyword).validate_python(value)
        except ValidationError as exc:
            self.fail(exc.errors()[0]["msg"], param, ctx)
        return keyword


@contextmanager
def opened_client(url: str | None) -> Iterator[Client]:
    """Open a client of the service at `url`, or by default at EMOSTREAM_API_URL, with the key EMOSTREAM_API_KEY.

    Raises:
        UnavailableError: The service does not answer, or cannot answer now.
        RejectedError: The service refuses the call.
    """
    from api.client import ApiConnectionError, ApiError, Client  # noqa: PLC0415 - loads httpx

    settings = read_settings(api_url=url)
    key = settings.api_key.get_secret_value() if settings.api_key is not None else None
    try:
        with Client(settings.api_url, key=key) as client:
            yield client
    except ApiConnectionError as exc:
        raise UnavailableError(f"{exc}; `emostream api` starts one") from exc
    except ApiError as exc:
        kind = UnavailableError if exc.status in {429, 502, 503, 504} else RejectedError
        hint = "; set EMOSTREAM_API_KEY to a key of `emostream keys add`" if exc.status == _UNAUTHORIZED else ""
        raise kind(f"the HTTP service refused: {exc}{hint}") from exc
