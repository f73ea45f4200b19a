"""What sends a delivery to its place, and what it has to tell afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from engine.events import CloudEvent, cloud_event
from engine.journal import Entry, UnknownEntry
from persistence.deliveries import Delivery
from persistence.outbox import Outgoing


class Verdict(StrEnum):
    """What a place made of a delivery."""

    ARRIVED = "arrived"
    FAILED = "failed"
    """To be tried again."""
    DELAYED = "delayed"
    """To be tried again; that says nothing of the place, which has answered."""
    REFUSED = "refused"
    """This one, for good, and no other: tried a few times more, since servers err."""
    POISONED = "poisoned"
    """No other try would help."""
    GONE = "gone"
    """The place wants nothing any more."""
    NOBODY = "nobody"
    """There is nobody to send it to."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a sender has to tell of a delivery; `status` and `excerpt` are the place's answer."""

    verdict: Verdict
    status: int | None = None
    detail: str | None = None
    excerpt: str | None = None
    written_ms: int | None = None
    """When the entry was written."""


class Sender(Protocol):
    """Sends a delivery to its place."""

    async def send(self, delivery: Delivery) -> Told:
        """Send it; an exception is a failure like any other."""


class Poison(Exception):
    """An event cannot be said: no other try would help."""


def readable(event: Outgoing) -> Entry:
    """The entry that tells what an event says. Raises `Poison`."""
    try:
        return event.entry()
    except (ValueError, KeyError, TypeError, AttributeError, UnknownEntry) as fault:
        raise Poison(f"{type(fault).__name__}: {fault}") from fault


def said(event: Outgoing, source: str) -> tuple[CloudEvent, Entry]:
    """What an event says, and the entry that tells it. Raises `Poison`."""
    entry = readable(event)
    return cloud_event(event.event_id, event.type, event.subject_sequence, entry, source), entry
