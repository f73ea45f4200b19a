"""The buyers, as Locust runs them. Importing this imports gevent, which patches every socket.

A request is named by what came of it, so that sales and refusals are never one number.
"""

from __future__ import annotations

import random
import time
import uuid
from pathlib import Path
from typing import Any, Final, cast

import gevent
import orjson
from locust import FastHttpUser, constant, constant_pacing, task
from locust.exception import StopUser

from holdfast import dev_auth
from loadtests.plan import Plan

PLAN: Final = Plan.read()
KEY: Final = dev_auth.read_key(Path(PLAN.data))
TOKEN_TTL_S: Final = 24 * 3600
NOT_NOW: Final = frozenset({429, 503})
PATIENCE_S: Final = 30.0
POLL_S: Final = 0.25
TWINS: Final = 3
"""How many times an impatient client sends the same request at once."""

Answer = tuple[int, Any]
"""Status and body; status 0 where no answer came."""


class Buyer(FastHttpUser):
    """One customer with a token of its own."""

    abstract = True
    wait_time = constant_pacing(1)
    connection_timeout = PATIENCE_S
    network_timeout = PATIENCE_S

    def on_start(self) -> None:
        """Get a token."""
        self._etag = ""
        token = KEY.token(f"load-{uuid.uuid4()}", "bookings", TOKEN_TTL_S)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(
        self, what: str, method: str, path: str, body: Any = None, headers: Any = None
    ) -> Answer:
        """Send one request, once, and count it by what came of it.

        Expected refusals are no failures, and neither is a 503: which says what to do about it.
        """
        with self.client.request(
            method,
            path,
            name=what,
            data=orjson.dumps(body).decode() if body is not None else None,
            headers={**self._headers, **(headers or {})},
            catch_response=True,
        ) as answer:
            status = answer.status_code or 0
            told = orjson.loads(answer.content) if answer.content else None
            code = told["code"] if status >= 400 and isinstance(told, dict) else ""
            replayed = answer.headers and answer.headers.get("idempotency-replayed")
            outcome = code or ("replayed" if replayed else str(status))
            meta = cast("dict[str, Any]", answer.request_meta)
            meta["name"] = f"{what}: {outcome}"
            if status in {200, 201, 202, 304, 402, 409} or status in NOT_NOW:
                answer.success()
            else:
                answer.failure(f"{status} {code}")
            return status, told

    def keyed(self, what: str, path: str, body: Any) -> Answer:
        """Send a request under a fresh key, the same again while it is answered "not now"."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        give_up = time.monotonic() + PATIENCE_S
        while True:
            status, told = self.ask(what, "POST", path, body, headers)
            if status and status not in NOT_NOW:
                return status, told
            if time.monotonic() > give_up:
                return status, told
            gevent.sleep(random.uniform(0.5, 1.5))

    def hold(self) -> dict[str, Any] | None:
        """Hold one unit of some item; None where there is none."""
        line = {"item_id": random.choice(PLAN.items), "quantity": 1}
        status, told = self.keyed(
            "hold", "/v1/bookings", {"sale_id": PLAN.sale_id, "lines": [line]}
        )
        return cast("dict[str, Any]", told) if status == 201 else None

    def pay(self, booking: dict[str, Any]) -> bool:
        """Pay, and wait for the end of it; whether the money was taken."""
        path = f"/v1/bookings/{booking['id']}"
        status, told = self.keyed("pay", f"{path}/pay", {"payment_method": "pm_card_visa"})
        give_up = time.monotonic() + PATIENCE_S
        while status == 202 and time.monotonic() < give_up:
            gevent.sleep(POLL_S)
            _, told = self.ask("poll", "GET", path)
            if told and told["payment"]["status"] not in {"AUTHORIZING", "CAPTURING", "UNKNOWN"}:
                break
        paid = bool(told) and (told.get("payment") or {}).get("status") == "CAPTURED"
        self.count("booking: paid" if paid else "booking: not paid")
        return paid

    def count(self, what: str) -> None:
        """Count something that is no request."""
        self.environment.events.request.fire(
            request_type="",
            name=what,
            response_time=0,
            response_length=0,
            exception=None,
            context={},
        )

    def look(self) -> None:
        """Look at availability, and remember its ETag."""
        headers = {"If-None-Match": self._etag} if self._etag else {}
        with self.client.get(
            f"/v1/sales/{PLAN.sale_id}/availability",
            name="availability",
            headers=headers,
            catch_response=True,
        ) as answer:
            cast("dict[str, Any]", answer.request_meta)["name"] = (
                f"availability: {answer.status_code}"
            )
            if answer.status_code in {200, 304, 503}:
                answer.success()
            self._etag = answer.headers.get("etag", "") if answer.headers else ""


class Rush(Buyer):
    """Stands in front of the sale, takes one unit, pays, and goes."""

    abstract = True
    wait_time = constant(0.2)

    @task
    def come(self) -> None:
        """Try once."""
        booking = self.hold()
        if booking is not None and self.pay(booking):
            raise StopUser


class Steady(Buyer):
    """Holds and pays, again and again."""

    abstract = True

    @task
    def buy(self) -> None:
        """One booking."""
        booking = self.hold()
        if booking is not None:
            self.pay(booking)
        else:
            self.count("booking: not paid")


class Browse(Buyer):
    """Looks, and hardly ever does anything."""

    abstract = True
    wait_time = constant_pacing(0.1)

    @task(19)
    def glance(self) -> None:
        """Look."""
        self.look()

    @task(1)
    def change_mind(self) -> None:
        """Hold, read, cancel."""
        booking = self.hold()
        if booking is not None:
            path = f"/v1/bookings/{booking['id']}"
            self.ask("read", "GET", path)
            self.ask("cancel", "POST", f"{path}/cancel")


class Hoarders(Buyer):
    """Holds, and never pays."""

    abstract = True
    wait_time = constant_pacing(0.5)

    @task
    def take(self) -> None:
        """Hold."""
        self.hold()


class RetryStorm(Buyer):
    """Sends everything several times at once, under the same key."""

    abstract = True

    @task
    def storm(self) -> None:
        """One booking, asked for several times, paid for several times."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        line = {"item_id": random.choice(PLAN.items), "quantity": 1}
        body = {"sale_id": PLAN.sale_id, "lines": [line]}
        asked = [
            gevent.spawn(self.ask, "hold", "POST", "/v1/bookings", body, headers)
            for _ in range(TWINS)
        ]
        answers = [one.value for one in gevent.joinall(asked) if one.value]
        held = {told["id"] for status, told in answers if status == 201}
        if len(held) > 1:
            self.count("one key, two bookings")
        for booking_id in held:
            paid = [gevent.spawn(self.pay, {"id": booking_id}) for _ in range(TWINS)]
            gevent.joinall(paid)


USERS: Final[dict[str, type[Buyer]]] = {
    "rush": Rush,
    "steady": Steady,
    "browse": Browse,
    "hoarders": Hoarders,
    "retry_storm": RetryStorm,
}
