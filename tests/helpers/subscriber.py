"""A subscriber that takes webhooks as the Standard Webhooks library says, or does worse."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks.webhooks import Webhook

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def fine(_request: web.Request) -> web.Response:
    """Take it."""
    return web.Response(text="thanks")


def status(code: int, **headers: str) -> Answer:
    """Answer with this status."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=code, text=f"no: {code}", headers=headers)

    return answer


def late(seconds: float) -> Answer:
    """Take it, and say so when nobody waits for it any more."""

    async def answer(_request: web.Request) -> web.Response:
        await asyncio.sleep(seconds)
        return web.Response(text="sorry")

    return answer


async def hang(_request: web.Request) -> web.Response:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


@dataclass
class Subscriber:
    """A server on loopback. `answer` is how it behaves at the moment."""

    url: str = ""
    secrets: list[str] = field(default_factory=list)
    """With any of them a delivery has to verify."""
    answer: Answer = fine
    taken: list[dict[str, Any]] = field(default_factory=list)
    """Events that were answered with success, in order."""
    seen: list[str] = field(default_factory=list)
    """The ids of all that were sent, in order."""
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Verify and answer."""
        body = await request.read()
        event: dict[str, Any] = {}
        for secret in self.secrets:
            event = Webhook(secret).verify(body, dict(request.headers))
        assert request.content_type == "application/cloudevents+json"
        assert not self.secrets or request.headers["webhook-id"] == event["id"]
        self.seen.append(request.headers["webhook-id"])
        answer = await self.answer(request)
        if answer.status < 300:
            self.taken.append(event)
        async with self._news:
            self._news.notify_all()
        return answer

    async def until(self, reached: Callable[[], bool], *, seconds: float = 30) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(reached)

    def by_subject(self) -> dict[str, list[int]]:
        """The sequences taken, without what came twice, by subject and in the order they came."""
        found: dict[str, list[int]] = defaultdict(list)
        for event in self.taken:
            if event["sequence"] not in found[event["subject"]]:
                found[event["subject"]].append(event["sequence"])
        return dict(found)


@asynccontextmanager
async def subscriber(port: int = 0) -> AsyncIterator[Subscriber]:
    """A subscriber that takes everything."""
    one = Subscriber()
    app = web.Application()
    app.router.add_post("/{rest:.*}", one.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        assert site._server
        found = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        one.url = f"http://127.0.0.1:{found}/hook"
        yield one
    finally:
        await runner.cleanup()
