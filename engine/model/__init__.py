"""The engine's pure model: the journal's replay, and the oracle that tests compare scripts with.

`apply` folds journal entries into a `PartitionState`; `decide` says what each script must answer
and which entries it must write. No I/O, no clock of its own.
"""

from engine.model.apply import advance, apply, fold, units_of
from engine.model.state import Disagreement, PartitionState, Record, SaleState

__all__ = [
    "Disagreement",
    "PartitionState",
    "Record",
    "SaleState",
    "advance",
    "apply",
    "fold",
    "units_of",
]
