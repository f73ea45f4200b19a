"""What an error means, what is sent again, and what closes a partition."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest
from redis import exceptions

from engine.calls import JOURNAL_AHEAD, NOT_EXECUTED, Caller
from engine.errors import Fenced, Overloaded, ScriptError, Unavailable
from engine.keys import Keys
from engine.limits import MAX_CALL_ATTEMPTS
from engine.nodes import Nodes
from engine.outcomes import Outcome
from engine.partitions import Partitions
from engine.pipeline import Pipeline
from engine.scripts import Script
from engine.types import Floor
from tests.helpers.fake import node_over

CANCELLED = [b"cancelled", 7, b"{}"]


def fenced(reason: bytes) -> list[Any]:
    return [b"fenced", -1, reason]


class Server:
    """Stands where the pipeline is: answers in turn, the last answer for ever."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.connects: Callable[[], None] = lambda: None
        """What happens before a call is sent."""

    async def run(self, script: Script, key: bytes, args: Iterable[Any]) -> Any:
        self.connects()
        self.calls.append((script.name, tuple(args)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Bench:
    """A caller over such a server; `learns` is what PostgreSQL tells when it is asked."""

    def __init__(self, *answers: Any, learns: tuple[int, int] | None = None) -> None:
        self.server = Server(*answers)
        self.partitions = Partitions(2)
        self.partitions.observe(0, 1, 5)
        self.learns = learns
        self.asked = 0
        nodes = Nodes([node_over(cast(Pipeline, self.server))] * 2)
        self.caller = Caller(nodes, Keys(2), self.partitions, self._refresh)

    async def _refresh(self) -> None:
        self.asked += 1
        if self.learns:
            self.partitions.observe(0, *self.learns)

    async def cancel(self) -> Any:
        return await self.caller.run("cancel", 0, "b", "", "customer", "")

    @property
    def sent(self) -> int:
        return len(self.server.calls)


async def test_a_call_carries_the_fence_and_remembers_the_reply() -> None:
    bench = Bench(CANCELLED)
    reply = await bench.cancel()
    assert (reply.outcome, reply.sequence, reply.text()) == (Outcome.CANCELLED, 7, "{}")
    await bench.cancel()
    assert bench.server.calls[0] == ("cancel", (1, 5, "b", "", "customer", ""))
    assert bench.server.calls[1] == ("cancel", (1, 7, "b", "", "customer", ""))


async def test_a_call_that_waited_for_its_connection_carries_what_was_learned_meanwhile() -> None:
    bench = Bench(CANCELLED)
    bench.server.connects = lambda: bench.partitions.observe(0, 1, 6)
    await bench.cancel()
    assert bench.server.calls == [("cancel", (1, 6, "b", "", "customer", ""))]
    bench = Bench(CANCELLED)
    bench.server.connects = lambda: bench.partitions.observe(0, 2, 3)
    await bench.cancel()
    # The reply counts for the generation that was sent.
    assert bench.partitions.floor(0) == Floor(2, 7)


async def test_an_unknown_outcome_is_asked_for_again_as_it_was() -> None:
    bench = Bench(Unavailable("lost"), CANCELLED)
    reply = await bench.cancel()
    assert (reply.outcome, reply.attempts) == (Outcome.CANCELLED, 2)
    assert bench.server.calls[0] == bench.server.calls[1]


async def test_an_outcome_that_stays_unknown_is_given_up() -> None:
    bench = Bench(Unavailable("lost"))
    with pytest.raises(Unavailable, match="lost") as raised:
        await bench.cancel()
    assert bench.sent == MAX_CALL_ATTEMPTS
    assert raised.value.__cause__ is not raised.value


@pytest.mark.parametrize(
    "error",
    [
        *(exceptions.ResponseError(f"{word} because") for word in NOT_EXECUTED),
        exceptions.ReadOnlyError("You can't write against a read only replica."),
        exceptions.NoPermissionError("this user has no permissions"),
        exceptions.ClusterDownError("Hash slot not served"),
        exceptions.TryAgainError("Multiple keys request during rehashing of slot"),
    ],
    ids=lambda error: f"{type(error).__name__}-{str(error).split()[0]}",
)
async def test_an_error_that_may_pass_is_tried_again(error: Exception) -> None:
    bench = Bench(error, CANCELLED)
    assert (await bench.cancel()).outcome is Outcome.CANCELLED
    bench = Bench(error)
    with pytest.raises(Unavailable) as raised:
        await bench.cancel()
    assert raised.value.__cause__ is error
    assert bench.sent == MAX_CALL_ATTEMPTS


async def test_a_full_memory_is_overload_and_not_tried_again() -> None:
    bench = Bench(exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'"))
    with pytest.raises(Overloaded, match="memory"):
        await bench.cancel()
    assert bench.sent == 1


async def test_a_full_queue_is_overload_and_not_tried_again() -> None:
    bench = Bench(Overloaded("too many calls wait"))
    with pytest.raises(Overloaded):
        await bench.cancel()
    assert bench.sent == 1


@pytest.mark.parametrize(
    "refusal",
    [
        Overloaded("too many calls wait"),
        exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'"),
        fenced(b"operator"),
        fenced(b"sequence"),
    ],
)
async def test_a_refusal_after_an_unknown_outcome_does_not_say_that_nothing_was_tried(
    refusal: Any,
) -> None:
    bench = Bench(Unavailable("lost"), refusal)
    with pytest.raises(Unavailable):
        await bench.cancel()
    # What was certainly not run leaves no doubt.
    bench = Bench(exceptions.ResponseError("LOADING because"), refusal)
    with pytest.raises((Overloaded, Fenced)):
        await bench.cancel()


async def test_a_journal_ahead_of_its_meta_is_a_fence() -> None:
    bench = Bench(exceptions.ResponseError(f"ERR The ID specified in XADD is {JOURNAL_AHEAD}"))
    with pytest.raises(Fenced) as raised:
        await bench.cancel()
    assert (raised.value.partition, raised.value.reason) == (0, "journal_ahead")
    assert bench.sent == 1


async def test_an_error_of_the_script_is_not_tried_again() -> None:
    bench = Bench(exceptions.ResponseError("ERR user_script:7: attempt to compare nil with number"))
    with pytest.raises(ScriptError, match="user_script:7"):
        await bench.cancel()
    assert bench.sent == 1


async def test_an_answer_that_the_header_does_not_name_is_an_error() -> None:
    bench = Bench([b"held", 6, b""])
    with pytest.raises(ScriptError, match="answered held"):
        await bench.cancel()


async def test_a_redis_that_lost_entries_is_closed_for_everybody() -> None:
    bench = Bench(fenced(b"sequence"), fenced(b"sequence_lost"))
    with pytest.raises(Fenced, match="sequence"):
        await bench.cancel()
    assert bench.server.calls[1] == ("fence", (1, 5, "sequence_lost"))
    assert bench.asked == 0


@pytest.mark.parametrize("error", [Unavailable("lost"), Overloaded("full")])
async def test_a_partition_that_cannot_be_closed_now_is_refused_all_the_same(
    error: Exception,
) -> None:
    bench = Bench(fenced(b"sequence"), error)
    with pytest.raises(Fenced, match="sequence"):
        await bench.cancel()


@pytest.mark.parametrize("reason", [b"generation", b"meta_missing"])
async def test_a_rebuilt_partition_is_called_again_under_its_new_generation(reason: bytes) -> None:
    bench = Bench(fenced(reason), CANCELLED, learns=(2, 3))
    assert (await bench.cancel()).outcome is Outcome.CANCELLED
    assert bench.server.calls[1] == ("cancel", (2, 3, "b", "", "customer", ""))
    assert bench.partitions.arguments(0) == (2, 7)


async def test_a_fence_that_postgresql_knows_nothing_of_stays() -> None:
    bench = Bench(fenced(b"generation"))
    with pytest.raises(Fenced, match="generation"):
        await bench.cancel()
    assert (bench.sent, bench.asked) == (1, 1)


async def test_postgresql_is_asked_once_for_each_call() -> None:
    bench = Bench(fenced(b"generation"), learns=(2, 0))
    with pytest.raises(Fenced, match="generation"):
        await bench.cancel()
    assert (bench.sent, bench.asked) == (2, 1)


async def test_an_operators_fence_is_not_argued_with() -> None:
    bench = Bench(fenced(b"operator"))
    with pytest.raises(Fenced, match="operator"):
        await bench.cancel()
    assert (bench.sent, bench.asked) == (1, 0)


async def test_a_partition_never_seen_is_asked_for_and_not_called() -> None:
    bench = Bench(CANCELLED)
    with pytest.raises(Fenced, match="partition 1 is fenced: meta_missing"):
        await bench.caller.run("cancel", 1, "b", "", "customer", "")
    assert (bench.sent, bench.asked) == (0, 1)
