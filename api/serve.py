"""Runs the API process: uvicorn with uvloop and httptools, on a port or on an inherited socket."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Iterator
from types import FrameType
from typing import Final, Literal

import uvicorn
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import create_app
from api.metrics import metrics_text
from api.parts import Parts
from api.protocol import HttpProtocol
from engine.limits import GC_THRESHOLD, KEEP_ALIVE_S, MAX_CONNECTIONS_WAITING, SHUTDOWN_S
from engine.payments.settings import load_payment_settings
from engine.settings import Settings

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class _Server(uvicorn.Server):
    """A server that leaves signals to `_run`, which may run two of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def make_server(
    app: ASGIApp,
    *,
    lifespan: bool,
    protocol: type[asyncio.Protocol] | Literal["httptools"] = HttpProtocol,
) -> uvicorn.Server:
    """A server for an application: uvloop and httptools, and nothing written for each request."""
    return _Server(
        uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="on" if lifespan else "off",
            # The application writes its own line for each request; the front door sets up logs.
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=SHUTDOWN_S,
            backlog=MAX_CONNECTIONS_WAITING,
        )
    )


def serve(settings: Settings, host: str, port: int, fd: int | None = None) -> None:
    """Serve until SIGINT or SIGTERM, finish what is in flight, and return.

    Args:
        host, port: where to listen.
        fd: an inherited listening socket to accept from instead; several processes may.

    Raises:
        SettingsError: a setting is refused.
        SystemExit: the application could not start; the reason is logged.
        OSError: the address cannot be listened on.
    """
    app = create_app(settings, load_payment_settings())
    listening = socket.socket(fileno=fd) if fd is not None else _listen(host, port)
    with listening:
        # What is there now stays: never looked at again. And ten thousand requests in flight are a
        # million objects, none of which is garbage, that need not be looked at again and again.
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 10, 10)
        try:
            uvloop.run(_run(app, settings.metrics_port, listening))
        except SystemExit:
            parts: Parts = app.state.parts
            if parts.refused is not None:
                raise parts.refused from None
            raise


def _listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return listening


async def _run(app: ASGIApp, metrics_port: int | None, listening: socket.socket) -> None:
    servers = [(make_server(app, lifespan=True), listening)]
    with contextlib.ExitStack() as opened:
        if metrics_port is not None:
            # Every API process of the host listens there; each can answer for all of them.
            host = listening.getsockname()[0]
            shared = opened.enter_context(_listen(host, metrics_port, shared=True))
            servers.append((make_server(metrics_app, lifespan=False), shared))

        def stop(_number: int, _frame: FrameType | None) -> None:
            for server, _ in servers:
                # A second signal is a second wish: what is in flight is dropped.
                server.force_exit = server.should_exit
                server.should_exit = True

        before = {number: signal.signal(number, stop) for number in _SIGNALS}
        try:
            await asyncio.gather(*(server.serve([at]) for server, at in servers))
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


async def metrics_app(scope: Scope, _: Receive, send: Send) -> None:
    """What the separate port serves."""
    found = scope["path"] == "/metrics"
    body, kind = await metrics_text() if found else (b"", b"text/plain")
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200 if found else 404, "headers": headers})
    await send({"type": "http.response.body", "body": body})
