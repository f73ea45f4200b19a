"""Answers that are sent while they are made, so that their size does not matter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from api.call import NO_STORE, Context, Disconnected, headers_of
from engine.limits import EXPORT_STALL_MS


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer with status 200, piece by piece.

    What the first piece raises is still answered as a problem. After it, an answer that breaks off
    ends without its end: the reader's HTTP client tells it apart from a whole one.
    """

    pieces: AsyncGenerator[bytes, None]
    headers: Sequence[tuple[bytes, bytes]]
    content_type: bytes


async def send_stream(
    context: Context, scope: Scope, receive: Receive, send: Send, stream: Stream
) -> None:
    """Send it as fast as its reader takes it, and no longer than there is one.

    Raises:
        Disconnected: the reader went away, or took nothing for `EXPORT_STALL_MS`.
    """
    content_type = (b"content-type", stream.content_type)
    headers = headers_of(context, NO_STORE, [content_type, *stream.headers])
    async with aclosing(stream.pieces) as pieces:
        piece = await anext(pieces)
        context.status = 200
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] != "HEAD":
            gone = asyncio.create_task(_disconnected(receive))
            try:
                while piece:
                    await _send_piece(send, piece)
                    piece = await anext(pieces, b"")
                    if gone.done():
                        raise Disconnected
            finally:
                gone.cancel()
        await send({"type": "http.response.body", "body": b""})


async def _send_piece(send: Send, piece: bytes) -> None:
    try:
        async with asyncio.timeout(EXPORT_STALL_MS / 1000):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError:
        raise Disconnected from None


async def _disconnected(receive: Receive) -> None:
    """Until the caller is gone; a server does not tell by an error of `send`."""
    while (await receive())["type"] != "http.disconnect":
        pass
