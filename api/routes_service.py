"""What the service says of itself: alive, ready, its numbers, its description."""

from __future__ import annotations

from typing import Final

from api.call import Call, Reply, json_reply
from api.docs_page import DOCS_POLICY, docs_page
from api.metrics import metrics_text
from api.operations import ANYBODY, Answered, Operation
from api.problems import Problem
from api.shapes import Health, Readiness
from engine.settings import Settings

TAG: Final = "service"


async def healthz(_: Call) -> Reply:
    """The process lives; nothing else is asked."""
    health: Health = {"status": "ok"}
    return json_reply(200, health)


async def readyz(call: Call) -> Reply:
    """Whether bookings can be taken."""
    readiness = await call.parts.looks.get()
    return json_reply(503 if readiness["status"] == "not_ready" else 200, readiness)


def _metrics_elsewhere(settings: Settings) -> bool:
    return settings.metrics_port is not None


async def get_metrics(call: Call) -> Reply:
    """Prometheus text."""
    if _metrics_elsewhere(call.parts.settings):
        raise Problem("not_found", "Metrics are served on another port.")
    text, content_type = await metrics_text()
    return Reply(200, text, content_type=content_type)


async def get_openapi(call: Call) -> Reply:
    """This description."""
    return Reply(200, call.parts.openapi)


async def get_docs(_: Call) -> Reply:
    """The description as a page that needs nothing from elsewhere."""
    return Reply(
        200,
        docs_page(),
        [(b"content-security-policy", DOCS_POLICY)],
        b"text/html; charset=utf-8",
    )


OPERATIONS: Final = (
    Operation(
        name="healthz",
        method="GET",
        path="/healthz",
        tag=TAG,
        summary="The process lives",
        handler=healthz,
        scopes=ANYBODY,
        sheds=False,
        answers={200: Answered(about="It does.", shape=Health)},
    ),
    Operation(
        name="readyz",
        method="GET",
        path="/readyz",
        tag=TAG,
        summary="Whether bookings can be taken",
        about=(
            "`degraded` takes bookings and says what is amiss; in partitions that are `shedding` "
            "new holds wait, and those that there are can be paid and cancelled. `not_ready` takes "
            "none."
        ),
        handler=readyz,
        scopes=ANYBODY,
        sheds=False,
        answers={
            200: Answered(about="`ready` or `degraded`.", shape=Readiness),
            503: Answered(about="`not_ready`: no booking could be taken.", shape=Readiness),
        },
    ),
    Operation(
        name="metrics",
        method="GET",
        path="/metrics",
        tag=TAG,
        summary="Numbers for Prometheus",
        handler=get_metrics,
        scopes=ANYBODY,
        sheds=False,
        answers={
            200: Answered(about="Prometheus text format.", shape=str, content_type="text/plain")
        },
        elsewhere_where=_metrics_elsewhere,
    ),
    Operation(
        name="openapi",
        method="GET",
        path="/openapi.json",
        tag=TAG,
        summary="This description",
        handler=get_openapi,
        scopes=ANYBODY,
        answers={200: Answered(about="An OpenAPI 3.1 document.", shape=dict[str, object])},
    ),
    Operation(
        name="docs",
        method="GET",
        path="/docs",
        tag=TAG,
        summary="This description, as a page",
        handler=get_docs,
        scopes=ANYBODY,
        answers={200: Answered(about="A page.", shape=str, content_type="text/html")},
    ),
)
