"""The relay's pure parts: addresses, lanes, signatures, filters."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from engine.addresses import is_public
from engine.events import EventType
from engine.limits import BREAKER_FAILURES, DELIVERY_MAX_BACK_OFF_MS, MAX_DELIVERIES_PER_PLACE
from persistence.endpoints import like, wanted
from workers.lanes import Lane, back_off_s
from workers.webhooks import signature

PRIVATE = """
    127.0.0.1 10.1.2.3 172.16.0.1 192.168.0.1 169.254.169.254 100.64.0.1
    0.0.0.0 224.0.0.1 255.255.255.255 240.0.0.1 192.0.0.1 198.18.0.1
    203.0.113.7 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1
    ::ffff:8.8.8.8 64:ff9b::7f00:1 64:ff9b:1::a00:1 2002:7f00:1:: 2001:0:7f00:1:: fe80::1
    fe80::1%eth0 fec0::1 fc00::1 fd12::1 ff02::1 2001:db8::1
    100::1 localhost 127.1 0x7f.0.0.1 2130706433
"""


@pytest.mark.parametrize("address", PRIVATE.split())
def test_an_address_that_is_not_public_is_known(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111"])
def test_a_public_address_is_known(address: str) -> None:
    assert is_public(address)


def test_waits_double_up_to_a_bound() -> None:
    for attempts, most_s in (
        (1, 1.0),
        (2, 2.0),
        (5, 16.0),
        (10_000, DELIVERY_MAX_BACK_OFF_MS / 1000),
    ):
        waits = [back_off_s(attempts) for _ in range(50)]
        assert most_s / 2 <= min(waits) <= max(waits) <= most_s
        assert len(set(waits)) > 1, "jitter spreads them"


def test_a_lane_takes_so_many_at_once() -> None:
    lane = Lane()
    for _ in range(MAX_DELIVERIES_PER_PLACE):
        assert lane.room(0) > 0
        lane.begun()
    assert lane.room(0) == 0
    lane.ended()
    assert lane.room(0) == 1


def test_a_lane_that_fails_is_left_alone_then_tried_with_one_and_opened_by_one() -> None:
    lane = Lane()
    assert lane.failed(100.0)
    for _ in range(BREAKER_FAILURES - 2):
        assert not lane.failed(100.0)
    assert lane.room(100.0) == MAX_DELIVERIES_PER_PLACE
    lane.failed(100.0)
    assert lane.room(100.0) == 0
    assert lane.room(101.0) == 1
    lane.begun()
    assert lane.room(101.0) == 0
    lane.ended()
    lane.failed(101.0)
    assert lane.room(101.9) == 0, "the pause has grown"
    assert lane.arrived()
    assert not lane.arrived()
    assert lane.room(101.0) == MAX_DELIVERIES_PER_PLACE


def test_what_fails_together_makes_one_pause() -> None:
    lane = Lane()
    for _ in range(BREAKER_FAILURES * 10):
        lane.failed(100.0)
    assert lane.room(101.0) == 1, "the first pause is the shortest, however many were on their way"


def test_a_signature_is_the_one_of_the_library() -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 24).decode()
    body = b'{"id":"000-1-2"}'
    now = datetime.now(UTC)
    expected = Webhook(secret).sign("000-1-2", now, body.decode())
    assert signature(secret, "000-1-2", int(now.timestamp()), body) == expected


@pytest.mark.parametrize(
    ("patterns", "let_through"),
    [
        (["*"], set(EventType)),
        (["booking.*"], {kind for kind in EventType if kind.startswith("booking.")}),
        (["payment.refund*"], {EventType.PAYMENT_REFUND_BEGUN, EventType.PAYMENT_REFUNDED}),
        (["sale.changed", "booking.held"], {EventType.SALE_CHANGED, EventType.BOOKING_HELD}),
        (["payment.capture_failed"], {EventType.PAYMENT_CAPTURE_FAILED}),
        (["booking"], set()),
    ],
)
def test_filters_let_through_what_they_say(patterns: list[str], let_through: set[str]) -> None:
    assert {kind for kind in EventType if wanted(patterns, kind)} == let_through


def test_a_filter_is_spelled_for_sql_without_its_wildcards() -> None:
    assert like("payment.*") == "payment.%"
    assert like("payment.capture_failed") == r"payment.capture\_failed"
