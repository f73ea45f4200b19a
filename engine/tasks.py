"""Ending tasks that would not end by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

CANCEL_AGAIN_S: Final = 3.0
"""What a task has to clean up in, before it is told again; longer than arq's jobs take to end."""


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they have ended, and let what they raise be.

    Once is not enough: in Python 3.11 a wait with a time-out (redis-py's, asyncpg's) may lose the
    cancellation that comes in the moment of its answer (https://bugs.python.org/issue37658), and
    the task goes on for ever.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
        for task in ended:
            if not task.cancelled():
                task.exception()
