"""The bench's load, as a process of its own: `python -m holdfast.bench.load`.

It shares no event loop with what it measures. An order is a line on stdin, what came of it a line
on stdout; it ends with its stdin.
"""

from __future__ import annotations

import resource
import sys

import uvloop

from holdfast.bench import script_load
from holdfast.bench.http_load import HttpLoad
from holdfast.bench.orders import Measured, Order


async def carry_out(order: Order) -> Measured:
    """Do what an order says."""
    match order.work:
        case "engine":
            return await script_load.engine(order)
        case "raw":
            return await script_load.raw(order)
        case _:
            return await HttpLoad(order).run()


def main() -> None:
    """Carry out one order after the other."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for line in sys.stdin.buffer:
        measured = uvloop.run(carry_out(Order.read(line)))
        sys.stdout.buffer.write(measured.line())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
