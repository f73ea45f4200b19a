"""The engine's pure model: the journal's replay, and the oracle that tests compare scripts with.

`apply` folds journal entries into a `PartitionState`; `decide` says what each script must answer
and which entries it must write. No I/O, no clock of its own.
"""

from engine.model.apply import advance, apply, fold, record_of, units_of
from engine.model.changes import booking_before
from engine.model.decide import decide
from engine.model.operations import (
    Bounds,
    Cancel,
    Complete,
    ConfirmFree,
    Expire,
    Extend,
    Operation,
    PutSale,
    Reserve,
    Snapshot,
    Warn,
)
from engine.model.payment_operations import (
    BeginPayment,
    CaptureFailed,
    ClaimPayment,
    Confirm,
    PaymentFailed,
    PaymentOperation,
    PaymentUnknown,
    RecordCapture,
    Refund,
    Refunded,
    RequireAction,
    Voided,
)
from engine.model.state import (
    Disagreement,
    PartitionState,
    Record,
    RecordName,
    SaleState,
    is_paying,
)
from engine.model.work import Decision

__all__ = [
    "BeginPayment",
    "Bounds",
    "Cancel",
    "CaptureFailed",
    "ClaimPayment",
    "Complete",
    "Confirm",
    "ConfirmFree",
    "Decision",
    "Disagreement",
    "Expire",
    "Extend",
    "Operation",
    "PartitionState",
    "PaymentFailed",
    "PaymentOperation",
    "PaymentUnknown",
    "PutSale",
    "Record",
    "RecordCapture",
    "RecordName",
    "Refund",
    "Refunded",
    "RequireAction",
    "Reserve",
    "SaleState",
    "Snapshot",
    "Voided",
    "Warn",
    "advance",
    "apply",
    "booking_before",
    "decide",
    "fold",
    "is_paying",
    "record_of",
    "units_of",
]
