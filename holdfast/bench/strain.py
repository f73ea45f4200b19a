"""What latency does under load, with the worker draining beside."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Final

from holdfast.bench.orders import SALE, Measured, Order
from holdfast.bench.rows import CUSTOMERS
from holdfast.bench.stage import Stage

PART: Final = 0.7
"""Of the measured maximum: what a system should be planned for."""
OVERLOAD: Final = 2.0
OVERLOAD_LEAD_S: Final = 4.0
"""How long it lasts before it is measured: it is known when the crowd is full (`api.admission`)."""
SECONDS: Final = 4.0
CROWD: Final = 10_000
MORE: Final = 16_000
"""Connections of an overload: more than may be in flight (`HOLDFAST_MAX_IN_FLIGHT`)."""
CROWD_SECONDS: Final = 12.0
"""Long enough that what is measured is not the first answer to each of them alone."""
FEW_CUSTOMERS: Final = 2_000
"""For what is sent on a schedule: each comes less often than its rate allows."""
PAYING: Final = 256
"""Connections of buyers who pay: a payment waits for its gateway."""
GATEWAY_MS: Final = 100

ABOUT: Final = {
    "echo_64": "Starlette echo at 70 %, 64 connections",
    "hold_64": "holds at 70 %, 64 connections",
    "echo_1000": "Starlette echo at 70 %, 1,000 connections",
    "hold_1000": "holds at 70 %, 1,000 connections",
    "availability_70": "availability at 70 %",
    "overload": f"holds at 200 %, {MORE:,} connections",
    "pay_100": f"payments at 70 %, a gateway of {GATEWAY_MS} ms",
    "bare_crowd": f"uvicorn, bare echo, {CROWD:,} connections",
    "crowd": f"holds, {CROWD:,} connections",
    "rebuild": "rebuild of the sale's partition, live bookings",
}


async def play_latencies(
    stage: Stage, most: Mapping[str, float]
) -> AsyncGenerator[tuple[str, Measured]]:
    """Latencies on a schedule, once a round.

    Args:
        most: the most by the second that each row was found to do.
    """
    api, echo = stage.run.url, stage.starlette_url
    for connections in (64, 1_000):
        yield (
            f"echo_{connections}",
            await at_rate(stage, "echo", echo, connections, PART * most["starlette"]),
        )
        yield (
            f"hold_{connections}",
            await at_rate(stage, "hold", api, connections, PART * most["hold_drained"]),
        )
    yield (
        "availability_70",
        await at_rate(stage, "availability", api, 64, PART * most["availability"]),
    )
    # More connections than a crowd may have: with fewer, all of them wait for their turns.
    yield (
        "overload",
        await at_rate(stage, "hold", api, MORE, OVERLOAD * most["hold_drained"], OVERLOAD_LEAD_S),
    )
    await stage.gateway_takes(GATEWAY_MS)
    yield "pay_100", await at_rate(stage, "paid", api, PAYING, PART * most["paid_drained"])
    await stage.gateway_takes(0)


async def play_crowd(stage: Stage) -> AsyncGenerator[tuple[str, Measured]]:
    """Ten thousand connections with a request in flight each: the bare echo and the API."""
    for name, work, url in (
        ("bare_crowd", "echo", stage.bare_url),
        ("crowd", "answered", stage.run.url),
    ):
        order = Order(
            work=work, url=url, connections=CROWD, seconds=CROWD_SECONDS, customers=CUSTOMERS
        )
        yield name, await stage.measure(order)


async def play_rebuild(stage: Stage) -> AsyncGenerator[tuple[str, Measured]]:
    """Write the partition that has nearly all bookings anew from PostgreSQL."""
    await stage.drained()
    partition = stage.engine.keys.partition_of_sale(SALE)
    told = await stage.command("rebuild", "--partition", str(partition), "--json")
    rebuilt = told["partitions"][0]
    yield "rebuild", Measured(seconds=rebuilt["seconds"], done=rebuilt["holds"])


async def at_rate(
    stage: Stage, work: str, url: str, connections: int, per_s: float, lead_s: float = 0.0
) -> Measured:
    """Measure what comes on a schedule."""
    return await stage.measure(
        Order(
            work=work,
            url=url,
            connections=connections,
            seconds=SECONDS,
            lead_s=lead_s,
            per_s=per_s,
            customers=FEW_CUSTOMERS,
        )
    )
