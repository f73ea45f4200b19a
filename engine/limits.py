"""Every bound of the system in one place, units in the names, relations asserted below.

A request that passes a bound is refused with `invalid_request` and the path of the fault;
a bound on work done inside (batches, scans, attempts) makes the work come in slices.
"""

from __future__ import annotations

from typing import Final

MAX_INTEGER: Final = 2**53 - 1
"""Largest integer that Lua's doubles and JSON readers keep exact."""

ID_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}$"
CURRENCY_PATTERN: Final = r"^[A-Z]{3}$"
BOOKING_ID_PATTERN: Final = r"^[0-9a-f]{3}[0-9A-HJKMNP-TV-Z]{26}$"
"""Three hex digits of partition, then a ULID: 48 bits of milliseconds, 80 random bits."""

# What a request may carry.
MAX_BODY_BYTES: Final = 64 * 1024
MAX_NAME_CHARS: Final = 200
MAX_LINES: Final = 50
MAX_QUANTITY: Final = 1_000
MAX_ITEMS_PER_SALE: Final = 500
MAX_UNIT_PRICE: Final = MAX_INTEGER
MAX_CAPACITY: Final = MAX_INTEGER
MIN_HOLD_SECONDS: Final = 1
DEFAULT_HOLD_SECONDS: Final = 300
MAX_HOLD_SECONDS: Final = 7 * 24 * 3600
MAX_EMAIL_CHARS: Final = 254
MAX_PHONE_CHARS: Final = 20
MAX_PAGE_ROWS: Final = 200
DEFAULT_PAGE_ROWS: Final = 50
MAX_CURSOR_CHARS: Final = 512
MAX_PAYMENT_ID_CHARS: Final = 255
MAX_TRACE_CHARS: Final = 64
MAX_EPOCH_MS: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the last instant RFC 3339 can write."""

# How long things are kept.
IDEMPOTENCY_TTL_MS: Final = 24 * 3600 * 1000
FINISHED_RETENTION_MS: Final = 10 * 60 * 1000
TOMBSTONE_TTL_MS: Final = 60 * 60 * 1000
JOURNAL_KEPT_BEHIND_CURSOR_MS: Final = 5 * 60 * 1000
MIN_PRUNED_AGE_MS: Final = 7 * 24 * 3600 * 1000
"""Rows of PostgreSQL's journal that are younger stay there."""

# How much one step does.
MAX_PARTITIONS: Final = 1024
"""More would be slow to start: a process looks for the tag of each (`engine.keys`)."""
DEFAULT_PARTITIONS: Final = 16
MAX_TAKEN_BACK_PER_RESERVE: Final = 64
MAX_DUE_SCANNED: Final = 256
MAX_EXPIRED_PER_CALL: Final = 64
MAX_WARNED_PER_CALL: Final = 64
MAX_SALES_LOOKED_AT: Final = 256
MAX_EVICTED_PER_CALL: Final = 256
MAX_CALLS_PER_BATCH: Final = 256
MAX_BATCHES_IN_FLIGHT: Final = 4
PIECE_CALLS: Final = 16
"""So many calls of one tick are sent before it ends."""
MAX_CALLS_WAITING: Final = 20_000
MAX_DRAIN_ENTRIES: Final = 4_000
MAX_PRUNED_ENTRIES: Final = 4_000
"""Rows of PostgreSQL's journal that are dropped in one transaction."""
MAX_DRAIN_BYTES: Final = 8 * 1024 * 1024
"""A batch of the drain ends with the entry that reaches this."""
MAX_BACKLOG_ENTRIES: Final = 1_000_000
MAX_BACKLOG_BYTES: Final = 256 * 1024 * 1024
"""Of journal entries that PostgreSQL may lack, where the server has no `maxmemory`."""
BACKLOG_SHARE_OF_MEMORY: Final = 4
"""Where it has one: this part of it, a quarter. The rest is for what the entries are about."""
MAX_BACKLOG_AGE_MS: Final = 60 * 60 * 1000
MAX_CALL_ATTEMPTS: Final = 3
MAX_RESERVE_ROUNDS: Final = 8
SOLD_OUT_REMEMBERED_MS: Final = 50
CALL_TIMEOUT_MS: Final = 5_000
CONNECT_TIMEOUT_MS: Final = 2_000
SLOTS_FRESH_MS: Final = 10
"""How long a look at where a cluster has its partitions answers for calls that found nobody."""
CLUSTER_LOOK_MS: Final = 1_000
"""How often a process looks for a failover that no error has told it of."""

# The API.
MAX_HEADER_BYTES: Final = 16 * 1024
MAX_TOKEN_BYTES: Final = 8 * 1024
MAX_QUERY_BYTES: Final = 4 * 1024
MAX_FAULTS_SHOWN: Final = 100
MAX_FAULT_PATH_CHARS: Final = 200
BODY_TIMEOUT_MS: Final = 15_000
MAX_REQUEST_LINES_PER_S: Final = 100
METRICS_DELAY_MS: Final = 100
"""How late a count may be in the numbers of another process."""
SLOW_REQUEST_MS: Final = 1_000
"""A request that took so long is worth a line in the log."""
OWN_WRITES_TIMEOUT_MS: Final = 1_000
"""How long a history waits until PostgreSQL has what its reader did just before."""
MAX_TOKENS_REMEMBERED: Final = 32_768
MAX_TOKEN_HEADS_REMEMBERED: Final = 256
MAX_SALES_REMEMBERED: Final = 1_000
"""Sales whose last availability a process keeps."""
JWKS_AGE_MS: Final = 5 * 60 * 1000
JWKS_RETRY_MS: Final = 2_000
"""The identity service is not asked for its keys more often, whatever tokens name."""
JWKS_TIMEOUT_MS: Final = 5_000
MAX_JWKS_BYTES: Final = 512 * 1024
MAX_JWKS_KEYS: Final = 100
MAX_REPORT_ROWS: Final = 10_000
"""Of a summary; one that has more is refused, with what would make it smaller."""
MAX_SERIES_STEPS: Final = 500
"""Of a sale's course: as many as a chart can show."""
MAX_EXPORTS: Final = 2
"""Exports that an API process works on at once: each costs about one core while it runs."""
EXPORT_STALL_MS: Final = 30_000
"""How long an export waits for its reader to take a page."""
ANSWER_STALL_MS: Final = 30_000
"""How long an answer waits for its reader to take those before it."""
READINESS_AGE_MS: Final = 500
READINESS_TIMEOUT_MS: Final = 2_000
TEND_INTERVAL_MS: Final = 1_000
KEEP_ALIVE_S: Final = 75
"""Longer than load balancers keep idle connections, so that they and not we close them."""
SHUTDOWN_S: Final = 20
"""What a request in flight has to end in, once a process is told to stop."""
MAX_HOLDS_AT_ONCE: Final = 1_024
"""Of those that one API process works at; the others wait for their turn. Where ten thousand
connections are read in one turn of the event loop, a hold takes three such turns: with few at once
that is what it waits for, and not the processor."""
MAX_HOLDS_IN_OVERLOAD: Final = 64
"""The same while an overload is shed: the fewer at once, the sooner each is answered."""
ADMISSION_TARGET_MS: Final = 10
"""How long a hold waits for its turn in an overload; the others are told at once."""
ADMISSION_WINDOW_MS: Final = 250
ADMISSION_QUIET_WINDOWS: Final = 4
"""An overload is over when nobody was sent away, or nobody came, for so many."""
ADMISSION_PATIENCE_MS: Final = 20_000
"""Who has waited for longer is not served any more."""
MAX_CONNECTIONS_WAITING: Final = 4_096

# PostgreSQL.
MAX_DATABASE_CONNECTIONS: Final = 10
DATABASE_CONNECT_TIMEOUT_MS: Final = 3_000
DATABASE_COMMAND_TIMEOUT_MS: Final = 10_000
DATABASE_DRAIN_TIMEOUT_MS: Final = 30_000
DATABASE_IDLE_MS: Final = 5 * 60 * 1000
DATABASE_LEASE_MS: Final = 10_000
"""A session silent for so long inside a transaction is ended: a drain that was stopped."""
CURSOR_BELIEVED_MS: Final = 1_000
"""How long a drain goes by the cursor it wrote last before it asks PostgreSQL again."""
CURSOR_TOLD_AGAIN_MS: Final = 10_000
"""How often a drain tells Redis the cursor that it has already told."""
CURSOR_POLL_MS: Final = 10
FLOORS_FRESH_MS: Final = 100
"""PostgreSQL is not asked for its cursors more often, however many calls meet a fence."""
FLOORS_TIMEOUT_MS: Final = DATABASE_CONNECT_TIMEOUT_MS
"""How long calls wait for its answer before they go on by what they know."""

# Events out.
MAX_DEALT_EVENTS: Final = 5_000
"""Events taken out of the outbox in one transaction."""
MAX_STREAMED_EVENTS: Final = 1_000
"""Events put on the stream in one write."""
MAX_RELAY_CONNECTIONS: Final = 4
"""To PostgreSQL, apart from the drain's."""
MAX_DELIVERIES_PER_PLACE: Final = 48
"""Claimed for one place by one worker: more are noted at once where the database is slow."""
MAX_SENT_AT_ONCE: Final = 16
"""Of these, on their way at the same time."""
DELIVERY_LEASE_MS: Final = 60_000
"""How long a claimed delivery is left to the worker that claimed it."""
DELIVERY_FIRST_BACK_OFF_MS: Final = 1_000
DELIVERY_MAX_BACK_OFF_MS: Final = 5 * 60 * 1000
BREAKER_FAILURES: Final = 5
"""Failures in a row after which a place is left alone for a moment, and then tried with one."""
BREAKER_MAX_MS: Final = 30_000
DELIVERY_GIVE_UP_MS: Final = 24 * 3600 * 1000
DELIVERIES_KEPT_S: Final = 7 * 86_400
PARKED_KEPT_S: Final = 30 * 86_400
MAX_PRUNED_DELIVERIES: Final = 2_000
MAX_RETRIED_DELIVERIES: Final = 10_000
"""Parked ones that one call has tried anew."""
MAX_WEBHOOK_ENDPOINTS: Final = 100
MAX_WEBHOOK_URL_CHARS: Final = 2_000
MAX_WEBHOOK_FILTERS: Final = 50
WEBHOOK_SECRET_BYTES: Final = 24
OLD_SECRET_S: Final = 86_400
"""How long the secret before still signs, after a rotation."""
WEBHOOK_TIMEOUT_MS: Final = 15_000
MAX_EXCERPT_CHARS: Final = 500
"""Of a subscriber's answer, kept in the log."""
MAX_REFUSED_ATTEMPTS: Final = 12
"""Times that a notice is tried which its server refuses for good; servers err."""
MAX_SMS_CHARS: Final = 640
SMTP_TIMEOUT_MS: Final = 15_000
MAX_MAILS_PER_SESSION: Final = 100
"""Sent over one SMTP session: servers end them after some hundred, and spread load anew."""
SMTP_IDLE_MS: Final = 5_000
"""How long an SMTP session is kept for the next mail."""
SMTP_QUIT_MS: Final = 1_000
"""How long a server may take to say goodbye."""
SALE_NAMES_FRESH_MS: Final = 60_000
WEBHOOK_DISABLE_AFTER_MS: Final = 5 * 86_400 * 1000
ENDPOINTS_FRESH_MS: Final = 1_000
TIDY_INTERVAL_MS: Final = 5_000
FEW_EVENTS: Final = 500
FEW_DELIVERIES: Final = 24
EVENTS_GATHER_MS: Final = 40
"""After a piece of fewer the next ones gather for so long: a piece costs as much as many."""
EVENTS_IDLE_MIN_MS: Final = 20
EVENTS_IDLE_MAX_MS: Final = 250

# Workers.
GC_THRESHOLD: Final = 50_000
"""Allocations between two looks of the garbage collector, in a worker and in the API."""
TICK_S: Final = 2
"""How often arq's cron puts each loop into its queue."""
SLICE_MS: Final = 3_000
"""How long one job works at a loop: until the next one takes over, and longer if that is late."""
IDLE_GRACE_MS: Final = 700
"""A loop that nobody has worked at for so long gets a hand that does not come from arq."""
WATCH_MS: Final = 200
QUEUE_TIMEOUT_MS: Final = 1_000
MAX_PARTITIONS_AT_ONCE: Final = 64
MAX_SWEPT_PER_PIECE: Final = 256
DRAIN_GATHER_ENTRIES: Final = 500
DRAIN_GATHER_MS: Final = 60
"""After a batch of fewer entries the next ones gather for so long. A batch costs worker and
PostgreSQL as much as fifty entries, as measured."""
DRAIN_FEW_ENTRIES: Final = 16
DRAIN_FEW_MS: Final = 20
"""After a batch of fewer than that they gather for less: where little goes on, a batch for each
costs little, and what was written is there sooner."""
DRAIN_LOOK_MS: Final = 40
"""How often a partition is looked at that had nothing."""
DRAIN_IDLE_MIN_MS: Final = 5
DRAIN_IDLE_MAX_MS: Final = 20
EVICTION_INTERVAL_MS: Final = 1_000
SALE_RETENTION_MS: Final = 24 * 3600 * 1000
"""How long a sale stays in Redis after it closed."""
RETIREMENT_PASS_MS: Final = 60_000
RETIREMENT_PAUSE_MS: Final = 1_000
MAX_CLOSED_SALES_SCANNED: Final = 200
MAX_CUSTOMERS_PER_CALL: Final = 1_000
SNAPSHOT_INTERVAL_MS: Final = 30_000
"""A sale that changes gets a snapshot so often, and not more often."""
SNAPSHOT_PAUSE_MS: Final = 1_000
MAX_SNAPSHOTS_PER_PIECE: Final = 16
WARN_INTERVAL_MS: Final = 500
EXPIRY_WARNING_MS: Final = 60_000
OBSERVE_INTERVAL_MS: Final = 1_000
SHED_TTL_MS: Final = 5_000
"""How long a worker's word holds that new holds are to be shed."""
MIN_FREE_BYTES: Final = 256 * 1024 * 1024
MAX_MEMORY_PERCENT: Final = 90
FINAL_DRAIN_MS: Final = 10_000
"""How long a worker that is told to stop goes on draining."""
VERIFY_STALL_MS: Final = 10_000
"""How long `verify` waits for a cursor that does not move before it calls that a difference."""

assert MAX_LINES * MAX_QUANTITY < MAX_INTEGER
assert MAX_TAKEN_BACK_PER_RESERVE <= MAX_DUE_SCANNED
assert MAX_EXPIRED_PER_CALL <= MAX_DUE_SCANNED
assert MAX_DRAIN_ENTRIES < MAX_BACKLOG_ENTRIES
assert MAX_DRAIN_BYTES < MAX_BACKLOG_BYTES
assert 2 * OBSERVE_INTERVAL_MS < SHED_TTL_MS, "a shed partition stays so while its worker says so"
assert JOURNAL_KEPT_BEHIND_CURSOR_MS < FINISHED_RETENTION_MS, "an evicted booking is long drained"
assert IDEMPOTENCY_TTL_MS < MIN_PRUNED_AGE_MS, "a rebuild finds the entries of living records"
assert JOURNAL_KEPT_BEHIND_CURSOR_MS < MIN_PRUNED_AGE_MS, "Redis has let go of it long before"
assert DELIVERY_GIVE_UP_MS < MIN_PRUNED_AGE_MS, "an event is given up before its entry is dropped"
assert DELIVERIES_KEPT_S * 1000 <= MIN_PRUNED_AGE_MS, "few deliveries keep a base where it is"
assert MAX_HOLD_SECONDS * 1000 <= MIN_PRUNED_AGE_MS, "most bookings are settled by their kept rows"
assert MAX_BACKLOG_AGE_MS < MIN_PRUNED_AGE_MS
assert CALL_TIMEOUT_MS < TOMBSTONE_TTL_MS, "a slow load ends before its tombstone does"
assert MAX_TOKEN_BYTES + MAX_CURSOR_CHARS < MAX_HEADER_BYTES
assert OWN_WRITES_TIMEOUT_MS < SHUTDOWN_S * 1000
assert FLOORS_TIMEOUT_MS < CALL_TIMEOUT_MS, "a frozen PostgreSQL is not on the way to Redis"
assert CALL_TIMEOUT_MS * MAX_CALL_ATTEMPTS <= SHUTDOWN_S * 1000, "a call ends before its process"
assert CURSOR_BELIEVED_MS < JOURNAL_KEPT_BEHIND_CURSOR_MS
assert MAX_PARTITIONS <= 16**3, "a booking id spells its partition in three hex digits"
assert 60 % TICK_S == 0, "ticks come evenly over the minute"
assert TICK_S * 1000 + 500 < SLICE_MS, "a slice lasts until arq, polling each 500 ms, has the next"
assert MAX_DELIVERIES_PER_PLACE // MAX_SENT_AT_ONCE * WEBHOOK_TIMEOUT_MS < DELIVERY_LEASE_MS, (
    "what was claimed is tried before its lease ends, though its place hangs"
)
assert DELIVERY_MAX_BACK_OFF_MS < DELIVERY_GIVE_UP_MS < WEBHOOK_DISABLE_AFTER_MS
assert MAX_SWEPT_PER_PIECE >= MAX_EXPIRED_PER_CALL
