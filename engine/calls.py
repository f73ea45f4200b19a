"""Runs a script on a partition: the fence's arguments, the error table, the bounded retry.

Rule 6: a time-out is not an answer. Every script recognises an operation it has done, so that a
call whose outcome is unknown may be sent again as it is.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from redis.exceptions import OutOfMemoryError, ResponseError

from engine.errors import Fenced, Overloaded, ScriptError, Unavailable
from engine.keys import Keys
from engine.limits import CALL_TIMEOUT_MS, MAX_CALL_ATTEMPTS
from engine.nodes import Nodes
from engine.outcomes import Outcome
from engine.partitions import Partitions
from engine.pipeline import Argument
from engine.scripts import Script

NOT_EXECUTED: Final = (
    "LOADING",
    "READONLY",
    "MASTERDOWN",
    "MOVED",
    "ASK",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "BUSY",
    "NOREPLICAS",
    "MISCONF",
    "NOAUTH",
    "NOPERM",
)
"""First words of errors that say: nothing was run. All of them may pass by themselves."""

JOURNAL_AHEAD: Final = "equal or smaller than the target stream top item"
"""XADD's refusal of a sequence that the journal already has: meta is older than its journal."""

SLOT_MOVES: Final = "attempted to access a non local key"
"""Refusal of `lua/lib/stays.lua`: the slot is being moved key by key. Nothing was run."""

LOST: Final = ("journal_missing", "keys_missing")
"""Words of a script's error that say: keys are gone, and it has closed the partition (lib/lost)."""


class Reply(NamedTuple):
    """What a script answered, and how many times it was sent.

    `sequence` is that of the partition's last entry when the script ran.
    """

    outcome: Outcome
    sequence: int
    values: Sequence[Any]
    attempts: int

    def text(self, at: int = 0) -> str:
        """A value as text."""
        value: bytes = self.values[at]
        return value.decode()


class _Carried:
    """A call's arguments, with the fence's in front as they are at the moment of sending.

    A call that waits for a new connection must carry what the process was told while it waited
    (`Engine.refresh_floors`): with what it knew before, the first batch after a failover would be
    run by a server that lacks entries.
    """

    def __init__(self, partitions: Partitions, partition: int, args: tuple[Argument, ...]) -> None:
        self._partitions = partitions
        self._partition = partition
        self._args = args
        self.generation, _ = partitions.arguments(partition)
        """The one that was sent last."""

    def __iter__(self) -> Iterator[Argument]:
        self.generation, seen = self._partitions.arguments(self._partition)
        return iter((self.generation, seen, *self._args))


class Caller:
    """Runs scripts by name."""

    def __init__(
        self,
        nodes: Nodes,
        keys: Keys,
        partitions: Partitions,
        refresh: Callable[[], Awaitable[None]],
    ) -> None:
        self._look_again = nodes.look_again
        self._load = nodes.load
        self._pipelines = nodes.pipelines
        self._keys = keys
        self.partitions = partitions
        self._refresh = refresh

    async def run(self, name: str, partition: int, *args: Argument) -> Reply:
        """Run a script.

        Raises:
            Unavailable: the outcome is not known, after `MAX_CALL_ATTEMPTS`.
            Overloaded: nothing was tried.
            Fenced: the partition waits for its operator; nothing was tried.
        """
        script = self._load(name)
        attempt = 0
        refreshed = in_doubt = False
        give_up = time.monotonic() + CALL_TIMEOUT_MS / 1000
        try:
            while True:
                attempt += 1
                try:
                    carried = _Carried(self.partitions, partition, args)
                    raw = await self._pipelines[partition].run(
                        script, self._keys.meta(partition), carried
                    )
                    return self._read(script, partition, carried.generation, raw, attempt)
                except (Unavailable, ResponseError) as error:
                    unknown = _judge(error, partition)
                    in_doubt = in_doubt or unknown is error
                    elsewhere = await self._look_again(partition, error)
                    late = time.monotonic() >= give_up
                    if late or attempt >= MAX_CALL_ATTEMPTS:
                        if unknown is error:
                            raise
                        raise unknown from error
                    if not elsewhere:
                        await _pause(attempt)
                except Fenced as fenced:
                    if fenced.reason == "sequence":
                        await self._close(partition)
                        raise
                    # A rebuild gave the partition a new generation, or the first start came after
                    # this process did: PostgreSQL knows.
                    if refreshed or fenced.reason not in ("generation", "meta_missing"):
                        raise
                    refreshed = True
                    before = self.partitions.floor(partition).generation
                    await self._refresh()
                    if self.partitions.floor(partition).generation == before:
                        raise
        except (Overloaded, Fenced) as refused:
            if in_doubt:
                # Nothing was tried this time; but an earlier try may have been run.
                raise Unavailable(f"not answered, and then {refused}") from refused
            raise

    async def run_as(
        self, name: str, partition: int, generation: int, token: str, *args: bytes | str | int
    ) -> Reply:
        """Run a script of a rebuild, which goes by a generation and a token of its own.

        Each may be said again. What this process knows of the partition is neither asked nor told.

        Raises: as `run`; `Fenced` where the rebuild was overtaken by another one.
        """
        script = self._load(name)
        attempt = 0
        while True:
            attempt += 1
            try:
                raw = await self._pipelines[partition].run(
                    script, self._keys.meta(partition), (generation, token, *args)
                )
            except (Unavailable, ResponseError) as error:
                unknown = _judge(error, partition)
                elsewhere = await self._look_again(partition, error)
                if attempt >= MAX_CALL_ATTEMPTS:
                    raise unknown from error
                if not elsewhere:
                    await _pause(attempt)
            else:
                outcome = _outcome(script, raw)
                if outcome is Outcome.FENCED:
                    raise Fenced(partition, raw[2].decode())
                return Reply(outcome, raw[1], raw[2:], attempt)

    def _read(
        self, script: Script, partition: int, generation: int, raw: Any, attempts: int
    ) -> Reply:
        outcome = _outcome(script, raw)
        if outcome is Outcome.FENCED:
            raise Fenced(partition, raw[2].decode())
        self.partitions.saw(partition, generation, raw[1])
        return Reply(outcome, raw[1], raw[2:], attempts)

    async def _close(self, partition: int) -> None:
        """Fence a partition for everybody: this process has proof that Redis lost entries.

        Another process that has seen less would go on selling on the older copy.
        """
        generation, seen = self.partitions.arguments(partition)
        script = self._load("fence")
        try:
            await self._pipelines[partition].run(
                script, self._keys.meta(partition), (generation, seen, "sequence_lost")
            )
        except (Unavailable, Overloaded, ResponseError):
            # The next call that is refused tries again.
            return


async def _pause(attempt: int) -> None:
    """Wait before the next attempt, longer each time."""
    jitter = random.uniform(0.5, 1.5)  # noqa: S311 - spreads retries, keeps no secret
    await asyncio.sleep(jitter * 0.02 * 4 ** (attempt - 1))


def _outcome(script: Script, raw: Any) -> Outcome:
    """The outcome that a script answered; its header must name it."""
    outcome = script.words.get(raw[0])
    if outcome is None:
        word = raw[0].decode()
        raise ScriptError(f"lua/{script.name}.lua answered {word}, unnamed in its header")
    return outcome


def _judge(error: Exception, partition: int) -> Exception:
    """Say what an error means for the call: unknown, not tried, or a broken partition.

    Raises:
        Overloaded, Fenced, ScriptError: final for this call.
    """
    if isinstance(error, Unavailable):
        return error
    text = str(error)
    if isinstance(error, OutOfMemoryError):
        # The script is not `allow-oom` and the server is at `maxmemory`: nothing was run (rule 8).
        raise Overloaded("Redis is at its memory limit") from error
    if JOURNAL_AHEAD in text:
        raise Fenced(partition, "journal_ahead") from error
    for reason in LOST:
        if reason in text:
            raise Fenced(partition, reason) from error
    if type(error) is not ResponseError or text.startswith(NOT_EXECUTED) or SLOT_MOVES in text:
        return Unavailable(f"Redis: {text}")
    raise ScriptError(text) from error
