"""Carries a plan out, from nothing to rest, and tells what broke."""

from __future__ import annotations

import asyncio
import hashlib
import random
import traceback
from collections import Counter
from dataclasses import dataclass
from typing import Any

from persistence.metrics import LEVEL_MISMATCHES
from tests.simulation.auditor import Broken
from tests.simulation.clock import Standstill, VirtualLoop, virtual
from tests.simulation.plan import Plan
from tests.simulation.world import World


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run."""

    broken: tuple[str, ...]
    digest: str
    """Of the trace: the same for the same plan, on every machine."""
    trace: tuple[str, ...]
    fired: Counter[str]
    changes: int

    def require(self) -> None:
        """Raise `Broken` where an invariant was."""
        if self.broken:
            raise Broken("\n".join(self.broken))


def run(plan: Plan) -> Result:
    """Carry a plan out, from nothing to rest."""
    loop = VirtualLoop()
    chance = random.Random(f"{plan.seed} run")
    mismatches = LEVEL_MISMATCHES._value.get()
    with virtual(loop, chance):
        world = World(plan, loop, chance)
        loop.set_exception_handler(lambda _, context: world.auditor.fail(_told(context)))
        try:
            loop.run_until_complete(world.run())
        except Standstill:
            world.auditor.fail("everybody waits for ever")
        except Exception as error:  # noqa: BLE001 - told like everything that must not be
            world.auditor.fail("".join(traceback.format_exception(error)))
        finally:
            _end(world, loop)
    if LEVEL_MISMATCHES._value.get() != mismatches:
        world.auditor.fail("the drain finds that the two books of stock disagree")
    text = "\n".join(world.trace).encode()
    fired = world.fired + world.network.fired + world.gateway.fired
    return Result(
        tuple(world.auditor.broken),
        hashlib.sha256(text).hexdigest(),
        tuple(world.trace),
        fired,
        world.auditor.changes,
    )


def _told(context: dict[str, Any]) -> str:
    error = context.get("exception")
    told = "".join(traceback.format_exception(error)) if error else ""
    return f"{context['message']} {told}"


def _end(world: World, loop: VirtualLoop) -> None:
    """Let nothing wait any more."""
    loop.set_exception_handler(lambda *_: None)
    for process in (*world.processes, *world.dead):
        process.host.end()
    for _ in range(50):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        loop.call_soon(loop.stop)
        loop.run_forever()
    loop.close()
