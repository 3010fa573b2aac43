"""Starts the HTTP service as a process, and asks it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from streams.ops.demo.processes import Role
from tests.helpers import wait_for

LISTENS = re.compile(r"the HTTP service listens on (http://[^;]+);")


def address_of(role: Role) -> str:
    """Wait until the service listens, and return its address."""
    found: list[str] = []

    def listens() -> bool:
        role.check()
        found[:] = LISTENS.findall(role.log.read_text("utf-8"))
        return bool(found)

    wait_for(listens, 120)
    return found[0]


@contextmanager
def client_of(role: Role, **headers: str) -> Iterator[httpx.Client]:
    """A client of the service."""
    with httpx.Client(base_url=address_of(role), timeout=60, headers=headers) as client:
        yield client


def assert_problem(answer: httpx.Response, status: int, detail: str) -> None:
    """Every error has one shape; `detail` is a part of its detail."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem.keys() >= {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert detail in problem["detail"]
