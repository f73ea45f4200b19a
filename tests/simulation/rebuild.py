"""An operator rebuilds a partition: what `workers.rebuilder` does, as one step.

PostgreSQL takes over what is left of the journal and follows from its own, gives the partition a
new generation, and Redis gets what the journal then tells. Old writers know an older generation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from engine.journal import RawEntry, parse_entry
from engine.model import Disagreement, PartitionState, apply, is_paying
from engine.model.work import Work
from engine.payments.limits import PAYMENT_GRACE_MS
from persistence.commit import commit
from persistence.pool import Pool, connection
from persistence.queries import query
from persistence.steps import Position, understand
from tests.simulation.redis import Image
from tests.simulation.scripts import entry_text

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World


async def rebuild(world: World, partition: int, operator: Process) -> bool:
    """Rebuild a partition; False where a drain is at it just now, and it has to be tried again."""
    token = world.rebuilds[partition] = object()
    image = world.redis.images[partition]
    if image is not None:
        world.redis.put(partition, replace(image, fenced="rebuilding"))
    pool = cast(Pool, operator.pool)
    async with connection(pool) as session:
        row = await session.fetchrow(query("position"), partition)
    assert row
    position = Position(**row)
    state = world.auditor.folded(world.postgres.tables[partition])
    assert state
    raws = _following(image, position, state)
    if raws:
        steps, unknown = understand(raws)
        assert unknown is None
        reached = await commit(pool, partition, position, steps, {})
        if reached is None:
            return False
        position = reached
    if world.rebuilds[partition] is not token:
        # Another rebuild has begun meanwhile: the scripts of this one are refused from then on.
        return True
    holder = world.postgres.locks.get(partition)
    tables = world.postgres.tables[partition].copy()
    moved = (tables.generation, tables.sequence) != (position.generation, position.sequence)
    if moved or (holder is not None and holder.is_live()):
        return False
    generation = max(tables.generation, image.generation if image else 0) + 1
    world.postgres.committed(partition, replace(tables, generation=generation))
    _restore(world, partition, generation)
    world.note(f"rebuilt {partition}: generation {generation}, {len(raws)} entries salvaged")
    return True


def _following(image: Image | None, position: Position, state: PartitionState) -> list[RawEntry]:
    """What is left of the journal and follows from what PostgreSQL has."""
    entries = {raw.sequence: raw for raw in image.entries} if image else {}
    at = position.sequence
    if at and (at not in entries or entries[at].text != position.entry):
        return []
    follow = []
    while raw := entries.get(at + 1):
        try:
            state = apply(state, parse_entry(raw.sequence, raw.text))
        except Disagreement:
            break
        follow.append(raw)
        at += 1
    return follow


def _restore(world: World, partition: int, generation: int) -> None:
    """Put into Redis what the journal tells, and open it with the first entry of its generation."""
    tables = world.postgres.tables[partition]
    folded = world.auditor.folded(tables)
    assert folded
    state = folded.copy()
    now_ms = max(world.redis.now_ms(), state.last_ms)
    paying = [name for name, booking in state.bookings.items() if is_paying(booking)]
    state.graces = dict.fromkeys(paying, PAYMENT_GRACE_MS)
    work = Work(state, now_ms)
    work.write("rebuilt", sale_id="", version=0, deltas=(), levels=())
    raws = [RawEntry(one.sequence, entry_text(one)) for one in work.entries]
    if at_cursor := tables.journal.get(tables.sequence):
        raws.insert(0, RawEntry(tables.sequence, at_cursor["entry"]))
    image = Image(
        generation,
        work.state,
        tuple(raws),
        drained=tables.sequence,
        payments=dict.fromkeys(paying, now_ms),
    )
    # Whatever was before belongs to a generation that cannot come back.
    world.redis.history.clear()
    world.redis.images[partition] = image
