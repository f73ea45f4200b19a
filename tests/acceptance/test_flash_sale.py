"""Many buyers at once: as many get something as there is, and each of them once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from tests.helpers import books
from tests.helpers.client import Client
from tests.helpers.load import levels_of, make_hold, put_sale, sale_body
from tests.helpers.servers import System

SEED = 2


@pytest.fixture(scope="module")
def system(shared_system: System) -> System:
    """One with other modules: nothing here breaks it."""
    return shared_system


async def test_five_hundred_identical_requests_make_one_booking_and_get_one_body(
    admin: Client, service: Client
) -> None:
    await put_sale(admin, "twins", sale_body({"A": 2000}))
    hold = make_hold(random.Random(SEED), "twins", {"A": 2})
    answers = await asyncio.gather(*(hold.send(service) for _ in range(500)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    assert sum(not answer.is_replay for answer in answers) == 1
    assert await levels_of(service, "twins") == {"A": (1998, 2, 0)}


async def test_four_hundred_buyers_for_fifty_units_get_exactly_fifty(
    system: System, admin: Client, service: Client
) -> None:
    await put_sale(admin, "rush", sale_body({"A": 50}))
    rng = random.Random(SEED)
    holds = [make_hold(rng, "rush", {"A": 1}) for _ in range(400)]
    answers = await asyncio.gather(*(hold.send(service) for hold in holds))
    told = Counter((answer.status, answer.code) for answer in answers)
    assert told == {(201, ""): 50, (409, "sold_out"): 350}
    assert len({answer.json["id"] for answer in answers if answer.status == 201}) == 50
    await books.drained(system)
    assert await books.check_levels(system, service, "rush", {"A": 50}) == {"A": (0, 50, 0)}


async def test_buyers_who_retry_and_cancel_at_once_leave_the_books_equal(
    system: System, admin: Client, service: Client
) -> None:
    await put_sale(admin, "churn", sale_body({"A": 20, "B": 20}))
    rng = random.Random(SEED)
    kept: list[int] = []

    async def buy(number: int) -> None:
        buyer = random.Random(f"{SEED}/{number}")
        hold = make_hold(rng, "churn", {"A": buyer.randint(1, 2), "B": buyer.randint(1, 2)})
        answers = await asyncio.gather(*(hold.send(service) for _ in range(3)))
        held = [answer for answer in answers if answer.status == 201]
        assert len({answer.body for answer in held}) <= 1
        assert {answer.code for answer in answers} <= {"", "sold_out"}
        if held and buyer.random() < 0.5:
            path = f"/v1/bookings/{held[0].json['id']}/cancel"
            body = {"customer_id": hold.body["customer_id"]}
            twice = await asyncio.gather(*(service.post(path, body) for _ in range(2)))
            assert [answer.json["status"] for answer in twice] == ["CANCELLED"] * 2
        elif held:
            kept.append(hold.body["lines"][0]["quantity"])

    await asyncio.gather(*(buy(number) for number in range(100)))
    await books.drained(system)
    levels = await books.check_levels(system, service, "churn", {"A": 20, "B": 20})
    assert levels["A"] == (20 - sum(kept), sum(kept), 0)
    await books.check_verify(system)


async def test_a_cart_of_three_of_which_one_is_short_takes_nothing(
    admin: Client, service: Client
) -> None:
    stock = {"A": 5, "B": 5, "C": 5}
    await put_sale(admin, "cart", sale_body(stock))
    rng = random.Random(SEED)
    for short in stock:
        wanted = {item: 6 if item == short else 5 for item in stock}
        answer = await make_hold(rng, "cart", wanted).send(service)
        assert (answer.status, answer.code) == (409, "sold_out")
        assert await levels_of(service, "cart") == dict.fromkeys(stock, (5, 0, 0))
    # Two lines of one item are asked for together, not each by itself.
    twice = make_hold(rng, "cart", {"A": 3})
    twice.body["lines"] *= 2
    assert (await twice.send(service)).code == "sold_out"
    assert (await make_hold(rng, "cart", stock).send(service)).status == 201
    assert await levels_of(service, "cart") == dict.fromkeys(stock, (0, 5, 0))
