"""Health and metrics. They need no authentication, and answer while other servers do not."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.models.health import Liveness, Readiness
from api.readiness import readiness
from api.resources import Shared

router = APIRouter(tags=["health"])


@router.get("/health/live")
async def live() -> Liveness:
    """The process answers. A supervisor restarts it if this fails."""
    return Liveness()


@router.get("/health/ready", responses={503: {"model": Readiness}})
async def ready(response: Response, resources: Shared) -> Readiness:
    """Whether the service can answer, part by part, with the reason of each failure.

    503 takes this process out of a load balancer. `degraded` means that it answers with less.
    """
    found = await resources.checking.run("all", lambda _: readiness(resources))
    response.headers["Cache-Control"] = "no-store"
    if found.status == "not ready":
        response.status_code = 503
    return found


@router.get("/metrics", responses={200: {"content": {"text/plain": {}}, "description": "Prometheus text format."}})
def metrics(resources: Shared) -> Response:
    """The metrics of this process, for Prometheus."""
    return Response(generate_latest(resources.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})
