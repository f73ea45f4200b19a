"""What Locust loads: the buyers of the plan's scenario, in the plan's shape.

`python -m loadtests` starts it. On several machines: start `locust -f loadtests/locustfile.py
--master` with the same `HOLDFAST_LOADTEST` and `--worker` on each (docs/performance.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from locust import LoadTestShape, events

from loadtests.buyers import PLAN, USERS

# Locust takes the classes that it finds here, so there is one of each.
Buyers = type("Buyers", (USERS[PLAN.scenario],), {"abstract": False})


class PlannedShape(LoadTestShape):
    """As many users as the plan says at each moment."""

    def tick(self) -> tuple[int, float] | None:
        """How many users, and how many of them may come in a second."""
        users = PLAN.users_at(float(self.get_run_time()))  # type: ignore[no-untyped-call]
        return None if users is None else (users, float(max(PLAN.users, 1)))


def write_summary(environment: Any, **_: Any) -> None:
    """Write what was counted, by name, where the plan wants it."""
    stats = environment.stats
    counted = {
        name: {
            "count": entry.num_requests,
            "failures": entry.num_failures,
            "p50_ms": entry.get_response_time_percentile(0.5),
            "p99_ms": entry.get_response_time_percentile(0.99),
        }
        for (name, _method), entry in stats.entries.items()
    }
    Path(PLAN.summary).write_bytes(orjson.dumps(counted))


events.quitting.add_listener(write_summary)  # type: ignore[no-untyped-call]
