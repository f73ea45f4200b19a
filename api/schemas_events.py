"""What requests about webhook endpoints and deliveries may say."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints

from api.problems import Fault
from api.schemas import Body, PageQuery
from engine import limits
from engine.addresses import is_public
from engine.events import EventType
from persistence.endpoints import wanted

Url = Annotated[
    str,
    StringConstraints(
        min_length=8,
        max_length=limits.MAX_WEBHOOK_URL_CHARS,
        pattern=r"^https?://[^\s\x00-\x1f\x7f\\]+$",
    ),
]
Filter = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z_.*]{1,64}$"),
    Field(description="A type of event; `*` is any text: `payment.*`."),
]
Filters = Annotated[list[Filter], Field(min_length=1, max_length=limits.MAX_WEBHOOK_FILTERS)]
DeliveryState = Literal["waiting", "delivered", "parked"]


def url_faults(url: str | None) -> list[Fault]:
    """What is wrong with a URL that has the right shape."""
    if url is None:
        return []
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return [Fault("url", "not a URL")]
    if not host:
        return [Fault("url", "lacks a host")]
    if parts.username is not None or parts.password is not None:
        return [Fault("url", "must not carry a user or password: deliveries are signed")]
    if parts.fragment:
        return [Fault("url", "must not have a fragment")]
    return []


def is_private_address(url: str) -> bool:
    """Whether a URL spells an address that is not public; names are looked at when used."""
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return not is_public(host)


def filter_faults(events: list[str] | None) -> list[Fault]:
    """Filters that let no event through."""
    return [
        Fault(f"events.{index}", "no event is called so")
        for index, pattern in enumerate(events or ())
        if not any(wanted([pattern], kind) for kind in EventType)
    ]


class EndpointMade(Body):
    """Where events are to be sent, and which."""

    url: Url
    events: Filters

    def faults(self) -> list[Fault]:
        """A URL that cannot be sent to, a filter that fits no event."""
        return url_faults(self.url) + filter_faults(self.events)


class EndpointChanged(Body):
    """What is to be different; what is left out stays."""

    url: Url | None = None
    events: Filters | None = None
    enabled: Annotated[
        bool | None,
        Field(description="Events of the time while it was false are not sent afterwards."),
    ] = None
    rotate_secret: Annotated[
        bool,
        Field(description="Make a new secret; the one before signs too for another day."),
    ] = False

    def faults(self) -> list[Fault]:
        """A URL that cannot be sent to, a filter that fits no event."""
        return url_faults(self.url) + filter_faults(self.events)


Destination = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9_]{1,64}$"),
    Field(description="`stream`, `email`, `sms` or a webhook endpoint's id."),
]


class ParkedAsked(Body):
    """Whose parked deliveries."""

    destination: Destination


class LogQuery(PageQuery):
    """Which deliveries."""

    state: DeliveryState | None = None


class DeliveriesQuery(LogQuery):
    """Which deliveries, to wherever."""

    destination: Destination | None = None
