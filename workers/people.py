"""What is common to the channels to people: whom a delivery is for, and what it says."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from cryptography.fernet import InvalidToken

from engine.crypto import Vault
from engine.types import Contact
from persistence.deliveries import Delivery
from workers.notices import Names, Notice, Templates, notice_of, values_of
from workers.sending import Poison, readable

_TIMELY: Final = (Notice.PAYMENT_FAILED, Notice.EXPIRING)
"""Notices that ask for something before the hold ends."""


@dataclass(frozen=True, slots=True)
class Addressed:
    """A notice, to whom, and the values of its templates."""

    notice: Notice
    contact: Contact
    values: dict[str, Any]
    written_ms: int


class People:
    """Reads deliveries to people."""

    def __init__(self, vault: Vault, names: Names, templates: Templates) -> None:
        self._vault = vault
        self._names = names
        self.templates = templates

    async def address(self, delivery: Delivery) -> Addressed | None:
        """Whom a delivery is for, and what of; None where there is nobody, or nothing to tell.

        Raises:
            Poison: the event or the contact cannot be read.
            Unavailable: PostgreSQL is away.
        """
        if delivery.contact is None:
            # Forgotten meanwhile.
            return None
        entry = readable(delivery.event)
        notice = notice_of(delivery.event.type, entry.booking) if entry.booking else None
        if notice is None or entry.booking is None:
            return None
        if notice in _TIMELY and entry.booking.hold_expires_ms <= time.time() * 1000:
            # It came too late to be of use: what became of the hold is told by another notice.
            return None
        try:
            contact = self._vault.decrypt(delivery.contact)
        except (InvalidToken, ValueError, KeyError) as fault:
            raise Poison(f"the contact: {type(fault).__name__}") from fault
        names = await self._names.of(entry.sale_id)
        return Addressed(notice, contact, values_of(entry.booking, names), entry.at_ms)
