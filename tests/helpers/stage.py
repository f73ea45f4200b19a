"""A stage: an engine on real servers with its tables, where tests do the worker's work by hand."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from cryptography.fernet import Fernet

from engine.engine import Engine
from engine.outcomes import Outcome
from engine.payments.settings import PaymentSettings
from engine.settings import EngineOptions, Settings, load_settings
from engine.types import Booking, ItemDefinition, LineRequest, SaleDefinition
from persistence.bootstrap import bootstrap
from persistence.drain import Drain
from persistence.migrate import migrate
from persistence.pool import Pool, create_pool
from persistence.reads import Reads
from tests.helpers.commands import Forked
from tests.helpers.gateways import payment_settings, payment_variables
from tests.helpers.servers import clean_environment, holdfast


def stage_settings(redis_url: str, database_url: str, **more: str) -> Settings:
    """Settings for a stage; identity is not asked for."""
    return load_settings(
        {
            "redis_url": redis_url,
            "database_url": database_url,
            "data_key": Fernet.generate_key().decode(),
            "jwks_url": "file:///nowhere",
            "jwt_issuer": "test",
            "jwt_audience": "test",
            "rate_limit": "off",
            **more,
        }
    )


@dataclass(frozen=True, slots=True)
class Stage:
    """An engine with PostgreSQL behind it, and no worker: tests do its work by hand."""

    settings: Settings
    pool: Pool
    reads: Reads
    engine: Engine
    drain: Drain

    async def put(self, sale_id: str = "gig", *, capacity: int = 10, hold_ms: int = 60_000) -> None:
        """Put a sale of one free item, `seat`."""
        item = ItemDefinition("seat", "Seat", capacity, unit_price=0)
        answer = await self.engine.sales.put(
            SaleDefinition(sale_id, sale_id.title(), (item,), hold_ms=hold_ms)
        )
        assert answer.sale, answer

    async def hold(self, customer_id: str, quantity: int = 1, sale_id: str = "gig") -> Booking:
        """Hold seats."""
        answer = await self.engine.bookings.reserve(
            sale_id, customer_id, [LineRequest("seat", quantity)], str(uuid.uuid4())
        )
        assert answer.outcome is Outcome.HELD, answer
        assert answer.booking
        return answer.booking

    async def confirm(self, booking: Booking) -> Booking:
        """Confirm a hold."""
        answer = await self.engine.bookings.confirm(
            booking.booking_id, booking.customer_id, str(uuid.uuid4())
        )
        assert answer.outcome is Outcome.CONFIRMED, answer
        assert answer.booking
        return answer.booking

    async def levels(self, sale_id: str = "gig") -> tuple[int, int, int]:
        """Available, held and sold of the item, by Redis's books."""
        sale = await self.engine.sales.get(sale_id)
        assert sale
        level = sale.levels[0]
        return level.available, level.held, level.sold

    async def drain_all(self) -> int:
        """Take everything over into PostgreSQL; answers how many entries."""
        total = 0
        for partition in range(len(self.engine.partitions)):
            while count := await self.drain.run_once(partition):
                total += count
        return total

    async def drained(self) -> None:
        """Wait until PostgreSQL has every entry, which a worker has to see to."""
        await eventually(self.is_drained, "the backlog to be empty")

    async def is_drained(self) -> bool:
        """Whether PostgreSQL has every entry."""
        cursors = await self.reads.cursors()
        statuses = await self.engine.journal.statuses()
        return all(cursors[one.partition].sequence == one.sequence for one in statuses)

    async def is_at(self, levels: tuple[int, int, int], sale_id: str = "gig") -> None:
        """Wait until the item's levels are these, which a worker has to see to."""

        async def are_there() -> bool:
            return await self.levels(sale_id) == levels

        await eventually(are_there, f"levels {levels}")

    def partition(self, sale_id: str = "gig") -> int:
        """Where a sale lives."""
        return self.engine.keys.partition_of_sale(sale_id)


@asynccontextmanager
async def stage(settings: Settings) -> AsyncIterator[Stage]:
    """Tables, partitions, an engine and a drain."""
    await migrate(settings.database_url)
    pool = await create_pool(settings.database_url)
    try:
        reads = Reads(pool)
        engine = await Engine.open(EngineOptions.of(settings), archive=reads, floors=reads.cursors)
        async with engine:
            await bootstrap(pool, engine)
            yield Stage(settings, pool, reads, engine, Drain(pool, engine))
    finally:
        await pool.close()


def variables_of(settings: Settings) -> dict[str, str]:
    """The environment of a process on the same servers, under the same keys."""
    return {
        "HOLDFAST_REDIS_URL": settings.redis_url,
        "HOLDFAST_DATABASE_URL": settings.database_url,
        "HOLDFAST_DATA_KEY": ",".join(settings.data_key),
        "HOLDFAST_JWKS_URL": settings.jwks_url,
        "HOLDFAST_JWT_ISSUER": settings.jwt_issuer,
        "HOLDFAST_JWT_AUDIENCE": settings.jwt_audience,
        "HOLDFAST_PARTITIONS": str(settings.partitions),
    }


async def eventually(
    condition: Callable[[], Awaitable[bool]], what: str, timeout_s: float = 20.0
) -> None:
    """Poll until the condition holds; fail with `what` where it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline, f"waited {timeout_s} s: {what}"
        await asyncio.sleep(0.02)


class RunningWorker:
    """`holdfast worker` as a process of its own; what it logs goes into a file.

    A context manager: stopped on leaving if it still runs. Without `payments` it has a gateway
    that never answers. `command`: another part in its place, or one that runs otherwise.
    """

    def __init__(
        self,
        settings: Settings,
        log: Path,
        payments: PaymentSettings | None = None,
        command: Sequence[str] = holdfast("worker"),
    ) -> None:
        self.log = log
        environment = {
            **variables_of(settings),
            "HOLDFAST_ARQ_REDIS_URL": settings.queue_url,
            "HOLDFAST_FINISHED_RETENTION_MS": str(settings.finished_retention_ms),
            **payment_variables(payments or payment_settings()),
        }
        program = holdfast()
        if command[: len(program)] == program:
            arguments = command[len(program) :]
            forked = Forked(arguments, clean_environment(environment), (log, log))
            self.child = cast("subprocess.Popen[bytes]", forked)
            return
        with log.open("ab") as output:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=clean_environment(environment),
                start_new_session=True,
            )

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it logged under a name so far."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["event"] == name]

    async def logs(self, name: str, *, after: int = 0) -> None:
        """Wait until it has logged something under a name, more often than `after` times."""

        async def logged() -> bool:
            assert self.child.poll() is None, self.log.read_text()
            return len(self.events(name)) > after

        await eventually(logged, f"{name}, {after + 1} times")

    async def stop(self) -> int:
        """Stop it as `up` does; answers its exit code."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.child.wait, 60)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
