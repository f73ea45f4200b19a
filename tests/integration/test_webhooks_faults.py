"""Webhooks to subscribers that hang, lead elsewhere or are away; workers that die."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from aiohttp import web

from engine.errors import Unavailable
from persistence.deliveries import Delivery
from tests.helpers.ledger import Ledger, booking_entry, booking_id
from tests.helpers.relay import Relay, open_relay
from tests.helpers.subscriber import Subscriber, fine, hang, late, status, subscriber
from workers import webhooks
from workers.deliverer import Patience
from workers.sending import Sender, Told

HELD = {"deltas": "seat:-2:2:0", "levels": "seat:98:2:0"}


async def test_one_that_hangs_or_is_away_delays_nobody_else(
    relay: Relay, partner: Subscriber
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with subscriber() as hanging, subscriber() as refusing:
            away = Subscriber(url=f"http://127.0.0.1:{taken.getsockname()[1]}/")
            hanging.answer, refusing.answer = hang, status(500)
            for one in (hanging, away, refusing, partner):
                await relay.subscribe(one, "booking.*")
            async with relay.running():
                ids = [await relay.cancelled() for _ in range(20)]
                await partner.until(lambda: len(partner.taken) == 60)
            assert partner.by_subject() == {name: [1, 2, 3] for name in ids}
            assert hanging.seen, "it was sent something"
            assert refusing.seen
            assert hanging.taken == refusing.taken == []


async def test_a_subscriber_that_was_away_has_every_event_after_its_return(relay: Relay) -> None:
    async with subscriber() as gone:
        await relay.subscribe(gone, "booking.*")
    port = int(gone.url.rpartition(":")[2].partition("/")[0])
    async with relay.running():
        ids = [await relay.cancelled() for _ in range(20)]
        for _ in range(100):
            await asyncio.sleep(0.05)
            if any(attempts for _, _, attempts, _ in await relay.states()):
                break
        async with subscriber(port) as back:
            back.secrets = gone.secrets
            await back.until(lambda: len(back.taken) >= 60)
    assert back.by_subject() == {name: [1, 2, 3] for name in ids}


async def test_one_that_answers_too_late_has_it_and_gets_it_again_and_delays_nobody_else(
    ledger: Ledger, partner: Subscriber
) -> None:
    async with subscriber() as slow, open_relay(ledger, timeout_ms=100) as relay:
        slow.answer = late(0.3)
        for one in (slow, partner):
            await relay.subscribe(one, "booking.*")
        booking = await relay.cancelled()
        await relay.deal()
        await relay.settle()
        assert partner.by_subject() == {booking: [1, 2, 3]}
        assert len(slow.seen) == 1
        page = await relay.endpoints.deliveries(None, "waiting", 10, None)
        assert [one.attempts for one in page.deliveries] == [0, 0, 1]
        assert "Timeout" in str(page.deliveries[-1].detail)
        await slow.until(lambda: len(slow.taken) == 1)
        slow.answer = fine
        await relay.hurry()
        await relay.settle()
        assert [event["sequence"] for event in slow.taken] == [1, 1, 2, 3]
        assert slow.taken[0] == slow.taken[1]


async def test_an_event_that_is_never_taken_is_parked_and_those_behind_it_go_on(
    ledger: Ledger, partner: Subscriber
) -> None:
    async with open_relay(ledger, patience=Patience(give_up_s=0.0, disable_s=3600.0)) as relay:
        endpoint = await relay.subscribe(partner, "booking.*")

        async def refuse_holds(request: web.Request) -> web.Response:
            refused = b"booking.held" in await request.read()
            return web.Response(status=422 if refused else 200)

        partner.answer = refuse_holds
        booking = await relay.cancelled()
        await relay.deal()
        await relay.settle()
        assert partner.by_subject() == {booking: [2, 3]}, "the gap shows in `sequence`"
        page = await relay.endpoints.deliveries(endpoint.endpoint_id, "parked", 10, None)
        assert [(one.type, one.status) for one in page.deliveries] == [("booking.held", 422)]
        partner.answer = fine
        assert await relay.endpoints.deliver_again(page.deliveries[0].delivery_id)
        await relay.settle()
        assert partner.taken[-1]["id"] == page.deliveries[0].event_id


async def test_an_event_that_cannot_be_said_is_parked_at_once_and_the_rest_flows(
    relay: Relay, partner: Subscriber
) -> None:
    await relay.subscribe(partner, "booking.*")
    for number in (1, 2, 3):
        await relay.ledger.append(0, booking_entry("held", number, 1, **HELD))
    await relay.deal()
    await relay.ledger.pool.execute(
        "UPDATE journal SET entry = 'poison' WHERE booking_id = $1", booking_id(2)
    )
    await relay.settle()
    assert set(partner.by_subject()) == {booking_id(1), booking_id(3)}
    states = sorted(str(row[1]) for row in await relay.states())
    assert states == ["delivered", "delivered", "parked"]


async def test_a_worker_that_dies_between_sending_and_noting_sends_the_same_again(
    ledger: Ledger, partner: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dying:
        def __init__(self, sender: Sender) -> None:
            self._sender = sender

        async def send(self, delivery: Delivery) -> Told:
            await self._sender.send(delivery)
            raise asyncio.CancelledError

    async with open_relay(ledger, wrap=Dying) as dying:
        await dying.subscribe(partner, "booking.held")
        await dying.ledger.hold()
        await dying.deal()
        await dying.settle()
        assert len(partner.taken) == 1
        assert [row[1] for row in await dying.states()] == ["waiting"]
    async with open_relay(ledger) as relay:
        await relay.settle()
        assert len(partner.taken) == 1, "the lease of the dead keeps it"
        await ledger.pool.execute("UPDATE deliveries SET leased_until = now()")
        await relay.settle()
    assert len(partner.taken) == 2
    assert partner.taken[0] == partner.taken[1]


async def test_workers_beside_each_other_keep_the_order(
    ledger: Ledger, partner: Subscriber
) -> None:
    async with open_relay(ledger) as one, open_relay(ledger) as two, open_relay(ledger) as three:
        await one.subscribe(partner, "booking.*")
        async with one.running(), two.running(), three.running():
            ids = [await one.cancelled() for _ in range(30)]
            await partner.until(lambda: len(partner.taken) >= 90)
    assert partner.by_subject() == {name: [1, 2, 3] for name in ids}


async def test_no_request_is_forged_to_an_address_of_ours(
    ledger: Ledger, partner: Subscriber
) -> None:
    hosts = ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433")
    async with open_relay(ledger, allow_private=False) as relay:
        for host in hosts:
            await relay.subscribe(
                Subscriber(url=partner.url.replace("127.0.0.1", host)), "booking.held"
            )
        await relay.ledger.hold()
        await relay.deal()
        await relay.settle()
    assert partner.seen == []
    rows = await ledger.rows("SELECT state, attempts, status, detail FROM deliveries")
    assert [row[:3] for row in rows] == [("waiting", 1, None)] * len(hosts)
    for row in rows:
        # Spellings of an address that are none are refused before a name is looked up.
        assert "not a public address" in str(row[3]) or "not a canonical" in str(row[3])


@pytest.mark.parametrize(
    "leads_to",
    [
        ["127.0.0.1"],
        ["::ffff:127.0.0.1"],
        ["fe80::1%lo"],
        ["64:ff9b::7f00:1", "::1", "127.0.0.1"],
        ["127.0.0.2", "127.0.0.1"],
    ],
)
async def test_a_name_that_leads_to_an_address_of_ours_is_not_followed(
    ledger: Ledger, partner: Subscriber, monkeypatch: pytest.MonkeyPatch, leads_to: list[str]
) -> None:
    looked_up = answer_names(monkeypatch, [leads_to])
    async with open_relay(ledger, allow_private=False) as relay:
        await relay.subscribe(
            Subscriber(url=partner.url.replace("127.0.0.1", "partner.example")), "booking.held"
        )
        await relay.ledger.hold()
        await relay.deal()
        await relay.settle()
        assert looked_up == ["partner.example"]
        (delivery,) = (await relay.endpoints.deliveries(None, None, 10, None)).deliveries
        assert "not a public address" in str(delivery.detail)
    assert partner.seen == []


async def test_a_name_that_leads_elsewhere_the_next_time_is_not_followed_there(
    ledger: Ledger, partner: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = answer_names(monkeypatch, [["127.0.0.2"], ["127.0.0.1"]])
    # Nobody listens there; it stands for an address that is public.
    monkeypatch.setattr(webhooks, "is_public", lambda address: address == "127.0.0.2")
    named = Subscriber(url=partner.url.replace("127.0.0.1", "partner.example"))
    for refused in ("Connect call failed", "127.0.0.1 is not a public address"):
        # A relay of its own each time: a session remembers names for some seconds.
        async with open_relay(ledger, allow_private=False) as relay:
            if not looked_up:
                await relay.subscribe(named, "booking.held")
                await relay.ledger.hold()
            await relay.deal()
            await relay.settle()
            (delivery,) = (await relay.endpoints.deliveries(None, None, 10, None)).deliveries
            assert refused in str(delivery.detail)
            await relay.hurry()
    assert looked_up == ["partner.example"] * 2
    assert partner.seen == []


def answer_names(monkeypatch: pytest.MonkeyPatch, answers: list[list[str]]) -> list[str]:
    """Be the name server of partner.example; answers the names that were looked up."""
    real, looked_up = socket.getaddrinfo, []

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "partner.example":
            return real(host, port, *args, **kwargs)
        looked_up.append(host)
        found = answers[min(len(looked_up), len(answers)) - 1]
        return [info for address in found for info in real(address, port, type=1)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return looked_up


async def test_a_redirect_is_not_followed(relay: Relay, partner: Subscriber) -> None:
    async with subscriber() as secret:
        partner.answer = status(307, Location=secret.url)
        await relay.subscribe(partner, "booking.held")
        await relay.ledger.hold()
        await relay.deal()
        await relay.settle()
        assert len(partner.seen) == 1
        assert secret.seen == []
    assert await relay.states() == [("booking.held", "waiting", 1, 307)]


async def test_what_cannot_be_noted_is_noted_later(
    relay: Relay, partner: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    await relay.subscribe(partner, "booking.held")
    await relay.ledger.hold()
    await relay.deal()
    finish = relay.deliverer._deliveries.finish
    failed = 0

    async def away(*_args: object) -> None:
        nonlocal failed
        failed += 1
        raise Unavailable("away")

    monkeypatch.setattr(relay.deliverer._deliveries, "finish", away)
    with pytest.raises(Unavailable):
        await relay.settle()
    assert failed == 1
    monkeypatch.setattr(relay.deliverer._deliveries, "finish", finish)
    await relay.settle()
    assert len(partner.taken) == 1
    assert [row[1] for row in await relay.states()] == ["delivered"]
