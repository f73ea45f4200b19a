"""What the API is compared with: an empty endpoint, bare and through Starlette.

`python -m holdfast.bench.echo FD FD` serves both on one event loop, each on an inherited listening
socket, by the same uvicorn settings as the API. Both read a JSON body and answer with it.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import orjson
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.serve import make_server


async def bare(_scope: Scope, receive: Receive, send: Send) -> None:
    """The least that answers."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    answer = orjson.dumps(orjson.loads(body))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


async def _echo(request: Request) -> JSONResponse:
    return JSONResponse(await request.json())


async def _serve(descriptors: list[int]) -> None:
    apps: tuple[ASGIApp, ...] = (
        bare,
        Starlette(routes=[Route("/echo", _echo, methods=["POST"])]),
    )
    await asyncio.gather(
        *(
            make_server(app, lifespan=False, protocol="httptools").serve(
                [socket.socket(fileno=descriptor)]
            )
            for app, descriptor in zip(apps, descriptors, strict=True)
        )
    )


if __name__ == "__main__":
    uvloop.run(_serve([int(word) for word in sys.argv[1:]]))
