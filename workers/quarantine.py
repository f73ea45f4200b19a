"""`holdfast backlog quarantine`: entries that could not be applied, looked at and dealt with."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial

import orjson
from rich.console import Console
from rich.table import Table

from engine.engine import Engine
from engine.settings import EngineOptions, Settings
from persistence.quarantine import Quarantine, Quarantined
from workers.operator_pool import operator_pool

NOT_APPLIED = 1


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Quarantine]:
    async with operator_pool(settings, "holdfast-quarantine") as pool:
        yield Quarantine(pool)


async def show_list(settings: Settings, partition: int | None, *, as_json: bool) -> int:
    """Print what is in quarantine; returns the exit code. Raises `Unavailable`."""
    async with _opened(settings) as quarantine:
        found = await quarantine.list(partition)
    if as_json:
        _print_json({"entries": [asdict(one) for one in found]})
    else:
        Console(width=None if sys.stdout.isatty() else 160).print(_table(found))
    return 0


async def show(settings: Settings, partition: int, sequence: int, *, as_json: bool) -> int:
    """Print an entry in quarantine as it is; returns the exit code.

    Raises `Unavailable`, `NotInQuarantine`.
    """
    async with _opened(settings) as quarantine:
        found, text = await quarantine.entry(partition, sequence)
    told = asdict(found) | {"entry": text.decode("utf-8", "backslashreplace")}
    if as_json:
        _print_json(told)
    else:
        sys.stdout.write("".join(f"{name}: {_spelled(value)}\n" for name, value in told.items()))
    return 0


async def retry(settings: Settings, partition: int, sequence: int, *, as_json: bool) -> int:
    """Apply an entry and those that wait behind it; returns the exit code, 1 where one is left.

    Raises `Unavailable`, `NotInQuarantine`.
    """
    async with _opened(settings) as quarantine:
        engine = await Engine.open(EngineOptions.of(settings))
        async with engine:
            contacts = partial(engine.journal.contacts, partition)
            done = await quarantine.retry(partition, sequence, contacts)
    if as_json:
        _print_json({"partition": partition, **asdict(done)})
    else:
        for applied in done.applied:
            sys.stdout.write(f"entry {partition}:{applied} is applied\n")
        if done.left is not None:
            sys.stdout.write(f"entry {partition}:{done.left} is not, {done.why}\n")
    return 0 if done.left is None else NOT_APPLIED


async def discard(
    settings: Settings, partition: int, sequence: int, by: str, because: str, *, as_json: bool
) -> int:
    """Give an entry up; returns the exit code.

    Raises `Unavailable`, `NotInQuarantine`, `CannotDiscard`.
    """
    async with _opened(settings) as quarantine:
        await quarantine.discard(partition, sequence, by, because)
    if as_json:
        _print_json({"partition": partition, "sequence": sequence, "discarded": True})
    else:
        sys.stdout.write(f"entry {partition}:{sequence} is discarded\n")
    return 0


def _print_json(value: object) -> None:
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_UTC_Z).decode() + "\n")
    sys.stdout.flush()


def _spelled(value: object) -> str:
    return "" if value is None else str(value)


def _table(found: Sequence[Quarantined]) -> Table:
    waiting = sum(one.discarded_at is None for one in found)
    drawn = Table(title=f"{waiting:,} entries wait, {len(found) - waiting:,} were discarded")
    for name in ("position", "reason", "type", "booking", "sale", "detail", "discarded"):
        drawn.add_column(name)
    for one in found:
        given_up = f"by {one.discarded_by}: {one.discarded_because}" if one.discarded_at else ""
        drawn.add_row(
            f"{one.partition}:{one.sequence}",
            one.reason,
            one.type or "?",
            one.booking_id or "",
            one.sale_id or "",
            one.detail,
            given_up,
        )
    return drawn
