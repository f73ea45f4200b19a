"""Takes pay requests. The saga is a task that outlives its request and its client.

A request waits for the task until the pay deadline; what is not known by then is answered as open,
and the same key joins the attempt later. A task that is cut off by a shutdown leaves its lease to
run out: a worker takes over.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import Final

import structlog

from engine.bookings import Answer, Bookings
from engine.crypto import Vault
from engine.errors import Fenced, Overloaded, Unavailable
from engine.outcomes import Outcome
from engine.payments.books import PaymentBooks, PaymentRequest
from engine.payments.limits import PAY_DEADLINE_MS
from engine.payments.saga import Saga
from engine.payments.types import Step
from engine.tasks import end_tasks
from engine.types import Booking

_log = structlog.stdlib.get_logger("holdfast.saga")

LOOK_AGAIN_S: Final = 0.05
"""How often a request that joined another process's attempt looks whether it has ended."""


@dataclass(frozen=True, slots=True)
class PayAnswer:
    """What came of a pay request: the outcome of its begin, and the booking as it stands.

    `begun` and `joined` are answered with the booking at rest, or still open past the deadline.
    """

    outcome: Outcome
    booking: Booking | None
    replayed: bool = False


class Cashier:
    """One process's pay requests and the saga tasks they started."""

    def __init__(
        self,
        books: PaymentBooks,
        bookings: Bookings,
        saga: Saga,
        vault: Vault,
        pay_deadline_ms: int = PAY_DEADLINE_MS,
    ) -> None:
        self._books = books
        self._bookings = bookings
        self._saga = saga
        self._vault = vault
        self._deadline_s = pay_deadline_ms / 1000
        self._tasks: dict[str, asyncio.Task[Booking]] = {}

    async def pay(self, request: PaymentRequest) -> PayAnswer:
        """Pay for a hold.

        Outcomes: those of `PaymentBooks.begin`; `payment_free` is answered by confirming.
        Raises `Overloaded` and `Fenced` only where nothing was begun, else `Unavailable`.
        """
        owner = uuid.uuid4().hex
        fingerprint = self._vault.fingerprint("pay", request.method)
        answer = await self._books.begin(request, fingerprint, owner)
        booking = answer.booking
        if booking is None:
            return PayAnswer(answer.outcome, None)
        try:
            match answer.outcome:
                case Outcome.BEGUN:
                    task = self._start(booking, owner)
                    return PayAnswer(Outcome.BEGUN, await self._await(task, booking))
                case Outcome.JOINED:
                    booking = await self._join(booking, owner)
                    return PayAnswer(Outcome.JOINED, booking, replayed=_rests(booking))
                case _:
                    return PayAnswer(answer.outcome, booking, answer.replayed)
        except (Overloaded, Fenced) as error:
            # They say that nothing was tried, which is true of the step that they stopped and not
            # of the payment: it has begun, and a worker will go on with it.
            raise Unavailable(f"the payment has begun: {error}") from error

    def _start(self, booking: Booking, owner: str) -> asyncio.Task[Booking]:
        booking_id = booking.booking_id
        task = asyncio.create_task(self._saga.drive(booking, owner))
        self._tasks[booking_id] = task

        def ended(task: asyncio.Task[Booking]) -> None:
            if self._tasks.get(booking_id) is task:
                del self._tasks[booking_id]
            if not task.cancelled() and (error := task.exception()):
                # The request that waits is told too; the lease brings a worker to the payment.
                _log.warning("payment_interrupted", booking_id=booking_id, error=repr(error))

        task.add_done_callback(ended)
        return task

    async def _await(self, task: asyncio.Task[Booking], booking: Booking) -> Booking:
        """The booking when the task has ended, or as it was begun once the deadline has passed."""
        done, _ = await asyncio.wait({task}, timeout=self._deadline_s)
        if done:
            return task.result()
        answer = await self._bookings.get(booking.booking_id)
        return answer.booking or booking

    async def _join(self, booking: Booking, owner: str) -> Booking:
        """Wait for an attempt that another request began, or carry it on where nobody does."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._deadline_s
        while not _rests(booking):
            task = self._tasks.get(booking.booking_id)
            if task is None:
                claim: Answer = await self._books.claim(booking.booking_id, owner)
                if claim.outcome is Outcome.DONE and claim.booking:
                    task = self._start(claim.booking, owner)
                booking = claim.booking or booking
            if task is not None:
                return await self._await(task, booking)
            if _rests(booking) or loop.time() >= give_up:
                break
            await asyncio.sleep(LOOK_AGAIN_S)
        return booking

    async def close(self, patience_s: float) -> None:
        """Let the tasks end, within some seconds; what is left a worker takes over."""
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=patience_s)
            await end_tasks(late)


def _rests(booking: Booking) -> bool:
    return booking.payment is None or booking.payment.step is Step.NONE
