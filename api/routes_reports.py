"""What managers look at: what was sold on which day, and how a sale went."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from api.call import Call, Reply
from api.csv_text import CSV, VARY, attachment, csv_text, wants_csv
from api.operations import ADMINS, SALE, Answered, Operation
from api.paging import wait_for_writes
from api.problems import invalid, refusal
from api.schemas_admin import SeriesQuery, SummaryQuery
from api.shapes_reports import PointShown, SellThrough, SummaryReport, SummaryRow
from engine.limits import MAX_REPORT_ROWS
from engine.outcomes import Outcome
from engine.times import rfc3339
from persistence.reports import SeriesPoint, Summary

TAG: Final = "reports"


async def _as_of_ms(call: Call, sale_id: str | None) -> int:
    """The time before which everything is in PostgreSQL, after waiting for what is on its way."""
    partitions = None if sale_id is None else [call.parts.keys.partition_of_sale(sale_id)]
    as_of_ms = await wait_for_writes(call.parts, partitions)
    return await call.parts.reports.drained_ms() if as_of_ms is None else as_of_ms


async def get_summary(call: Call) -> Reply:
    """What happened on some days."""
    query: SummaryQuery = call.query
    as_of_ms = await _as_of_ms(call, query.sale_id)
    found = await call.parts.reports.summary(
        query.from_ms, query.to_ms, query.sale_id, query.group_by, MAX_REPORT_ROWS + 1
    )
    if len(found) > MAX_REPORT_ROWS:
        raise invalid(
            f"The report has more than {MAX_REPORT_ROWS} rows. Ask for fewer days at once.", []
        )
    rows = [_row(summary) for summary in found]
    if wants_csv(call.headers):
        flat = [{**row, **row["bookings"], **row["payments"]} for row in rows]
        return _table("summary.csv", _SUMMARY_COLUMNS, flat)
    report: SummaryReport = {
        "from": _day(query.from_ms),
        "to": _day(query.to_ms),
        "rows": rows,
        "as_of": rfc3339(as_of_ms),
    }
    return _json(report)


async def get_sell_through(call: Call) -> Reply:
    """How a sale went."""
    query: SeriesQuery = call.query
    sale_id = call.path["sale_id"]
    as_of_ms = await _as_of_ms(call, sale_id)
    series = await call.parts.reports.series(sale_id, query.from_ms, query.to_ms)
    if series is None:
        raise refusal(Outcome.UNKNOWN_SALE)
    points = [_point(point) for point in series.points]
    if wants_csv(call.headers):
        return _table("sell-through.csv", _SERIES_COLUMNS, points)
    shown: SellThrough = {
        "sale_id": sale_id,
        "as_of": rfc3339(as_of_ms),
        "interval_s": series.interval_ms // 1000,
        "points": points,
    }
    return _json(shown)


def _json(shown: object) -> Reply:
    # Not orjson, which ends at 64 bits: a sum of totals up to 2^53 does not.
    return Reply(200, json.dumps(shown, separators=(",", ":")).encode(), [VARY])


def _table(name: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Reply:
    lines = [columns, *([row[column] for column in columns] for row in rows)]
    return Reply(200, csv_text(lines), [VARY, attachment(name)], CSV)


def _day(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)[: len("2026-11-22")]


def _row(summary: Summary) -> SummaryRow:
    to_pay_ms = summary.average_time_to_pay_ms
    return {
        "day": _day(summary.day_ms),
        "sale_id": summary.sale_id,
        "currency": summary.currency,
        "bookings": {
            "created": summary.created,
            "confirmed": summary.confirmed,
            "cancelled": summary.cancelled,
            "expired": summary.expired,
            "completed": summary.completed,
        },
        "booking_success_rate": summary.booking_success_rate,
        "payments": {
            "authorized": summary.authorized,
            "captured": summary.captured,
            "declined": summary.declined,
            "refunded": summary.refunded,
        },
        "payment_success_rate": summary.payment_success_rate,
        "revenue": summary.revenue,
        "captured_amount": summary.captured_amount,
        "returned_amount": summary.returned_amount,
        "average_time_to_pay_s": None if to_pay_ms is None else round(to_pay_ms / 1000, 3),
    }


_SUMMARY_COLUMNS: Final = (
    "day",
    "sale_id",
    "currency",
    "created",
    "confirmed",
    "cancelled",
    "expired",
    "completed",
    "booking_success_rate",
    "authorized",
    "captured",
    "declined",
    "refunded",
    "payment_success_rate",
    "revenue",
    "captured_amount",
    "returned_amount",
    "average_time_to_pay_s",
)
_SERIES_COLUMNS: Final = ("at", "sold", "capacity", "sell_through")


def _point(point: SeriesPoint) -> PointShown:
    return {
        "at": rfc3339(point.at_ms),
        "sold": point.sold,
        "capacity": point.capacity,
        "sell_through": point.sell_through,
    }


OPERATIONS: Final = (
    Operation(
        name="getSummary",
        method="GET",
        path="/v1/reports/summary",
        tag=TAG,
        summary="What happened on some days",
        about=(
            "Bookings, payments and revenue of whole UTC days, by day or by sale or altogether, a "
            "row for each currency. From sums that are kept all the time: as fast for a million "
            "bookings as for one. As a table with `Accept: text/csv`. A report of more than "
            f"{MAX_REPORT_ROWS} rows is refused."
        ),
        handler=get_summary,
        scopes=ADMINS,
        query=SummaryQuery,
        answers={200: Answered(about="The report.", shape=SummaryReport, csv=True)},
    ),
    Operation(
        name="getSellThrough",
        method="GET",
        path="/v1/reports/sales/{sale_id}/sell-through",
        tag=TAG,
        summary="How a sale went",
        about=(
            "Units sold and capacity over time, from the first unit sold to the last change, in at "
            "most 500 intervals of one length. A shorter window has shorter intervals, down to 10 "
            "seconds. As a table with `Accept: text/csv`."
        ),
        handler=get_sell_through,
        scopes=ADMINS,
        path_ids={"sale_id": SALE},
        query=SeriesQuery,
        answers={200: Answered(about="The course of the sale.", shape=SellThrough, csv=True)},
    ),
)
