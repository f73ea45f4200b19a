"""Tasks are ended for good, also one that loses a cancellation."""

from __future__ import annotations

import asyncio

import pytest

from engine import tasks
from engine.tasks import end_tasks


async def test_a_task_that_loses_its_first_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_S", 0.01)
    lost = 0

    async def deaf_once() -> None:
        nonlocal lost
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost += 1
        await asyncio.Event().wait()

    task = asyncio.create_task(deaf_once())
    await asyncio.sleep(0)
    await end_tasks((task,))
    assert task.cancelled()
    assert lost == 1


async def test_what_a_task_raises_or_returns_while_it_ends_is_let_be() -> None:
    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while it cleaned up")

    async def returned() -> int:
        return 1

    failing, done = asyncio.create_task(fails()), asyncio.create_task(returned())
    await asyncio.sleep(0)
    await end_tasks((failing, done))
    assert isinstance(failing.exception(), ValueError)
    assert done.result() == 1
    await end_tasks(())
