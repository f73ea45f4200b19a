"""Random sequences of operations: the scripts on a real server and `engine.model` must agree.

In every answer, in every entry they write, and at the end in everything the keys hold. The clock
is the test's (see `tests.helpers.scripted`), so that both go by the same milliseconds. A failure
names its seed: put it into SEEDS to have it again.
"""

from __future__ import annotations

import secrets
from collections import Counter

import redis

from engine.journal import Entry, parse_entry
from engine.model import Decision, PartitionState, PutSale, decide
from engine.outcomes import Outcome
from engine.scripts import load_script, script_names
from tests.helpers.random_operations import RandomOperations
from tests.helpers.script_calls import script_call
from tests.helpers.scripted import START_MS, Result, ScriptedPartition
from tests.helpers.servers import Valkey

SEEDS = (43, 51, 54)
"""Chosen so that together they get every answer of every script."""
STEPS = 700
NEVER = {Outcome.FENCED, Outcome.EVICTED, Outcome.RATE_LIMITED, Outcome.SHED, Outcome.SALE_RETIRED}
"""What these sequences do not provoke; each has tests of its own."""


def test_random_sequences_agree_with_the_model(valkey_server: Valkey) -> None:
    outcomes: Counter[tuple[str, str]] = Counter()
    for seed in SEEDS:
        valkey_server.flush()
        outcomes += run_sequence(seed, valkey_server.url)
    possible = {
        (name, outcome)
        for name in {name for name, _ in outcomes}
        for outcome in load_script(name).outcomes - NEVER
    }
    journaled = {name for name in script_names() if load_script(name).entries}
    # A rebuild is no operation on a partition that is open.
    rebuilding = {"finish_rebuild", "finish_sale"}
    assert {name for name, _ in possible} == journaled - rebuilding | {"claim_payment"}
    missing = possible - outcomes.keys()
    assert not missing, f"the sequences prove too little: {sorted(missing)}"


def test_a_sequence_never_run_before_agrees_with_the_model(redis_url: str) -> None:
    run_sequence(secrets.randbits(32), redis_url)


def run_sequence(seed: int, redis_url: str) -> Counter[tuple[str, str]]:
    """Run one sequence on both; return how often each script gave each outcome."""
    print(f"seed {seed}")
    operations = RandomOperations(seed)
    outcomes: Counter[tuple[str, str]] = Counter()
    with redis.Redis.from_url(redis_url, socket_timeout=10) as client:
        partition = ScriptedPartition(client)
        state, now_ms = PartitionState(), START_MS
        for step in range(STEPS):
            where = f"seed {seed}, step {step}"
            now_ms += operations.step_ms()
            partition.move_clock(now_ms)
            operation = operations.draw(state, now_ms)
            decision = decide(state, operation, now_ms)
            result = partition.perform(operation)
            expected = Result(
                decision.outcome,
                decision.state.sequence,
                decision.booking,
                decision.item_id,
                decision.expired,
                decision.warned,
            )
            assert result == expected, f"{where}: {operation}"
            written = read_after(partition, state.sequence)
            told = [normal(entry) for entry in decision.entries]
            assert [normal(entry) for entry in written] == told, f"{where}: {operation}"
            state = drain_now_and_then(partition, decision, step)
            outcomes[script_call(operation)[0], result.outcome] += 1
            if booking_id := operations.lease_that_ends(state):
                partition.end_lease(booking_id)
                del state.leases[booking_id]
            if isinstance(operation, PutSale):
                partition.check()
        found = partition.check()
        state.last_ms = found.last_ms
        assert found == state, f"seed {seed}: the keys are not what the model says"
        assert client.dbsize() == len(partition.names())
    return outcomes


def read_after(partition: ScriptedPartition, sequence: int) -> list[Entry]:
    """The entries written since."""
    found = partition.client.xrange(partition.key("journal"), min=f"{sequence + 1}-0")
    return [parse_entry(int(at.partition(b"-")[0]), fields[b"entry"]) for at, fields in found]


def normal(entry: Entry) -> Entry:
    """An entry with its items in one order: HGETALL tells removed items in none."""
    return entry._replace(
        deltas=tuple(sorted(entry.deltas, key=lambda level: level.item_id)),
        levels=tuple(sorted(entry.levels, key=lambda level: level.item_id)),
    )


def drain_now_and_then(
    partition: ScriptedPartition, decision: Decision, step: int
) -> PartitionState:
    """Tell both that PostgreSQL has everything; nothing is removed from the journal."""
    state = decision.state
    if step % 50 == 49:
        partition.raw("trim", state.sequence, 0, "")
        state.drained = state.sequence
    return state
