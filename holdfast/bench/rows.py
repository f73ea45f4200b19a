"""What is measured, in the order in which a round does it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from holdfast.bench.orders import Measured, Order
from holdfast.bench.stage import Stage

CUSTOMERS: Final = 10_000
SECONDS: Final = 3.0
HOLD_SECONDS: Final = 4.0
"""Long enough for every customer to come at least once on a small machine."""
CALLS: Final = 20_000

Measure = Callable[[Stage], Awaitable[Measured]]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that is measured once a round."""

    name: str
    about: str
    measure: Measure


def _order(work: str, at: Callable[[Stage], str], **terms: object) -> Measure:
    async def measure(stage: Stage) -> Measured:
        return await stage.measure(Order(work=work, url=at(stage), **terms))  # type: ignore[arg-type]

    return measure


def _api(stage: Stage) -> str:
    return stage.run.url


def _conventional(stage: Stage) -> str:
    return stage.conventional_url


async def _drain(stage: Stage) -> Measured:
    """The backlog that the rows before have left, by one worker."""
    entries = await stage.backlog()
    began_s = time.perf_counter()
    await stage.drained()
    return Measured(seconds=time.perf_counter() - began_s, done=entries)


HOLD: Final = {"customers": CUSTOMERS, "seconds": HOLD_SECONDS}

PAUSED: Final = (
    Row("bare", "uvicorn, bare echo", _order("echo", lambda stage: stage.bare_url)),
    Row("starlette", "Starlette echo", _order("echo", lambda stage: stage.starlette_url)),
    Row("hold", "holds, everything on", _order("hold", _api, **HOLD)),
    Row("refusal", "refusals: sold out", _order("refusal", _api, **HOLD)),
    Row("availability", "availability", _order("availability", _api)),
    Row("paid", "paid bookings", _order("paid", _api, **HOLD)),
    Row("raw", "the script alone, driven raw", _order("raw", _api, calls=CALLS)),
    Row("engine", "the engine without HTTP", _order("engine", _api, calls=CALLS)),
    *(
        Row(
            f"{form}-{pool}",
            f"conventional, {form}, {pool} connections",
            _order("conventional", _conventional, path=f"/{form}/{pool}", seconds=2.0),
        )
        for form in ("for-update", "one-statement")
        for pool in (8, 16)
    ),
)
"""While the worker stands still, so that the two cores do for what is measured."""

DRAINED: Final = (
    Row("drain", "the drain, one worker, nothing beside", _drain),
    Row("hold_drained", "holds while the drain keeps up", _order("hold", _api, **HOLD)),
    Row("paid_drained", "paid bookings while the drain keeps up", _order("paid", _api, **HOLD)),
)

ROWS: Final[Sequence[Row]] = (*PAUSED, *DRAINED)


async def play_round(stage: Stage, number: int) -> AsyncGenerator[tuple[str, Measured]]:
    """Measure every row once; every other round the other way round, against what drifts."""
    async with stage.worker_paused():
        for row in PAUSED if number % 2 == 0 else tuple(reversed(PAUSED)):
            yield row.name, await row.measure(stage)
    for row in DRAINED:
        yield row.name, await row.measure(stage)
