"""Webhooks to subscribers that take them, refuse them for a while, or want nothing any more."""

from __future__ import annotations

import pytest

from tests.helpers.relay import Relay
from tests.helpers.subscriber import Subscriber, fine, status, subscriber


async def test_events_arrive_signed_in_order_and_only_those_that_are_wanted(
    relay: Relay, partner: Subscriber
) -> None:
    async with subscriber() as other:
        await relay.subscribe(partner, "booking.*")
        await relay.subscribe(other, "sale.changed", "booking.cancelled")
        ids = [await relay.cancelled() for _ in range(5)]
        await relay.deal()
        await relay.settle()
        assert partner.by_subject() == {name: [1, 2, 3] for name in ids}
        assert {event["type"] for event in other.taken} == {"sale.changed", "booking.cancelled"}
        assert len(other.taken) == 6
    assert partner.taken[0]["data"]["status"] == "PENDING"
    assert {row[1:] for row in await relay.states()} == {("delivered", 1, 200)}


async def test_a_subscriber_that_refuses_is_tried_again_and_gets_everything_in_order(
    relay: Relay, partner: Subscriber
) -> None:
    endpoint = await relay.subscribe(partner, "booking.*")
    partner.answer = status(500)
    booking = await relay.cancelled()
    await relay.deal()
    await relay.settle()
    assert await relay.states() == [
        ("booking.held", "waiting", 1, 500),
        ("booking.extended", "waiting", 0, None),
        ("booking.cancelled", "waiting", 0, None),
    ], "those behind wait for it"
    failing = await relay.endpoints.get(endpoint.endpoint_id)
    assert failing
    assert failing.failing_since_ms
    await relay.hurry()
    partner.answer = fine
    await relay.settle()
    assert partner.by_subject() == {booking: [1, 2, 3]}
    assert partner.seen[0] == partner.seen[1], "the same id again"
    healed = await relay.endpoints.get(endpoint.endpoint_id)
    assert healed
    assert healed.failing_since_ms is None


async def test_what_waits_is_tried_at_once_when_something_has_arrived(
    relay: Relay, partner: Subscriber
) -> None:
    await relay.subscribe(partner, "booking.*")
    partner.answer = status(503)
    for _ in range(3):
        await relay.cancelled()
    await relay.deal()
    await relay.settle()
    await relay.ledger.pool.execute("UPDATE deliveries SET next_at = now() + interval '1 hour'")
    partner.answer = fine
    await relay.ledger.hold()
    await relay.deal()
    await relay.settle()
    assert sorted(map(len, partner.by_subject().values())) == [1, 3, 3, 3]


async def test_an_endpoint_that_is_gone_is_sent_nothing_more(
    relay: Relay, partner: Subscriber
) -> None:
    endpoint = await relay.subscribe(partner, "booking.*")
    partner.answer = status(410)
    await relay.cancelled()
    await relay.deal()
    await relay.settle()
    found = await relay.endpoints.get(endpoint.endpoint_id)
    assert found
    assert (found.enabled, found.disabled_reason) == (False, "gone")
    await relay.cancelled()
    await relay.deal()
    assert len(partner.seen) == 1
    assert [row[1] for row in await relay.states()] == ["parked"] * 3


async def test_what_was_parked_is_sent_in_order_when_an_operator_says_so(
    relay: Relay, partner: Subscriber
) -> None:
    endpoint = await relay.subscribe(partner, "booking.*")
    partner.answer = status(410)
    ids = [await relay.cancelled() for _ in range(2)]
    await relay.deal()
    await relay.settle()
    partner.answer = fine
    await relay.endpoints.change(endpoint.endpoint_id, enabled=True)
    relay.deliverer._read_s = float("-inf")
    retried = [await relay.endpoints.retry_parked(endpoint.endpoint_id) for _ in range(2)]
    assert retried == [6, 0]
    await relay.settle()
    assert partner.by_subject() == {name: [1, 2, 3] for name in ids}
    assert {row[1:] for row in await relay.states()} == {("delivered", 1, 200)}


async def test_what_waits_for_an_endpoint_that_is_sent_nothing_is_parked(
    relay: Relay, partner: Subscriber
) -> None:
    endpoints = [await relay.subscribe(partner, "booking.held") for _ in range(3)]
    await relay.ledger.hold()
    await relay.deal()
    # As if it had been dealt out while they were disabled and deleted.
    await relay.ledger.pool.execute(
        "DELETE FROM webhook_endpoints WHERE endpoint_id = $1", endpoints[0].endpoint_id
    )
    await relay.endpoints.change(endpoints[1].endpoint_id, enabled=False)
    deliveries = relay.deliverer._deliveries
    parked = [await deliveries.park_strays(await deliveries.waiting()) for _ in range(2)]
    assert parked == [2, 0]
    states = await relay.ledger.rows("SELECT destination, state FROM deliveries")
    assert dict(states) == dict(
        zip(
            (endpoint.endpoint_id for endpoint in endpoints),
            ("parked", "parked", "waiting"),
            strict=True,
        )
    )


async def test_an_endpoint_that_fails_for_days_is_disabled(
    relay: Relay, partner: Subscriber
) -> None:
    endpoint = await relay.subscribe(partner, "booking.*")
    partner.answer = status(500)
    await relay.ledger.pool.execute(
        "UPDATE webhook_endpoints SET failing_since = now() - interval '2 hours'"
    )
    await relay.ledger.hold()
    await relay.deal()
    await relay.settle()
    found = await relay.endpoints.get(endpoint.endpoint_id)
    assert found
    assert (found.enabled, found.disabled_reason) == (False, "failing")
    enabled = await relay.endpoints.change(endpoint.endpoint_id, enabled=True)
    assert enabled
    assert (enabled[0].enabled, enabled[0].failing_since_ms) == (True, None)


async def test_after_a_rotation_both_secrets_verify(relay: Relay, partner: Subscriber) -> None:
    endpoint = await relay.subscribe(partner, "booking.held")
    changed = await relay.endpoints.change(endpoint.endpoint_id, rotate_secret=True)
    assert changed
    assert changed[1]
    partner.secrets.append(changed[1])
    await relay.ledger.hold()
    await relay.deal()
    await relay.settle()
    assert len(partner.taken) == 1
    await relay.ledger.pool.execute("UPDATE webhook_endpoints SET old_secret_until = now()")
    partner.secrets = [changed[1]]
    relay.deliverer._read_s = float("-inf")
    await relay.ledger.hold()
    await relay.deal()
    await relay.settle()
    assert len(partner.taken) == 2


async def test_what_ended_long_ago_is_forgotten(
    relay: Relay, partner: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    await relay.subscribe(partner, "booking.*")
    await relay.cancelled()
    await relay.deal()
    await relay.settle()
    deliveries = relay.deliverer._deliveries
    assert await deliveries.prune() == 0
    await relay.ledger.pool.execute(
        "UPDATE deliveries SET ended_at = now() - interval '8 days',"
        " state = CASE WHEN type = 'booking.held' THEN 'parked' ELSE state END"
    )
    assert await deliveries.prune() == 2
    assert [row[1] for row in await relay.states()] == ["parked"]
