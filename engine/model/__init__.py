"""The engine's pure model: the journal's replay, and the oracle that tests compare scripts with.

`apply` folds journal entries into a `PartitionState`; `decide` says what each script must answer
and which entries it must write. No I/O, no clock of its own.
"""

from engine.model.apply import advance, apply, fold, units_of
from engine.model.decide import decide
from engine.model.operations import (
    Bounds,
    Cancel,
    Complete,
    Confirm,
    Expire,
    Extend,
    Operation,
    PutSale,
    Reserve,
)
from engine.model.state import Disagreement, PartitionState, Record, SaleState
from engine.model.work import Decision

__all__ = [
    "Bounds",
    "Cancel",
    "Complete",
    "Confirm",
    "Decision",
    "Disagreement",
    "Expire",
    "Extend",
    "Operation",
    "PartitionState",
    "PutSale",
    "Record",
    "Reserve",
    "SaleState",
    "advance",
    "apply",
    "decide",
    "fold",
    "units_of",
]
