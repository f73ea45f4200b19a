"""What can be asked of a partition, as values: the arguments of the scripts that change state."""

from __future__ import annotations

from dataclasses import dataclass

from engine import limits
from engine.model.payment_operations import PaymentOperation
from engine.types import CancelReason, LineRequest, SaleDefinition


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds that `reserve` is told."""

    max_backlog_entries: int = limits.MAX_BACKLOG_ENTRIES
    max_backlog_bytes: int = limits.MAX_BACKLOG_BYTES
    max_backlog_age_ms: int = limits.MAX_BACKLOG_AGE_MS
    max_due_scanned: int = limits.MAX_DUE_SCANNED
    max_taken: int = limits.MAX_TAKEN_BACK_PER_RESERVE
    max_amount: int = limits.MAX_INTEGER


@dataclass(frozen=True, slots=True)
class PutSale:
    """`put_sale`: create a sale, or bring it to a definition."""

    definition: SaleDefinition
    operation: str


@dataclass(frozen=True, slots=True)
class Reserve:
    """`reserve`: hold stock under a booking id that the caller made."""

    booking_id: str
    sale_id: str
    customer_id: str
    lines: tuple[LineRequest, ...]
    key: str
    fingerprint: str
    contact: bool = False
    bounds: Bounds = Bounds()


@dataclass(frozen=True, slots=True)
class Extend:
    """`extend`: lengthen a live hold, once. An empty `customer_id` is anybody."""

    booking_id: str
    customer_id: str = ""


@dataclass(frozen=True, slots=True)
class Cancel:
    """`cancel`: give a booking's units back."""

    booking_id: str
    reason: CancelReason
    customer_id: str = ""


@dataclass(frozen=True, slots=True)
class ConfirmFree:
    """`confirm_free`: turn a hold whose total is 0 into a sale."""

    booking_id: str
    customer_id: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Complete:
    """`complete`: mark a confirmed booking as used up."""

    booking_id: str


@dataclass(frozen=True, slots=True)
class Expire:
    """`expire`: end due holds of a sale, oldest deadline first."""

    sale_id: str
    limit: int = limits.MAX_EXPIRED_PER_CALL


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`snapshot`: say the levels of a whole sale, unless its last snapshot did."""

    sale_id: str


@dataclass(frozen=True, slots=True)
class Warn:
    """`warn`: tell that holds of a sale end soon, the first `limit` of them."""

    sale_id: str
    warning_ms: int
    limit: int = limits.MAX_WARNED_PER_CALL


Operation = (
    PutSale
    | Reserve
    | Extend
    | Cancel
    | ConfirmFree
    | Complete
    | Expire
    | Snapshot
    | Warn
    | PaymentOperation
)
