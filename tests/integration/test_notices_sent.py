"""Notices to customers: a real mail server that refuses, and a stand-in for Twilio."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from engine.limits import BREAKER_FAILURES, MAX_REFUSED_ATTEMPTS
from engine.types import CancelReason, Contact
from persistence.deliveries import Deliveries
from tests.helpers.ledger import Ledger
from tests.helpers.purse import Purse
from tests.helpers.relay import Relay, open_relay
from tests.helpers.smtp_server import MailServer
from workers.mail import EMAIL, MailSender
from workers.notices import TYPES, Names, Templates
from workers.people import People
from workers.sms import SMS, SmsSender, provider_of
from workers.smtp import open_sessions, server_of

SENDER = "Shop <shop@shop.example>"
ANN = Contact("ann@example.com", "+4312345678")


def people_of(ledger: Ledger, templates: Path | None = None) -> People:
    names = Names(Deliveries(ledger.pool).sale_names)
    return People(ledger.engine.vault, names, Templates(templates))


@asynccontextmanager
async def mailing(ledger: Ledger, url: str, templates: Path | None = None) -> AsyncIterator[Relay]:
    people = people_of(ledger, templates)
    async with open_sessions(server_of(url)) as sessions:
        channels = {EMAIL: MailSender(sessions, SENDER, people)}
        async with open_relay(ledger, channels=channels, wants={EMAIL: TYPES}) as relay:
            yield relay


async def left(ledger: Ledger) -> list[tuple[object, ...]]:
    return await ledger.rows("SELECT state, attempts, status, detail, excerpt FROM deliveries")


async def test_a_customer_is_told_each_step_that_concerns_them(
    ledger: Ledger, mail: MailServer
) -> None:
    purse = Purse(ledger.engine)
    async with mailing(ledger, mail.url) as relay:
        declined = await purse.decline(await purse.begin(await ledger.hold(contact=ANN)))
        await purse.refund(await purse.pay(declined))
        await relay.deal()
        await relay.settle()
    assert [one["subject"] for one in mail.messages()] == [
        "Your payment for Concert did not go through",
        "Your booking for Concert is confirmed",
        "Your booking for Concert is cancelled",
        "Your payment for Concert was refunded",
    ]
    for one in mail.messages():
        assert one["to"] == ["ann@example.com"]
        assert one["list_id"] == "<bookings.shop.example>"
        assert "2 x Seat  100.00 USD" in one["text"]
        assert "2 × Seat" in one["html"]
    assert len({one["message_id"] for one in mail.messages()}) == 4
    assert {row[0] for row in await left(ledger)} == {"delivered"}


async def test_who_left_no_address_is_told_nothing_and_nothing_is_left_of_it(
    ledger: Ledger, mail: MailServer
) -> None:
    async with mailing(ledger, mail.url) as relay:
        for contact in (None, Contact(phone="+4312345678")):
            booking = await ledger.hold(contact=contact)
            await ledger.engine.bookings.cancel(booking.booking_id, CancelReason.CUSTOMER)
        forgotten = await ledger.hold(contact=ANN)
        await ledger.engine.bookings.cancel(forgotten.booking_id, CancelReason.CUSTOMER)
        await relay.deal()
        assert len(await left(ledger)) == 2, "without a contact there is no delivery at all"
        await ledger.pool.execute(
            "DELETE FROM contacts WHERE booking_id = $1", forgotten.booking_id
        )
        await relay.settle()
    assert mail.messages() == []
    assert await left(ledger) == []


async def test_a_server_that_refuses_half_of_the_time_gets_every_confirmation_through(
    ledger: Ledger, mail: MailServer
) -> None:
    purse = Purse(ledger.engine)
    mail.refuse(0.5, seed=7)
    async with mailing(ledger, mail.url) as relay:
        for number in range(30):
            await purse.pay(await ledger.hold(contact=Contact(f"buyer{number}@example.com")))
        await relay.deal()
        for _ in range(200):
            await relay.settle()
            if all(row[0] == "delivered" for row in await left(ledger)):
                break
            # Not to wait for the pauses between tries.
            await relay.hurry()
            relay.deliverer._lanes.clear()
    assert {row[0] for row in await left(ledger)} == {"delivered"}
    refused = Counter(one["refused"] for one in mail.noted() if "refused" in one)
    assert refused["RCPT"] > 5, "the server refused"
    assert refused["answer"] > 5, "and lost answers"
    messages = mail.messages()
    ids = {one["message_id"] for one in messages}
    assert len(messages) > len(ids), "what lost its answer came twice"
    first = {one["message_id"]: one["to"][0] for one in messages}
    assert sorted(first.values()) == sorted(f"buyer{n}@example.com" for n in range(30))


async def test_recipients_that_are_to_wait_delay_no_others(
    ledger: Ledger, mail: MailServer
) -> None:
    purse = Purse(ledger.engine)
    mail.refuse(1.0, seed=1)
    async with mailing(ledger, mail.url) as relay:
        for number in range(BREAKER_FAILURES * 2):
            await purse.pay(await ledger.hold(contact=Contact(f"buyer{number}@example.com")))
        await relay.deal()
        await relay.settle()
        assert {row[:3] for row in await left(ledger)} == {("waiting", 1, 451)}
        mail.fine()
        await relay.hurry()
        await relay.settle()
    assert len(mail.messages()) == BREAKER_FAILURES * 2
    assert {row[:3] for row in await left(ledger)} == {("delivered", 2, 250)}


async def test_a_mail_server_that_is_away_is_waited_for_and_delays_no_webhook(
    ledger: Ledger, mail: MailServer
) -> None:
    purse = Purse(ledger.engine)
    async with mailing(ledger, "smtp://127.0.0.1:1") as relay:
        await purse.pay(await ledger.hold(contact=ANN))
        await relay.deal()
        await relay.settle()
        assert [row[0] for row in await left(ledger)] == ["waiting"]
    async with mailing(ledger, mail.url) as relay:
        await relay.hurry()
        await relay.settle()
    assert len(mail.messages()) == 1


async def test_a_template_that_fails_parks_its_notice_and_the_rest_flows(
    ledger: Ledger, mail: MailServer, tmp_path: Path
) -> None:
    (tmp_path / "cancelled.txt").write_text("Oh\n{{ nothing_of_the_kind }}\n")
    async with mailing(ledger, mail.url, tmp_path) as relay:
        await Purse(ledger.engine).refund(
            await Purse(ledger.engine).pay(await ledger.hold(contact=ANN))
        )
        await relay.deal()
        await relay.settle()
    assert [one["subject"] for one in mail.messages()] == [
        "Your booking for Concert is confirmed",
        "Your payment for Concert was refunded",
    ]
    parked = [row for row in await left(ledger) if row[0] == "parked"]
    assert len(parked) == 1
    assert "cancelled.txt: UndefinedError" in str(parked[0][3])


class Twilio:
    """Answers as it is told, and keeps what it was sent."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, object]]] = [(201, {"sid": "SM1"})]
        self.sent: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.sent.append((request.headers["Authorization"], form))
        assert request.path == "/2010-04-01/Accounts/AC1/Messages.json"
        status, fields = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.json_response(fields, status=status)


@asynccontextmanager
async def twilio() -> AsyncIterator[Twilio]:
    one = Twilio()
    app = web.Application()
    app.router.add_post("/{rest:.*}", one.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        one.url = f"twilio+http://AC1:s%3Acret@127.0.0.1:{port}?from=%2B15550001111"
        yield one
    finally:
        await runner.cleanup()


@asynccontextmanager
async def texting(ledger: Ledger, url: str) -> AsyncIterator[Relay]:
    async with aiohttp.ClientSession() as session:
        sender = SmsSender(session, provider_of(url), people_of(ledger))
        async with open_relay(ledger, channels={SMS: sender}, wants={SMS: TYPES}) as relay:
            yield relay


async def test_a_text_message_is_sent_as_twilio_takes_it(ledger: Ledger) -> None:
    async with twilio() as provider, texting(ledger, provider.url) as relay:
        provider.answers = [(429, {"code": 20429}), (500, {}), (201, {"sid": "SM1"})]
        booking = await ledger.hold(contact=ANN)
        await Purse(ledger.engine).pay(booking)
        await relay.deal()
        for _ in range(3):
            await relay.settle()
            await relay.hurry()
    assert len(provider.sent) == 3
    authorization, form = provider.sent[-1]
    assert authorization == "Basic " + base64.b64encode(b"AC1:s:cret").decode()
    assert form == {
        "To": ANN.phone,
        "From": "+15550001111",
        "Body": f"Concert: your booking {booking.booking_id} is confirmed. Total 100.00 USD.",
    }
    assert await left(ledger) == [("delivered", 3, 201, None, "SM1")]


async def test_a_number_that_is_refused_is_parked_after_some_tries_and_not_written_down(
    ledger: Ledger,
) -> None:
    async with twilio() as provider, texting(ledger, provider.url) as relay:
        provider.answers = [(400, {"code": 21211, "message": f"{ANN.phone} is not a number"})]
        await Purse(ledger.engine).pay(await ledger.hold(contact=ANN))
        await relay.deal()
        for _ in range(MAX_REFUSED_ATTEMPTS + 3):
            await relay.settle()
            await relay.hurry()
    assert len(provider.sent) == MAX_REFUSED_ATTEMPTS
    assert await left(ledger) == [
        ("parked", MAX_REFUSED_ATTEMPTS, 400, "answered 400, code 21211", None)
    ]


@pytest.mark.parametrize("url", ["twilio://AC1@host?from=1", "twilio://a:b@host", "pigeon://x"])
async def test_a_url_that_names_no_provider_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        provider_of(url)
