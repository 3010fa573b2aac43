"""The requests of a load: which are sent, how often, and their bytes. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from urllib.parse import quote, urlsplit

import msgspec

from streams import __version__
from streams.errors import InputError

BATCH = 32
"""Texts in a request of the workload `predict-batch`."""

DRAWN = 65_536
"""Requests that are drawn in advance. A longer load repeats them."""


class Workload(StrEnum):
    """What a load asks the service."""

    QUERY = "query"
    PREDICT = "predict"
    PREDICT_BATCH = "predict-batch"
    WINDOWS = "windows"

    @property
    def needs_keywords(self) -> bool:
        """Whether it asks for keywords; the others send texts."""
        return self in {Workload.QUERY, Workload.WINDOWS}


@dataclass(frozen=True)
class Target:
    """The service.

    Attributes:
        host: name or address.
        port: the port.
        is_tls: whether it speaks TLS.
        authority: host and port as in the address, for the header `Host`.
        path: what the paths of requests begin with; empty or without a slash at its end.
    """

    host: str
    port: int
    is_tls: bool
    authority: str
    path: str

    @classmethod
    def of(cls, url: str) -> Target:
        """Returns the target of an address such as `http://127.0.0.1:8000`.

        Raises:
            InputError: It is no http or https address, or holds a user name.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as exc:
            raise InputError(f"--url: {exc}") from exc
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InputError("--url: must be an address such as http://127.0.0.1:8000")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise InputError("--url: must have no user name, no query and no fragment")
        is_tls = parts.scheme == "https"
        return cls(parts.hostname, port or (443 if is_tls else 80), is_tls, parts.netloc, parts.path.rstrip("/"))


def requests_of(
    workload: Workload, target: Target, *, keywords: Sequence[str], texts: Sequence[str], key: str | None
) -> list[bytes]:
    """Returns the different requests of a workload, each as the bytes that are sent.

    Args:
        workload: what is asked.
        target: the service.
        keywords: the keywords of `query` and `windows`, the most frequent first.
        texts: the texts of `predict` and `predict-batch`.
        key: the API key; None for none.
    """
    common = f"Host: {target.authority}\r\nUser-Agent: emostream-stress/{__version__}\r\nAccept: application/json\r\n"
    if key is not None:
        common += f"X-API-Key: {key}\r\n"

    def get(path: str) -> bytes:
        return f"GET {target.path}{path} HTTP/1.1\r\n{common}\r\n".encode("latin-1")

    def post(path: str, body: Mapping[str, object]) -> bytes:
        data = msgspec.json.encode(body)
        head = f"{common}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        return f"POST {target.path}{path} HTTP/1.1\r\n{head}".encode("latin-1") + data

    match workload:
        case Workload.QUERY:
            return [post("/v1/query", {"keyword": keyword}) for keyword in keywords]
        case Workload.WINDOWS:
            return [get(f"/v1/windows/{quote(keyword, safe='')}") for keyword in keywords]
        case Workload.PREDICT:
            return [post("/v1/predict", {"text": text}) for text in texts]
        case Workload.PREDICT_BATCH:
            cycle = [*texts, *texts[: BATCH - 1]] if len(texts) >= BATCH else list(texts) * BATCH
            return [
                post("/v1/predict/batch", {"texts": cycle[first : first + BATCH]})
                for first in range(0, len(texts), BATCH)
            ]


def zipf_weights(count: int, exponent: float) -> list[float]:
    """Returns the shares of `count` things by Zipf's law: the n-th is asked for n^-exponent times as often."""
    weights = [rank**-exponent for rank in range(1, count + 1)]
    total = sum(weights)
    return [weight / total for weight in weights]


def drawn(count: int, exponent: float, seed: int, *, draws: int = DRAWN) -> list[int]:
    """Returns the numbers of the requests in the order in which they are sent, drawn by Zipf's law.

    Args:
        count: number of different requests.
        exponent: the exponent of the law; 0 for equal shares.
        seed: the same seed draws the same numbers.
        draws: how many are drawn.
    """
    bounds = list(accumulate(zipf_weights(count, exponent)))
    return random.Random(seed).choices(range(count), cum_weights=bounds, k=draws)  # noqa: S311 - no secrets
