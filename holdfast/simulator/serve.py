"""Runs the simulator: one process, one file, on a port of this host."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from engine.tasks import end_tasks
from holdfast.embedded.process import ServerFailed
from holdfast.simulator.api import AnswerLost, Api
from holdfast.simulator.authentication import AuthenticationPage
from holdfast.simulator.control import Control
from holdfast.simulator.deliverer import Deliverer
from holdfast.simulator.events import Events, now_ms
from holdfast.simulator.records import Endpoint
from holdfast.simulator.settings import SimulatorSettings
from holdfast.simulator.store import Store

FILE: Final = "simulator.sqlite3"
SHUTDOWN_S: Final = 5
KEEP_ALIVE_S: Final = 75
"""Longer than clients keep idle connections: a close of ours would cross with their next request,
whose outcome they could not know."""
_SETTINGS_ENDPOINT: Final = "we_settings"


class _CutableProtocol(HttpToolsProtocol):
    """Hands each request its connection, so that an answer can be lost: ASGI always answers."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


class _Server(uvicorn.Server):
    """A server that leaves signals to `_serve`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def create_app(settings: SimulatorSettings, store: Store) -> Starlette:
    """Build the application on an open store."""
    events = Events(store, settings.faults)
    deliverer = Deliverer(events)
    api = Api(store, events, deliverer, settings)
    _keep_endpoint(store, settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        delivering = asyncio.create_task(deliverer.run())
        yield
        await end_tasks((delivering,))

    return Starlette(
        routes=[
            *api.routes(),
            *Control(store, events, deliverer).routes(),
            *AuthenticationPage(store, deliverer, api.context).routes(),
        ],
        exception_handlers={AnswerLost: _cut, 404: _unrecognized, 405: _unrecognized},
        lifespan=lifespan,
    )


def run(settings: SimulatorSettings, host: str, port: int, directory: Path) -> None:
    """Serve until SIGINT or SIGTERM. Prints its address once it can be reached.

    Args:
        settings: what it is told; see `holdfast.simulator.settings`.
        host, port: where to listen; port 0 takes a free one.
        directory: where its file is, made if need be.

    Raises:
        Busy: another simulator runs on the directory.
        ServerFailed: the address cannot be listened on.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = Store(directory / FILE)
    with contextlib.closing(store), _listen(host, port) as listening:
        server = _Server(
            uvicorn.Config(
                create_app(settings, store),
                http=_CutableProtocol,
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=SHUTDOWN_S,
            )
        )
        address = f"[{host}]" if ":" in host else host
        print(f"simulator: http://{address}:{listening.getsockname()[1]}", flush=True)
        uvloop.run(_serve(server, listening))


async def _serve(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until a signal comes; then end as one who was asked to, not as one who was killed."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    await server.serve(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """Listen before anything is printed: who reads the address may connect at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise ServerFailed(f"simulator: cannot listen on {host}:{port} ({error})") from None
    listening.setblocking(False)
    return listening


def _keep_endpoint(store: Store, settings: SimulatorSettings) -> None:
    """Make the endpoint that the settings name, or change it, or forget it."""
    with store.transaction():
        if settings.webhook_url is None or settings.webhook_secret is None:
            store.remove(_SETTINGS_ENDPOINT)
            return
        secret = settings.webhook_secret.get_secret_value()
        store.put(Endpoint(_SETTINGS_ENDPOINT, now_ms(), settings.webhook_url, secret))


async def _cut(request: Request, _: Exception) -> Response:
    """Lose an answer: cut the connection, and let the server see that it is gone."""
    request.state.transport.abort()
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response()


async def _unrecognized(request: Request, _: Exception) -> Response:
    message = f"Unrecognized request URL ({request.method}: {request.url.path})."
    return JSONResponse({"error": {"type": "invalid_request_error", "message": message}}, 404)
