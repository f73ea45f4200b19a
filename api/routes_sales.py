"""Sales and their stock: put, read, list, what is left, and what became of an item."""

from __future__ import annotations

from typing import Final

from api.answers import show_sale, show_stock_history
from api.availability import etag_of, is_current
from api.call import NOT_MODIFIED, REVALIDATE, Call, Reply, json_reply
from api.metrics import count_outcome
from api.operations import (
    ADMINS,
    ALL_SCOPES,
    ITEM,
    NEW_SALE,
    SALE,
    Answered,
    Operation,
)
from api.paging import after_of, bad_cursor, cursor_after, wait_for_writes
from api.problems import Problem, refusal
from api.schemas import AvailabilityQuery, PageQuery, SalePut
from api.shapes import AvailabilityShown, SalePage, SaleShown, StockHistoryPage
from api.times import epoch_ms
from engine.outcomes import Outcome
from engine.types import ItemDefinition, SaleDefinition
from persistence.reads import InvalidCursor

TAG: Final = "sales"


def _definition(sale_id: str, body: SalePut) -> SaleDefinition:
    return SaleDefinition(
        sale_id=sale_id,
        name=body.name,
        items=tuple(
            ItemDefinition(
                item_id=item.id,
                name=item.name,
                capacity=item.capacity,
                unit_price=item.unit_price,
                max_per_booking=item.max_per_booking or 0,
            )
            for item in body.items
        ),
        opens_ms=epoch_ms(body.opens_at) if body.opens_at else 0,
        closes_ms=epoch_ms(body.closes_at) if body.closes_at else 0,
        hold_ms=body.hold_seconds * 1000,
        max_units_per_customer=body.max_units_per_customer or 0,
        currency=body.currency,
    )


async def put_sale(call: Call) -> Reply:
    """Create a sale, or bring it to what the body says."""
    body: SalePut = call.body
    definition = _definition(call.path["sale_id"], body)
    answer = await call.parts.engine.sales.put(definition, trace=call.trace)
    count_outcome("put_sale", answer.outcome)
    if answer.sale is None:
        raise refusal(answer.outcome, answer.item_id)
    return json_reply(201 if answer.outcome is Outcome.CREATED else 200, show_sale(answer.sale))


async def get_sale(call: Call) -> Reply:
    """One sale with its items."""
    sale = await call.parts.engine.sales.get(call.path["sale_id"])
    if sale is None:
        raise refusal(Outcome.UNKNOWN_SALE)
    return json_reply(200, show_sale(sale))


async def list_sales(call: Call) -> Reply:
    """A page of sales, in order of their ids."""
    query: PageQuery = call.query
    after = after_of(query.cursor)
    # One more than asked for tells whether there is another page.
    sales = await call.parts.engine.sales.list(after, query.limit + 1)
    more = len(sales) > query.limit
    page: SalePage = {
        "sales": [show_sale(sale) for sale in sales[: query.limit]],
        "next_cursor": cursor_after(sales[query.limit - 1].definition.sale_id) if more else None,
    }
    return json_reply(200, page)


async def get_availability(call: Call) -> Reply:
    """How many units of each item are left."""
    query: AvailabilityQuery = call.query
    body = await call.parts.availability.get(call.path["sale_id"], fresh=query.fresh == "1")
    if body is None:
        raise refusal(Outcome.UNKNOWN_SALE)
    etag = etag_of(body)
    headers = ((b"etag", etag),)
    wanted = call.headers.get(b"if-none-match")
    if wanted is not None and is_current(etag, wanted):
        return Reply(NOT_MODIFIED, b"", headers, cache_control=REVALIDATE)
    return Reply(200, body, headers, cache_control=REVALIDATE)


async def get_item_history(call: Call) -> Reply:
    """Every change of an item's stock, newest first."""
    query: PageQuery = call.query
    sale_id, item_id = call.path["sale_id"], call.path["item_id"]
    engine = call.parts.engine
    await wait_for_writes(call.parts, [engine.keys.partition_of_sale(sale_id)])
    try:
        page = await call.parts.reads.stock_history(sale_id, item_id, query.limit, query.cursor)
    except InvalidCursor:
        raise bad_cursor() from None
    if not page.changes and query.cursor is None:
        sale = await engine.sales.get(sale_id)
        if sale is None:
            raise refusal(Outcome.UNKNOWN_SALE)
        if item_id not in {item.item_id for item in sale.definition.items}:
            raise Problem("unknown_item", "The sale has no such item.")
    return json_reply(200, show_stock_history(sale_id, item_id, page))


OPERATIONS: Final = (
    Operation(
        name="getAvailability",
        method="GET",
        path="/v1/sales/{sale_id}/availability",
        often=True,
        tag=TAG,
        summary="How many units of each item are left",
        about=(
            "From one read that all callers share, at most some milliseconds old (`as_of` says "
            "when). With `fresh=1`, from a read that starts after the request arrived. Units of "
            "holds that are due count as available."
        ),
        handler=get_availability,
        scopes=ALL_SCOPES,
        open_where=lambda settings: settings.availability_public,
        path_ids={"sale_id": SALE},
        query=AvailabilityQuery,
        answers={
            200: Answered(
                about="The levels of all items.",
                shape=AvailabilityShown,
                headers={"ETag": "Of the levels, whenever they were read."},
            ),
            304: Answered(
                about="The levels are those of the `If-None-Match` that was sent.",
                shape=None,
                headers={"ETag": "Of the levels, whenever they were read."},
            ),
        },
        codes=frozenset({"unavailable", "fenced"}),
    ),
    Operation(
        name="putSale",
        method="PUT",
        path="/v1/sales/{sale_id}",
        tag=TAG,
        summary="Create a sale or change it",
        about=(
            "The whole sale: an item left out is removed, a capacity is set and not added. What "
            "is held or sold stays so: lowering a capacity below it is refused."
        ),
        handler=put_sale,
        scopes=ADMINS,
        path_ids={"sale_id": NEW_SALE},
        body=SalePut,
        body_required=True,
        answers={
            200: Answered(about="The sale as changed, or as it was before.", shape=SaleShown),
            201: Answered(about="The sale is new.", shape=SaleShown),
        },
        codes=frozenset({"capacity_in_use", "invalid_state", "fenced"}),
    ),
    Operation(
        name="getSale",
        method="GET",
        path="/v1/sales/{sale_id}",
        tag=TAG,
        summary="A sale with its items",
        handler=get_sale,
        scopes=ALL_SCOPES,
        path_ids={"sale_id": SALE},
        answers={200: Answered(about="The sale.", shape=SaleShown)},
        codes=frozenset({"fenced"}),
    ),
    Operation(
        name="listSales",
        method="GET",
        path="/v1/sales",
        tag=TAG,
        summary="Sales in order of their ids",
        handler=list_sales,
        scopes=ALL_SCOPES,
        query=PageQuery,
        answers={200: Answered(about="A page of sales.", shape=SalePage)},
        codes=frozenset({"fenced"}),
    ),
    Operation(
        name="getItemHistory",
        method="GET",
        path="/v1/sales/{sale_id}/items/{item_id}/history",
        tag=TAG,
        summary="Every change of an item's stock, newest first",
        handler=get_item_history,
        scopes=ADMINS,
        path_ids={"sale_id": SALE, "item_id": ITEM},
        query=PageQuery,
        answers={200: Answered(about="A page of changes.", shape=StockHistoryPage)},
    ),
)
