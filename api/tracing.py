"""W3C Trace Context, level 1: takes part in the caller's trace, or begins one."""

from __future__ import annotations

import re
from os import urandom
from typing import Final

_TRACEPARENT: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?"
)


def continue_trace(traceparent: bytes | None) -> str:
    """A traceparent of ours: the caller's trace id and flags where it sent sound ones.

    A version above 00 may carry more fields, which are not passed on; version 00 may not.
    """
    fresh = urandom(24).hex()
    span_id, trace_id = fresh[:16], fresh[16:]
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if found and (found[1] != b"00" or not found[4]):
        sampled = int(found[3], 16) & 1
        return f"00-{found[2].decode()}-{span_id}-{sampled:02x}"
    return f"00-{trace_id}-{span_id}-00"
