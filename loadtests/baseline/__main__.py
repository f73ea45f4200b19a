"""`python -m loadtests.baseline FD URL`: serves the conventional service on an inherited socket.

URL names a PostgreSQL database that it may fill; it makes its tables anew.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
import uvloop
from starlette.applications import Starlette

from loadtests.baseline.service import Shop


async def _serve(descriptor: int, url: str) -> None:
    shop = Shop(url)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with shop.opened():
            yield

    app = Starlette(routes=shop.routes(), lifespan=lifespan)
    # As the API is served: uvloop, httptools, no line for each request.
    config = uvicorn.Config(
        app, http="httptools", ws="none", access_log=False, log_config=None, lifespan="on"
    )
    await uvicorn.Server(config).serve([socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), sys.argv[2]))
