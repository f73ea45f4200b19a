"""The faults of a soak, by name.

They are the faults of `tests/faults`, with their proofs that they fired, and those that take too
long for every run of the suite.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.soak import postgres_faults, process_faults, repaired_faults, valkey_faults
from tests.soak.ground import Fault

FAULTS: Final[Mapping[str, Fault]] = {
    **valkey_faults.FAULTS,
    **postgres_faults.FAULTS,
    **process_faults.FAULTS,
    **repaired_faults.FAULTS,
}
