"""A run of the bench over a stage that answers at once: what is asked, and what is printed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from engine.keys import Keys
from holdfast.bench import command, growth, notices, report, strain
from holdfast.bench.orders import SALE, Measured, Order
from holdfast.bench.rows import PAUSED
from holdfast.bench.stage import Stage
from holdfast.bench.verdicts import TARGETS

TOLD = {
    "processors": 2,
    "processor": "x",
    "memory_gib": 1,
    "load_before": 0.1,
    "system": "x",
    "python": "3.11",
    "redis": "valkey 8",
    "postgres": "18",
    "packages": {"uvicorn": "1"},
    "settings": {"partitions": 16},
}


class Answering:
    """Does what `Stage` does, without servers."""

    def __init__(self) -> None:
        self.run = SimpleNamespace(url="http://api")
        self.bare_url, self.starlette_url = "http://bare", "http://starlette"
        self.conventional_url = "http://conventional"
        self.engine = SimpleNamespace(keys=Keys(16))
        self.orders: list[Order] = []
        self.paused = False
        self.paused_for: list[str] = []
        self.gateway_ms: list[int] = []
        self.commands: list[tuple[str, ...]] = []
        self.answers = {"201": 10}
        self.workers: list[dict[str, str]] = []

    async def measure(self, order: Order) -> Measured:
        self.orders.append(order)
        if self.paused:
            self.paused_for.append(order.work)
        return Measured(seconds=1.0, done=100, answers=self.answers, p50_ms=1.0, p99_ms=2.0)

    @asynccontextmanager
    async def worker_paused(self) -> AsyncIterator[None]:
        self.paused = True
        yield
        self.paused = False

    async def backlog(self) -> int:
        return 50

    async def drained(self) -> float:
        return 0.1

    async def gateway_takes(self, latency_ms: int) -> None:
        self.gateway_ms.append(latency_ms)

    async def command(self, *words: str) -> dict[str, Any]:
        self.commands.append(words)
        return {"partitions": [{"holds": 30, "seconds": 2.0}]}


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Answering:
    async def machine(_: Stage) -> dict[str, Any]:
        return TOLD

    async def growth_of_a_hold(_: Stage, live: int) -> float:
        return 1.05 if live == 5_000 else 2.0

    @asynccontextmanager
    async def another_worker(stage: Answering, changes: dict[str, str]) -> AsyncIterator[None]:
        assert stage.paused, "else there are two"
        stage.workers.append(changes)
        yield

    async def at_once(_: Stage) -> None:
        pass

    async def mails_of(*_: object) -> Measured:
        return Measured(seconds=1.0, done=100, p50_ms=1.0, p99_ms=2.0)

    monkeypatch.setattr(notices, "another_worker", another_worker)
    monkeypatch.setattr(notices, "settled", at_once)
    monkeypatch.setattr(notices, "let_go", at_once)
    monkeypatch.setattr(notices, "mails_of", mails_of)
    monkeypatch.setattr(report, "machine", machine)
    monkeypatch.setattr(growth, "growth_of_a_hold", growth_of_a_hold)
    return Answering()


async def run(stage: Answering, rounds: int = 2, live: int = 5_000, *, as_json: bool = True) -> int:
    return await command._bench(cast("Stage", stage), rounds, live, as_json=as_json)


async def test_everything_is_measured_and_judged(
    stage: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(stage) == 0
    told = orjson.loads(capsys.readouterr().out)
    assert set(told["rows"]) == set(command.ABOUT)
    assert told["rows"]["rebuild"]["per_s"] == 15.0
    assert len(told["rows"]["hold"]["rounds"]) == 2
    assert len(told["verdict"]) == len(TARGETS) + 1
    growth = told["verdict"][-1]
    assert (growth["reached"], growth["met"]) == (1.05, True)
    assert not [line for line in told["verdict"] if line["met"] is None]


async def test_rates_are_measured_without_the_worker_and_in_both_directions(
    stage: Answering,
) -> None:
    await run(stage)
    count = len(PAUSED)
    paused_for = [work for work in stage.paused_for if work != "told"]
    assert paused_for[:count] == paused_for[: count - 1 : -1]
    assert len(paused_for) == 2 * count
    assert "hold" in {order.work for order in stage.orders if order.per_s}


async def test_latencies_are_measured_at_a_part_of_the_most(stage: Answering) -> None:
    await run(stage, rounds=1)
    holds = [order for order in stage.orders if order.work == "hold" and order.per_s]
    assert [order.per_s for order in holds] == pytest.approx([70, 70, 200])
    assert [order.connections for order in holds] == [64, 1_000, strain.MORE]
    assert [order.lead_s for order in holds] == [0, 0, strain.OVERLOAD_LEAD_S]
    assert stage.gateway_ms == [100, 0]


async def test_buyers_are_told_and_not_told_in_turns(stage: Answering) -> None:
    await run(stage)
    assert [set(changes) for changes in stage.workers] == [
        set(),
        {"HOLDFAST_SMTP_URL"},
        {"HOLDFAST_SMTP_URL"},
        set(),
    ]


async def test_the_partition_of_the_sale_is_rebuilt(stage: Answering) -> None:
    await run(stage, rounds=1)
    partition = str(Keys(16).partition_of_sale(SALE))
    assert stage.commands == [("rebuild", "--partition", partition, "--json")]


async def test_people_are_told_in_tables(
    stage: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run(stage, rounds=1, live=0, as_json=False) == 0
    said = capsys.readouterr().out
    assert "Against the targets" in said
    assert "2 processors" in said


async def test_an_answer_that_nobody_should_be_given_fails_the_run(stage: Answering) -> None:
    stage.answers = {"201": 10, "500": 1}
    assert await run(stage, rounds=1, live=0) == 1
