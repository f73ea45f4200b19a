"""Bounds of what is said to a payment gateway and of what is believed from it."""

from __future__ import annotations

from typing import Final

from engine.limits import MIN_PRUNED_AGE_MS

MAX_GATEWAY_CONNECTIONS: Final = 100
"""Connections of one process to the gateway; a call that gets none waits within its time-out."""
GATEWAY_CONNECT_TIMEOUT_MS: Final = 5_000
GATEWAY_PAGE_ROWS: Final = 100
"""The most that Stripe lists at once."""
MAX_WEBHOOK_BYTES: Final = 256 * 1024
MAX_DECLINE_CODE_CHARS: Final = 100
"""Of the gateway's word for why it refused; the rest is cut off."""
WEBHOOK_TOLERANCE_MS: Final = 5 * 60 * 1000
"""Age from which a signed webhook is taken for a replay; Stripe signs anew each time it sends."""

# How long a payment may take, and who may speak for it.
MAX_PAYMENT_ATTEMPTS: Final = 3
GATEWAY_TIMEOUT_MS: Final = 10_000
PAYMENT_LEASE_MS: Final = 30_000
PAYMENT_GRACE_MS: Final = 120_000
"""How much longer than its deadline a hold lives while its payment is open; once a booking."""
PAYMENT_POLL_MS: Final = 2_000
MIN_PAYMENT_RETRY_MS: Final = 1_000
MAX_PAYMENT_RETRY_MS: Final = 5 * 60 * 1000
GATEWAY_KEY_LIFETIME_MS: Final = 23 * 3600 * 1000
"""Stripe forgets an idempotency key after 24 hours at the earliest."""
WEBHOOK_MARK_TTL_MS: Final = 7 * 24 * 3600 * 1000
PAY_DEADLINE_MS: Final = 10_000
PAYMENT_STUCK_MS: Final = 60_000
"""Age from which an open step is shown to operators."""
MAX_OPEN_PAYMENTS_COUNTED: Final = 10_000
"""Open payments of a partition that the worker's metric looks through, at the most."""
SAGA_PATIENCE_S: Final = 15.0
"""How long a process that stops waits for its payments; a worker takes over what is left."""


# The worker's part.
MAX_PAYMENTS_AT_ONCE: Final = 16
RECOVERY_IDLE_MIN_MS: Final = 20
RECOVERY_IDLE_MAX_MS: Final = 100
"""What a cancel, a refund or a webhook waits for a worker, at the most."""
STUCK_INTERVAL_MS: Final = 5_000
OPEN_PAYMENTS_PAGE: Final = 500
MAX_STUCK_LOOKS: Final = 64
"""Pages of open payments that one request looks through for stuck ones."""

# The reconciler.
RECONCILE_INTERVAL_MS: Final = 5_000
RECONCILER_MARGIN_MS: Final = 30_000
"""What the gateway's clock and ours may be apart, beside the longest that a request can take."""
RECONCILER_OVERLAP_MS: Final = 30_000
"""How far a window reaches back into the one before."""
RECONCILER_WINDOW_MS: Final = 3600 * 1000
RECONCILER_LOOK_BACK_MS: Final = 26 * 3600 * 1000
"""Where it begins when nobody says how far it was."""
MAX_UNSETTLED_CHARGES: Final = 10_000
"""Charges it keeps an eye on; with more it waits before it lists on."""
UNSETTLED_PAGE: Final = 50

assert RECONCILER_LOOK_BACK_MS < MIN_PRUNED_AGE_MS, "its captures are still in the journal"
assert RECONCILER_LOOK_BACK_MS > GATEWAY_KEY_LIFETIME_MS, "no request can be older"
assert RECOVERY_IDLE_MAX_MS <= 100, "an operator's refund does not wait noticeably"
assert PAYMENT_LEASE_MS > 2 * GATEWAY_TIMEOUT_MS, "authorize and capture fit in one lease"
assert PAYMENT_GRACE_MS > PAYMENT_LEASE_MS, "a crashed owner's payment is picked up in time"
