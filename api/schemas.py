"""What requests may say: every field with a type and a bound, unknown ones refused.

The models are compiled once; the same models make `/openapi.json`, so that what is written there
and what is accepted cannot differ. Values are strict: `"2"` is not a number and `1` is not a text.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.card_numbers import may_hold_card_number, paths_of_card_numbers
from api.fields import Currency, Cursor, Email, Id, Name, PageRows, PaymentMethod, Phone, Time
from api.problems import Fault, card_number_refused, invalid
from api.times import epoch_ms
from engine import limits
from engine.types import Status


class Body(BaseModel):
    """The root of every request body."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    def faults(self) -> list[Fault]:
        """What is wrong between fields that are right by themselves."""
        return []


class Query(BaseModel):
    """The root of every query; its values arrive as text."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def faults(self) -> list[Fault]:
        """What is wrong between parameters that are right by themselves."""
        return []


class ItemPut(Body):
    """Something countable in a sale, as an administrator puts it."""

    id: Id
    name: Name
    capacity: Annotated[int, Field(ge=0, le=limits.MAX_CAPACITY)]
    unit_price: Annotated[
        int, Field(ge=0, le=limits.MAX_UNIT_PRICE, description="In the currency's minor unit.")
    ]
    max_per_booking: Annotated[int, Field(ge=1, le=limits.MAX_INTEGER)] | None = None


class SalePut(Body):
    """A sale with all its items; an item left out is removed."""

    name: Name
    opens_at: Time | None = None
    closes_at: Time | None = None
    hold_seconds: Annotated[int, Field(ge=limits.MIN_HOLD_SECONDS, le=limits.MAX_HOLD_SECONDS)] = (
        limits.DEFAULT_HOLD_SECONDS
    )
    max_units_per_customer: Annotated[int, Field(ge=1, le=limits.MAX_INTEGER)] | None = None
    currency: Currency = "USD"
    items: Annotated[
        list[ItemPut],
        Field(min_length=1, max_length=limits.MAX_ITEMS_PER_SALE),
    ]

    def faults(self) -> list[Fault]:
        """Two items of one id; closing before opening."""
        faults = []
        seen: set[str] = set()
        for index, item in enumerate(self.items):
            if item.id in seen:
                faults.append(Fault(f"items.{index}.id", "the same item came before"))
            seen.add(item.id)
        if self.opens_at and self.closes_at and epoch_ms(self.closes_at) <= epoch_ms(self.opens_at):
            faults.append(Fault("closes_at", "must be after opens_at"))
        return faults


class LineAsked(Body):
    """What a buyer asks for. Several lines may name one item; they are summed."""

    item_id: Id
    quantity: Annotated[int, Field(ge=1, le=limits.MAX_QUANTITY)]


class ContactAsked(Body):
    """Where notices go. Kept encrypted, and apart from the booking."""

    email: Email | None = None
    phone: Phone | None = None


class Hold(Body):
    """A booking to be held."""

    sale_id: Id
    lines: Annotated[list[LineAsked], Field(min_length=1, max_length=limits.MAX_LINES)]
    contact: ContactAsked | None = None
    customer_id: Annotated[
        Id | None, Field(description="For `bookings:any`: the customer to act for.")
    ] = None


class Act(Body):
    """The optional body of `extend` and `cancel`."""

    customer_id: Annotated[
        Id | None, Field(description="For `bookings:any` and `admin`: whose booking it must be.")
    ] = None


class Pay(Act):
    """The optional body of `pay`."""

    payment_method: Annotated[
        PaymentMethod | None,
        Field(description="A gateway's token, never a card number; left out where the total is 0."),
    ] = None


class Nothing(Body):
    """An optional body that says nothing: `{}`."""


class NoQuery(Query):
    """No parameter is taken."""


class CustomerQuery(Query):
    """Whose booking it must be."""

    customer_id: Annotated[
        Id | None, Field(description="For `bookings:any` and `admin`: whose booking it must be.")
    ] = None


class AvailabilityQuery(Query):
    """How fresh availability has to be."""

    fresh: Annotated[
        Literal["0", "1"] | None,
        Field(description="`1`: from a read that starts after this request arrived."),
    ] = None


class PageQuery(Query):
    """A page of something."""

    limit: PageRows = limits.DEFAULT_PAGE_ROWS
    cursor: Annotated[Cursor | None, Field(description="`next_cursor` of the page before.")] = None


class Window(Query):
    """A time from which on, and one before which."""

    from_: Annotated[Time | None, Field(alias="from", description="At or after this time.")] = None
    to: Annotated[Time | None, Field(description="Before this time.")] = None

    @property
    def from_ms(self) -> int | None:
        """Milliseconds since the epoch."""
        return epoch_ms(self.from_) if self.from_ else None

    @property
    def to_ms(self) -> int | None:
        """Milliseconds since the epoch."""
        return epoch_ms(self.to) if self.to else None

    def faults(self) -> list[Fault]:
        """An end that does not come after its beginning."""
        ends_early = self.from_ and self.to and epoch_ms(self.to) <= epoch_ms(self.from_)
        return [Fault("to", "must be after from")] if ends_early else []


class HistoryQuery(PageQuery, Window):
    """Which bookings, by what they are and when they were created."""

    status: Status | None = None
    sale_id: Id | None = None
    customer_id: Annotated[
        Id | None, Field(description="For `bookings:any` and `admin`: whose history.")
    ] = None


BodyT = TypeVar("BodyT", bound=Body)
QueryT = TypeVar("QueryT", bound=Query)

_BODY_REFUSED: Final = "The body is not as this call takes it."
_QUERY_REFUSED: Final = "The query is not as this call takes it."
_MESSAGES: Final = {
    "extra_forbidden": "unknown field",
    "missing": "required",
    "model_type": "Input should be an object",
}


def _faults(error: ValidationError) -> list[Fault]:
    return [
        Fault(
            ".".join(str(part) for part in fault["loc"]),
            _MESSAGES.get(fault["type"]) or fault["msg"],
        )
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    ]


@cache
def _defaults(model: type[QueryT]) -> QueryT:
    return model()


def parse_body(model: type[BodyT], value: Any, text: bytes | None = None) -> BodyT:
    """Validate a parsed JSON text.

    Args:
        text: the text itself, which tells sooner that no card number is in it.

    Raises:
        Problem: `card_number_refused`, or `invalid_request` with the path of each fault.
    """
    if text is None or may_hold_card_number(text):
        _refuse_card_numbers(value)
    try:
        body = model.model_validate(value)
    except ValidationError as error:
        raise invalid(_BODY_REFUSED, _faults(error)) from None
    if faults := body.faults():
        raise invalid(_BODY_REFUSED, faults)
    return body


def _refuse_card_numbers(value: Any) -> None:
    if paths := paths_of_card_numbers(value):
        raise card_number_refused(*paths)


def parse_query(model: type[QueryT], raw: bytes) -> QueryT:
    """Validate a query string.

    Raises:
        Problem: `card_number_refused`, or `invalid_request` with the name of each parameter that is
            wrong.
    """
    if not raw:
        # Frozen, and with nothing of a request in it: one for all.
        empty: QueryT = _defaults(model)
        return empty
    if len(raw) > limits.MAX_QUERY_BYTES:
        raise invalid("The query is too long.", [Fault("", f"over {limits.MAX_QUERY_BYTES} bytes")])
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict"
        )
    except ValueError:
        raise invalid("The query is not well-formed.", [Fault("", "not well-formed")]) from None
    values = dict(pairs)
    _refuse_card_numbers(values)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise invalid(
            "A query parameter comes more than once.",
            [Fault(name, "given more than once") for name in twice],
        )
    try:
        query = model.model_validate(values)
    except ValidationError as error:
        raise invalid(_QUERY_REFUSED, _faults(error)) from None
    if faults := query.faults():
        raise invalid(_QUERY_REFUSED, faults)
    return query
