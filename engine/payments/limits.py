"""Bounds of what is said to a payment gateway and of what is believed from it."""

from __future__ import annotations

from typing import Final

MAX_GATEWAY_CONNECTIONS: Final = 100
"""Connections of one process to the gateway; a call that gets none waits within its time-out."""
GATEWAY_CONNECT_TIMEOUT_MS: Final = 5_000
GATEWAY_PAGE_ROWS: Final = 100
"""The most that Stripe lists at once."""
MAX_WEBHOOK_BYTES: Final = 256 * 1024
WEBHOOK_TOLERANCE_MS: Final = 5 * 60 * 1000
"""Age from which a signed webhook is taken for a replay; Stripe signs anew each time it sends."""
