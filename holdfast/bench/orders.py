"""What the bench asks of its load process, and what it is told: one JSON object a line each way."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson

SALE: Final = "bench"
SOLD_OUT: Final = "bench-sold-out"
ITEM: Final = "seat"
BODY: Final = orjson.dumps({"sale_id": SALE, "lines": [{"item_id": ITEM, "quantity": 1}]})
"""What a buyer posts; the echoes and the conventional service get the same bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A stretch of load.

    `work` names a flow of `holdfast.bench.flows`, or `engine` and `raw`. With `per_s` the requests
    are sent on a schedule (an open loop), without it each connection sends its next one when it has
    its answer (a closed loop). `calls` bounds `engine` and `raw`, `seconds` everything else.
    """

    work: str
    url: str
    path: str = ""
    connections: int = 64
    seconds: float = 3.0
    lead_s: float = 0.0
    """The load lasts so much longer, and what is due in its beginning is not counted."""
    per_s: float = 0.0
    calls: int = 0
    subject: str = ""
    """The customers are called so, with a number: others for every stretch."""
    customers: int = 0
    data: str = ""
    """The data directory of the system: whose key signs the customers' tokens."""

    def line(self) -> bytes:
        """As it is sent."""
        return orjson.dumps(asdict(self)) + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Order:
        """Read what `line` wrote."""
        return cls(**orjson.loads(line))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What came of an order.

    Latencies are of the flow's last request where its answer was the wanted one, from when it was
    due to be sent. `load_share` is the processor time of the load's process, in processors.
    """

    seconds: float
    done: int
    """Flows that ended as wanted inside the window."""
    answers: dict[str, int] = field(default_factory=dict)
    """Answers by status, of all requests in the window; `lost` are connections that ended."""
    failed: int = 0
    """Flows that ended otherwise."""
    sent: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    shed_p99_ms: float = 0.0
    """The same of answers with status 503."""
    load_share: float = 0.0
    shares: dict[str, float] = field(default_factory=dict)
    """Processor time of the parts of the system meanwhile, in processors."""

    @property
    def per_s(self) -> float:
        """Flows that ended as wanted, by the second."""
        return self.done / self.seconds

    def line(self) -> bytes:
        """As it is sent."""
        return orjson.dumps(asdict(self)) + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Measured:
        """Read what `line` wrote."""
        fields: dict[str, Any] = orjson.loads(line)
        return cls(**fields)


def percentile(ordered: list[float], percent: float) -> float:
    """The value that so many percent do not exceed; 0 where there is none."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
