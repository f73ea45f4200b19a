"""What the drain counts. Anything but 0 in the last three is for an operator to look at."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

ENTRIES: Final = Counter("holdfast_drained_entries", "Journal entries committed to PostgreSQL.")
BATCH_SECONDS: Final = Histogram(
    "holdfast_drain_batch_seconds",
    "From reading a batch of the journal to its commit.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
QUARANTINED: Final = Counter(
    "holdfast_quarantined_entries", "Entries that could not be applied, by reason.", ("reason",)
)
LEVEL_MISMATCHES: Final = Counter(
    "holdfast_level_mismatches",
    "Times an item's sum of deltas was not what the journal says its levels are.",
)
STOPPED: Final = Gauge(
    "holdfast_drain_stopped",
    "1 while a partition's drain waits for an operator.",
    ("partition", "reason"),
    multiprocess_mode="livemax",
)
