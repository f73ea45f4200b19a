"""Builds the API process: settings in, an ASGI application out. Nothing else builds parts.

The application serves from its first moment. What is away then (PostgreSQL, Redis, the identity
service) is tried again until it is there; a setting or a server that is refused ends the start.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version
from typing import Final, NoReturn

import structlog
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api import (
    metrics,
    routes_bookings,
    routes_changes,
    routes_deliveries,
    routes_endpoints,
    routes_ops,
    routes_payments,
    routes_reports,
    routes_sales,
    routes_search,
    routes_service,
)
from api.auth import Verifier
from api.endpoint import Endpoint
from api.jwks import KeySet
from api.middleware import Gate
from api.openapi import openapi
from api.operations import Operation
from api.parts import Parts
from api.problems import Problem
from api.shortcuts import Shortcuts
from engine.engine import Engine
from engine.errors import SettingsError, Unavailable
from engine.limits import TEND_INTERVAL_MS
from engine.payments.books import PaymentOptions
from engine.payments.cashier import Cashier
from engine.payments.limits import SAGA_PATIENCE_S
from engine.payments.saga import Saga
from engine.payments.settings import PaymentSettings
from engine.payments.stripe import StripeGateway
from engine.settings import EngineOptions, Settings
from engine.tasks import end_tasks
from persistence.endpoints import Endpoints
from persistence.installation import check_installation
from persistence.pool import Pool, create_pool
from persistence.reads import Reads
from persistence.reports import Reports

OPERATIONS: Final[tuple[Operation, ...]] = (
    # Routes are tried in this order: the ones that are asked most come first.
    *routes_bookings.OPERATIONS,
    *routes_sales.OPERATIONS,
    *routes_payments.OPERATIONS,
    *routes_changes.OPERATIONS,
    *routes_ops.OPERATIONS,
    *routes_endpoints.OPERATIONS,
    *routes_deliveries.OPERATIONS,
    *routes_search.OPERATIONS,
    *routes_reports.OPERATIONS,
    *routes_service.OPERATIONS,
)

_log = structlog.stdlib.get_logger("holdfast.api")


def create_app(settings: Settings, payments: PaymentSettings) -> Starlette:
    """The application.

    Raises from the start of its lifespan:
        SettingsError: a server refuses a setting, or is too weak for it (`WeakDurability`).
    """
    verifier = Verifier(KeySet(settings.jwks_url), settings.jwt_issuer, settings.jwt_audience)
    document = openapi(OPERATIONS, settings, version("holdfast-reservations"))
    parts = Parts(settings, payments, verifier, document)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with running(parts):
            yield

    endpoints = endpoints_of(OPERATIONS, parts)
    often = {operation.path for operation in OPERATIONS if operation.often}
    app = Starlette(
        routes=[Route(path, endpoint) for path, endpoint in endpoints.items()], lifespan=lifespan
    )
    # In place of Starlette's own layers: the gate answers every error itself, and each layer that
    # wraps what is sent costs as much as the rest of a route.
    app.middleware_stack = Gate(
        app.router,
        settings.max_in_flight,
        Shortcuts({path: endpoints[path] for path in endpoints if path in often}),
    )
    app.state.parts = parts
    app.router.redirect_slashes = False
    app.router.default = _not_found
    return app


def endpoints_of(operations: Sequence[Operation], parts: Parts) -> dict[str, Endpoint]:
    """One endpoint a path, in the order in which the paths first come."""
    by_path: dict[str, list[Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, []).append(operation)
    return {path: Endpoint(parts, those) for path, those in by_path.items()}


async def _not_found(_scope: Scope, _receive: Receive, _send: Send) -> NoReturn:
    raise Problem("not_found", "This path leads nowhere.")


@contextlib.asynccontextmanager
async def running(parts: Parts) -> AsyncIterator[None]:
    """Open what the parts need, keep it tended, close it."""
    pool = await create_pool(parts.settings.database_url, application_name="holdfast-api")
    parts.opened_reads, parts.opened_reports = Reads(pool), Reports(pool)
    parts.opened_endpoints = Endpoints(pool, parts.vault, parts.settings.event_source)
    gateway = parts.opened_gateway = await StripeGateway.open(parts.payments)
    try:
        # Once before anything is served; a server that is too weak ends the start here.
        await asyncio.gather(
            _check_installation(parts, pool), _open_engine(parts), parts.verifier.keys.tend()
        )
        if parts.refused is not None:
            raise parts.refused
        tending = asyncio.create_task(_tend(parts))
        try:
            yield
        finally:
            await end_tasks((tending,))
    finally:
        metrics.flush()
        await parts.verifier.keys.close()
        if parts.opened_cashier is not None:
            await parts.opened_cashier.close(SAGA_PATIENCE_S)
        await gateway.close()
        if parts.opened is not None:
            await parts.opened.close()
        await pool.close()


async def _check_installation(parts: Parts, pool: Pool) -> None:
    """Note where PostgreSQL refuses the settings. While it is away nobody can know (rule 8)."""
    try:
        await check_installation(pool, parts.settings.partitions)
    except Unavailable as error:
        _log.warning("installation_not_checked", error=str(error))
    except SettingsError as error:
        # Raised when the others have ended, so that what they opened is closed.
        parts.refused = error


async def _open_engine(parts: Parts) -> None:
    """Open the engine if it is not yet. Redis away is noted and tried again."""
    if parts.opened is not None:
        return
    try:
        engine = await Engine.open(
            EngineOptions.of(parts.settings),
            archive=parts.reads,
            floors=parts.reads.cursors,
            payments=PaymentOptions.of(parts.payments),
        )
        saga = Saga(engine.payments, parts.gateway)
        parts.opened_cashier = Cashier(
            engine.payments, engine.bookings, saga, engine.vault, parts.payments.pay_deadline_ms
        )
        parts.opened = engine
    except Unavailable as error:
        _log.warning("redis_away", error=str(error))
    except SettingsError as error:
        parts.refused = error
        raise


async def _tend(parts: Parts) -> None:
    """What has to be done every second or so, until cancelled."""
    while True:
        await asyncio.sleep(TEND_INTERVAL_MS / 1000)
        for step in (_open_engine, _refresh_floors, _tend_keys):
            try:
                await step(parts)
            except Exception as error:  # noqa: BLE001
                # Nobody else would do the other steps, or these the next time.
                _log.error("tending_failed", error=f"{type(error).__name__}: {error}")


async def _tend_keys(parts: Parts) -> None:
    await parts.verifier.keys.tend()


async def _refresh_floors(parts: Parts) -> None:
    """A rebuild gives a partition a new generation: PostgreSQL tells."""
    if parts.opened is not None:
        await parts.opened.refresh_floors()
