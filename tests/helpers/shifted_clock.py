"""Runs a `holdfast` command on a host whose clock is wrong.

    python -m tests.helpers.shifted_clock SECONDS COMMAND …

What Python tells of the time of day is moved before anything else is imported; the monotonic clock
is not, nor is any server's.
"""

from __future__ import annotations

import datetime as dt
import sys
import time


def shift(ahead_s: int) -> None:
    """Move this process's time of day."""
    delta = dt.timedelta(seconds=ahead_s)
    real_s, real_ns, real = time.time, time.time_ns, dt.datetime

    class Shifted(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Shifted:
            at = real.now(tz) + delta
            return cls.combine(at.date(), at.timetz())

    time.time = lambda: real_s() + ahead_s
    time.time_ns = lambda: real_ns() + ahead_s * 1_000_000_000
    dt.datetime = Shifted  # type: ignore[misc]


def shifted(ahead_s: int, *command: str) -> tuple[str, ...]:
    """The command line."""
    return (sys.executable, "-m", "tests.helpers.shifted_clock", str(ahead_s), *command)


if __name__ == "__main__":
    shift(int(sys.argv[1]))
    from holdfast.cli import main

    sys.exit(main(sys.argv[2:]))
