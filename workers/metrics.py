"""What the worker counts, for Prometheus; what the drain counts is in `persistence.metrics`.

With `PROMETHEUS_MULTIPROC_DIR` set (as `holdfast up` does) the numbers are written there and the
API answers with them. A worker alone serves them on `HOLDFAST_METRICS_PORT`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from engine.errors import SettingsError
from engine.journal_status import JournalStatus
from engine.pressure import Marks

BACKLOG_ENTRIES: Final = Gauge(
    "holdfast_backlog_entries",
    "Journal entries that PostgreSQL lacks, as Redis was last told.",
    ("partition",),
    multiprocess_mode="mostrecent",
)
BACKLOG_LAG: Final = Gauge(
    "holdfast_backlog_lag_seconds",
    "Age of the oldest journal entry that PostgreSQL lacks; 0 where it lacks none.",
    ("partition",),
    multiprocess_mode="mostrecent",
)
BACKLOG_BYTES: Final = Gauge(
    "holdfast_backlog_bytes",
    "Length of the journal entries that PostgreSQL lacks, as Redis was last told.",
    ("partition",),
    multiprocess_mode="mostrecent",
)
SHEDDING: Final = Gauge(
    "holdfast_partition_shedding",
    "1 where a partition takes no new holds, for the backlog or a worker's word.",
    ("partition",),
    multiprocess_mode="mostrecent",
)
REDIS_MEMORY: Final = Gauge(
    "holdfast_redis_memory_ratio",
    "Memory that Redis uses, of what it may; 0 where it has no bound.",
    multiprocess_mode="mostrecent",
)
DISK_FREE: Final = Gauge(
    "holdfast_watched_disk_free_bytes",
    "Room on the disk of HOLDFAST_WATCH_DISK.",
    multiprocess_mode="mostrecent",
)
JOURNAL_BYTES: Final = Gauge(
    "holdfast_journal_bytes",
    "Memory that a partition's journal takes in Redis.",
    ("partition",),
    multiprocess_mode="mostrecent",
)
FENCED: Final = Gauge(
    "holdfast_partition_fenced",
    "1 where a partition waits for its operator.",
    ("partition",),
    multiprocess_mode="mostrecent",
)
EXPIRED: Final = Counter("holdfast_expired_holds", "Holds ended by the sweeper.")
RETIRED: Final = Counter("holdfast_retired_sales", "Closed sales that left Redis.")
SNAPSHOTS: Final = Counter("holdfast_snapshots", "Levels of whole sales put into the journal.")
WARNED: Final = Counter("holdfast_warned_holds", "Holds whose customers were told of their end.")
EVICTED: Final = Counter("holdfast_evicted_bookings", "Finished bookings that left Redis.")
RECOVERED: Final = Counter("holdfast_payments_recovered", "Payments that a worker took over.")
PAYMENTS_OPEN: Final = Gauge(
    "holdfast_payments_open", "Payments with an open step.", multiprocess_mode="mostrecent"
)
PAYMENTS_STUCK: Final = Gauge(
    "holdfast_payments_stuck",
    "Payments whose step is open for longer than it should be.",
    multiprocess_mode="mostrecent",
)
RECONCILED: Final = Counter(
    "holdfast_reconciler_charges", "Charges compared with their bookings.", ("verdict",)
)
DIFFERENCES: Final = Gauge(
    "holdfast_reconciler_differences",
    "Charges and bookings that disagree at present; 0 in normal running.",
    ("verdict",),
    multiprocess_mode="mostrecent",
)
RECONCILER_LAG: Final = Gauge(
    "holdfast_reconciler_lag_seconds",
    "Age of the youngest charge that is certain to have been compared.",
    multiprocess_mode="mostrecent",
)
RETURNED: Final = Counter("holdfast_reconciler_returned", "Orphans voided or refunded.", ("how",))
EVENTS_SENT: Final = Counter(
    "holdfast_events_sent", "Public events that arrived, by kind of destination.", ("kind",)
)
EVENTS_PARKED: Final = Counter(
    "holdfast_events_parked", "Public events given up for an operator to look at.", ("kind",)
)
EVENTS_FAILED: Final = Counter(
    "holdfast_events_failed", "Deliveries that failed and wait to be tried again.", ("kind",)
)
EVENTS_WAITING: Final = Gauge(
    "holdfast_events_waiting",
    "Deliveries that wait, and those parked, by kind of destination.",
    ("kind", "state"),
    multiprocess_mode="mostrecent",
)
EVENTS_OLDEST: Final = Gauge(
    "holdfast_events_oldest_seconds",
    "Age of the oldest event that waits: in the outbox, or for a kind of destination.",
    ("kind",),
    multiprocess_mode="mostrecent",
)
ENDPOINTS_DISABLED: Final = Counter(
    "holdfast_webhook_endpoints_disabled", "Endpoints that are sent nothing more.", ("reason",)
)
EVENT_AGE: Final = Histogram(
    "holdfast_event_age_seconds",
    "From the entry in the journal to the arrival of its event, by kind of destination.",
    ("kind",),
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86400.0),
)
FAILURES: Final = Counter("holdfast_loop_failures", "Pieces of work that failed.", ("loop",))
SLICES: Final = Counter(
    "holdfast_loop_slices", "Slices worked, by arq's jobs (arq) or without (own).", ("loop", "hand")
)


def observe(statuses: Iterable[JournalStatus], marks: Marks) -> None:
    """Show where the partitions' journals stand."""
    for status in statuses:
        label = str(status.partition)
        BACKLOG_ENTRIES.labels(label).set(status.lacking_entries)
        BACKLOG_BYTES.labels(label).set(status.lacking_bytes)
        BACKLOG_LAG.labels(label).set(status.oldest_age_ms / 1000)
        SHEDDING.labels(label).set(1 if marks.why_shed(status) else 0)
        JOURNAL_BYTES.labels(label).set(status.bytes)
        waits = status.fenced is not None or status.generation is None
        FENCED.labels(label).set(1 if waits else 0)


def published(kind: str, written_ms: Iterable[int]) -> None:
    """Count events that arrived somewhere now, by when their entries were written."""
    ages = EVENT_AGE.labels(kind)
    now_ms = time.time() * 1000
    count = 0
    for at_ms in written_ms:
        ages.observe(max(0.0, now_ms - at_ms) / 1000)
        count += 1
    EVENTS_SENT.labels(kind).inc(count)


@contextmanager
def served(port: int | None) -> Iterator[None]:
    """Serve the numbers on a port, unless the API gathers them or there is none.

    Raises `SettingsError` where the port is taken.
    """
    if port is None or os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        yield
        return
    try:
        server, thread = start_http_server(port)
    except OSError as error:
        raise SettingsError(f"HOLDFAST_METRICS_PORT: {port}: {error.strerror}") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
