"""The shapes of what the server answers with, for the type checker and for OpenAPI.

They are typed dictionaries, so that the functions that fill them (`api.answers`) are checked
against the very definitions that `/openapi.json` is made from, and nothing is copied to fill them.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from engine import limits
from engine.payments.types import Step
from engine.shown import BookingShown, Minor, Moment

Units = Annotated[int, Field(ge=0, le=limits.MAX_INTEGER)]


class WebhookTaken(TypedDict):
    """Whether a webhook's event was new and about a payment of ours."""

    taken: bool


class BookingPage(TypedDict):
    """Bookings, newest first."""

    bookings: list[BookingShown]
    next_cursor: str | None


class ItemShown(TypedDict):
    """Something countable in a sale."""

    id: str
    name: str
    capacity: Units
    unit_price: Minor
    max_per_booking: int | None


class SaleShown(TypedDict):
    """A sale with its items."""

    id: str
    name: str
    opens_at: Moment | None
    closes_at: Moment | None
    hold_seconds: int
    max_units_per_customer: int | None
    currency: str
    items: list[ItemShown]
    version: int
    created_at: Moment
    updated_at: Moment


class SalePage(TypedDict):
    """Sales in order of their ids."""

    sales: list[SaleShown]
    next_cursor: str | None


class LevelsShown(TypedDict):
    """An item's counts: `available + held + sold = capacity`, always."""

    item_id: str
    capacity: Units
    available: Units
    held: Units
    sold: Units


class AvailabilityShown(TypedDict):
    """A sale's levels as of one instant; units of holds that are due count as available."""

    sale_id: str
    as_of: Moment
    items: list[LevelsShown]


class Deltas(TypedDict):
    """Signed changes of an item's counts."""

    available: int
    held: int
    sold: int


class StockChangeShown(TypedDict):
    """One change of an item's stock, and what it led to."""

    at: Moment
    type: str
    booking_id: str | None
    deltas: Deltas
    levels: LevelsShown
    sequence: int


class StockHistoryPage(TypedDict):
    """Changes of an item's stock, newest first."""

    sale_id: str
    item_id: str
    changes: list[StockChangeShown]
    next_cursor: str | None


class StuckPayment(TypedDict):
    """A payment that does not move: what is asked of the gateway, and for how long."""

    step: Step
    open_s: float
    booking: BookingShown


class StuckPage(TypedDict):
    """Payments that do not move."""

    payments: list[StuckPayment]
    next_cursor: str | None


class PartitionBacklogRead(TypedDict):
    """How much of a partition's journal PostgreSQL lacks, and how long it will."""

    partition: int
    entries: int
    bytes: int
    oldest_age_s: float
    cursor: int
    tip: int
    quarantined: int
    drain_per_s: float
    eta_s: float | None
    fenced: str | None
    shedding: str | None
    frozen: str | None


class BacklogRead(TypedDict):
    """What `holdfast backlog status --json` prints. `lag_s` is the age of the oldest entry."""

    partitions: list[PartitionBacklogRead]
    total_entries: int
    lag_s: float


class Health(TypedDict):
    """The process lives."""

    status: Literal["ok"]


class PartRead(TypedDict):
    """A server that this one needs."""

    status: Literal["ok", "away"]
    detail: str | None


class FencedPart(TypedDict):
    """A partition that waits for its operator."""

    partition: int
    reason: str


class SheddingPart(TypedDict):
    """A partition that takes no new holds now: `entries`, `bytes`, `age`, `disk`, `memory`, …."""

    partition: int
    reason: str


class FrozenSale(TypedDict):
    """A sale that takes nothing, because it alone is being rebuilt."""

    partition: int
    sale_id: str


class Backlog(TypedDict):
    """Changes that PostgreSQL lacks."""

    entries: int
    bytes: int
    oldest_age_s: float
    full_partitions: list[int]


class Readiness(TypedDict):
    """Whether bookings can be taken, and what is amiss.

    `degraded` takes bookings, or only ends those that there are; `not_ready` does neither.
    """

    status: Literal["ready", "degraded", "not_ready"]
    redis: PartRead
    postgres: PartRead
    identity: PartRead
    partitions: int
    fenced: list[FencedPart]
    frozen: list[FrozenSale]
    shedding: list[SheddingPart]
    backlog: Backlog | None


class FaultShown(TypedDict):
    """One thing wrong with a request."""

    path: str
    message: str


class ProblemShown(TypedDict):
    """RFC 9457 problem details. Programs look at `code`; people read `detail`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: NotRequired[list[FaultShown]]
