"""A typed client of the HTTP service, for programs with and without asyncio.

It imports httpx and pydantic only, and nothing of the service:

    from api.client import Client

    with Client("http://127.0.0.1:8000") as client:
        answer = client.query("coffee")
        print(answer.count, answer.agg[0].label)
"""

from api.client.asynchronous import AsyncClient
from api.client.errors import ApiConnectionError, ApiError
from api.client.synchronous import Client

__all__ = ["ApiConnectionError", "ApiError", "AsyncClient", "Client"]
