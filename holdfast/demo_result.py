"""What came of the flash sale of `holdfast demo`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.table import Table

from holdfast.flash_sale import Tally

SHOWN_TROUBLES: Final = 10


@dataclass(frozen=True, slots=True)
class Result:
    """What `demo --json` prints.

    `committed` counts paid units, `refused` refusals, `errors` buyers who were answered what nobody
    should be, and what else went wrong. `duplicate_charges` is by the gateway's own book: captures
    beyond a booking's first, and those for what nobody was told is confirmed. Rates: paid bookings
    over the time until the last was paid, and refusals over the time until the last buyer left.
    Latencies are of all requests.
    """

    buyers: int
    stock: int
    committed: int
    refused: int
    errors: int
    oversold: int
    duplicate_charges: int
    committed_per_s: float
    refused_per_s: float
    p50_ms: float
    p99_ms: float
    redis_equals_postgres: bool

    @property
    def good(self) -> bool:
        """Whether the sale went as it must."""
        sold_out = self.committed == min(self.buyers, self.stock)
        faults = self.oversold or self.errors or self.duplicate_charges
        return sold_out and not faults and self.redis_equals_postgres


def judge(
    buyers: int,
    stock: int,
    tally: Tally,
    levels: Mapping[str, int],
    charges: Sequence[Mapping[str, Any]],
    troubles: Sequence[str],
    differences: Sequence[str],
) -> tuple[Result, list[str]]:
    """Put the answers, the levels, the gateway's charges and the comparison of the books together.

    Args:
        charges: as `/_simulator/charges` lists them.
    """
    committed = len(tally.confirmed)
    troubles = [*tally.troubles, *troubles]
    if tally.duplicates:
        troubles.append(f"{tally.duplicates} keys had two answers")
    captures = Counter(str(charge["booking_id"]) for charge in charges if _is_live(charge))
    unpaid = tally.confirmed - captures.keys()
    if unpaid:
        troubles.append(f"{len(unpaid)} bookings are confirmed and were not charged")
    duplicates = sum(
        count - (booking_id in tally.confirmed) for booking_id, count in captures.items()
    )
    if levels["sold"] != committed:
        troubles.append(f"{levels['sold']} units are sold, {committed} buyers were told so")
    if levels["held"]:
        troubles.append(f"{levels['held']} units are still held")
    latencies_ms = sorted(1000 * took_s for took_s in tally.latencies_s)
    sold_s = max(tally.sold_s - tally.begun_s, 0.001)
    open_s = max(tally.ended_s - tally.begun_s, 0.001)
    result = Result(
        buyers=buyers,
        stock=stock,
        committed=committed,
        refused=tally.refused,
        errors=len(troubles),
        oversold=max(0, committed - stock, levels["sold"] + levels["held"] - stock),
        duplicate_charges=duplicates,
        committed_per_s=round(committed / sold_s, 1),
        refused_per_s=round(tally.refused / open_s, 1),
        p50_ms=round(_percentile(latencies_ms, 50), 2),
        p99_ms=round(_percentile(latencies_ms, 99), 2),
        redis_equals_postgres=not differences,
    )
    shown = [*troubles[:SHOWN_TROUBLES], *differences[:SHOWN_TROUBLES]]
    return result, shown


def _is_live(charge: Mapping[str, Any]) -> bool:
    """Whether money was taken and not given back."""
    taken = charge["captured_ms"] is not None
    return taken and charge["amount_refunded"] < charge["amount_captured"]


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """The value that so many percent do not exceed; 0 where there is none."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def table(result: Result) -> Table:
    """The same for people."""
    drawn = Table(title="A flash sale over HTTP", show_header=False, title_justify="left")
    drawn.add_column()
    drawn.add_column(justify="right")
    rows = (
        ("buyers", f"{result.buyers:,}"),
        ("units for sale", f"{result.stock:,}"),
        ("bookings paid", f"{result.committed:,}"),
        ("paid per second", f"{result.committed_per_s:,.1f}"),
        ("refusals", f"{result.refused:,}"),
        ("refusals per second", f"{result.refused_per_s:,.1f}"),
        ("half of all answers within", f"{result.p50_ms:,.1f} ms"),
        ("99 % of all answers within", f"{result.p99_ms:,.1f} ms"),
        ("errors", f"{result.errors:,}"),
        ("oversold", f"{result.oversold:,}"),
        ("charged twice", f"{result.duplicate_charges:,}"),
        ("Redis equals PostgreSQL", "yes" if result.redis_equals_postgres else "NO"),
    )
    for row in rows:
        drawn.add_row(*row)
    return drawn
