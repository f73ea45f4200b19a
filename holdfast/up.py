"""`holdfast up`: the whole system on one machine, for development, demonstrations and tests.

Starts what no URL names (Valkey, PostgreSQL, the payment gateway's simulator), brings the tables to
the newest version, starts the API and the worker, and watches them all. Stops in the reverse order,
so that each part finishes its work while what it needs is still there: requests, then payments and
the backlog, then the gateway and the servers.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from cryptography.fernet import Fernet
from prometheus_client import multiprocess

from engine.errors import Fenced
from engine.limits import SHUTDOWN_S
from engine.payments.limits import SAGA_PATIENCE_S
from engine.settings import Settings
from holdfast import dev_auth, door, first_start, gateway, logs, printed
from holdfast.embedded import postgres, process, valkey
from holdfast.embedded.process import Launch
from holdfast.settings import (
    EmbeddedSettings,
    development_settings,
    load_embedded_settings,
    settings_from,
)
from holdfast.stand_ins import validated
from holdfast.supervisor import Supervisor
from holdfast.system import DataDirectory, Pids, RunFile

REQUESTS_END_S: Final = SHUTDOWN_S + SAGA_PATIENCE_S + 5
"""More than the API gives requests in flight, and then the payments that outlive theirs."""
BACKLOG_DRAINS_S: Final = 40.0
SERVERS_END_S: Final = 60.0
GATEWAY_ENDS_S: Final = 15.0

_log = structlog.stdlib.get_logger("holdfast.up")


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What the command line says. `port` 0 picks a free one."""

    data: Path
    host: str
    port: int | None
    api_workers: int
    demo_sale: bool
    redis_url: str | None
    database_url: str | None


def run(options: UpOptions) -> int:
    """Run the system until a signal; returns the exit code.

    Raises:
        SettingsError: a setting is refused; nothing was started.
        AlreadyRunning: another `up` has the data directory.
        ServerFailed: something did not start; what had been started is stopped.
    """
    variables = development_settings()
    if options.redis_url:
        variables["HOLDFAST_REDIS_URL"] = options.redis_url
    if options.database_url:
        variables["HOLDFAST_DATABASE_URL"] = options.database_url
    embedded = load_embedded_settings()
    settings = validated(variables)
    on_terminal = "HOLDFAST_LOG_FORMAT" not in variables and sys.stderr.isatty()
    logs.configure(settings.log_level, "console" if on_terminal else settings.log_format)
    data = DataDirectory(options.data)
    data.make()
    lock = data.lock()
    try:
        with door.listen(options.host, options.port) as listener:
            return asyncio.run(Up(options, data, variables, embedded, listener).run())
    finally:
        os.close(lock)


class Up:
    """One run of the system."""

    def __init__(
        self,
        options: UpOptions,
        data: DataDirectory,
        variables: dict[str, str],
        embedded: EmbeddedSettings,
        listener: socket.socket,
    ) -> None:
        self._options = options
        self._data = data
        self._variables = variables
        """What the parts are told; grows while they are started."""
        self._embedded = embedded
        self._listener = listener
        self._url = door.url_of(listener)
        self._supervisor = Supervisor(on_end=self._forget_metrics)
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._tokens: dict[str, str | None] = {}
        self._metrics: Path | None = None

    async def run(self) -> int:
        """Start, watch until a signal, stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)
        # Not SIGHUP, which says that the terminal is gone.
        loop.add_signal_handler(signal.SIGUSR1, self._reload.set)
        self._data.run_file.unlink(missing_ok=True)
        watching: asyncio.Task[None] | None = None
        try:
            if await self._unless_stopped(self._start()):
                # Goes on while the parts are stopped: they still need each other.
                watching = asyncio.create_task(self._supervisor.watch(self._write_run_file))
                await self._unless_stopped(self._reload_whenever_asked(watching))
                if watching.done():
                    watching.result()
        finally:
            await self._end()
            if watching:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            self._data.run_file.unlink(missing_ok=True)
        _log.info("stopped_all")
        return 0

    async def _reload_whenever_asked(self, watching: asyncio.Task[None]) -> None:
        """Renew the API and the worker at each SIGUSR1, until the watch ends: it should not."""
        while not watching.done():
            asked = asyncio.create_task(self._reload.wait())
            await asyncio.wait((asked, watching), return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            if self._reload.is_set():
                self._reload.clear()
                await self._supervisor.renew("api", REQUESTS_END_S)
                await self._supervisor.renew("worker", BACKLOG_DRAINS_S)
                _log.info("reloaded")

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._supervisor.hurry = True
        self._stop.set()

    async def _unless_stopped(self, work: Coroutine[Any, Any, object]) -> bool:
        """Run to the end, or until a signal, which cancels it; whether it came to its end."""
        working = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if working.done():
            await working
            return True
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return False

    async def _start(self) -> None:
        await self._start_servers()
        self._arrange_auth()
        if "HOLDFAST_DATA_KEY" not in self._variables:
            self._variables["HOLDFAST_DATA_KEY"] = process.keep_secret(
                self._data.data_key, lambda: Fernet.generate_key().decode()
            )
        settings = settings_from(self._variables)
        self._data.write_settings(self._variables)
        await self._first_start(settings)
        await self._start_parts()
        log = self._data.logs / "api-0.log"
        ready = await door.wait_until_ready(self._url, self._supervisor.ensure_all_run, log)
        self._write_run_file()
        self._supervisor.changed = False
        printed.where_things_are(
            self._current(), self._data, demo_sale=self._options.demo_sale, ready=ready
        )

    async def _start_servers(self) -> None:
        """Start those that no URL names."""
        data, supervisor = self._data, self._supervisor
        if "HOLDFAST_REDIS_URL" not in self._variables:
            server = valkey.prepare(
                data.path / "valkey",
                data.logs / "valkey.log",
                maxmemory_bytes=self._embedded.valkey_maxmemory_bytes,
                binary=self._embedded.valkey_server,
            )
            await supervisor.start_server("redis", server)
            self._variables["HOLDFAST_REDIS_URL"] = server.url
            self._variables.setdefault("HOLDFAST_WATCH_DISK", str(data.path.absolute()))
        if "HOLDFAST_DATABASE_URL" not in self._variables:
            server = await asyncio.to_thread(
                postgres.prepare, data.path / "postgres", data.logs / "postgres.log"
            )
            await supervisor.start_server("postgres", server)
            self._variables["HOLDFAST_DATABASE_URL"] = server.url
        log = data.logs / "simulator.log"
        if simulator := gateway.arrange(data.path, log, self._url, self._variables):
            await supervisor.start_server("gateway", simulator)

    async def _first_start(self, settings: Settings) -> None:
        """Tables, partitions, the sale to try things on.

        A partition that is fenced does not keep the system from coming up: its operator needs it.
        """
        try:
            await first_start.prepare(settings)
            if self._options.demo_sale:
                await first_start.put_demo_sale(settings)
        except Fenced as fenced:
            _log.error("fenced", partition=fenced.partition, reason=fenced.reason)

    def _arrange_auth(self) -> None:
        """Trust the identity service that was named, or else the development key."""
        variables = self._variables
        issuer = variables.setdefault("HOLDFAST_JWT_ISSUER", dev_auth.ISSUER)
        audience = variables.setdefault("HOLDFAST_JWT_AUDIENCE", dev_auth.AUDIENCE)
        self._tokens = dict.fromkeys(("admin", "service", "customer"))
        if "HOLDFAST_JWKS_URL" in variables:
            return
        variables["HOLDFAST_JWKS_URL"] = dev_auth.keep_key(self._data.path).as_uri()
        key = dev_auth.read_key(self._data.path, issuer, audience)
        for who, subject, scope in dev_auth.RUN_TOKENS:
            self._tokens[who] = key.token(subject, scope, dev_auth.RUN_TOKEN_TTL_S)

    async def _start_parts(self) -> None:
        """Start the API's processes, on one socket, and the worker."""
        self._metrics = self._data.make_metrics()
        environment = {
            **os.environ,
            **self._variables,
            "PROMETHEUS_MULTIPROC_DIR": str(self._metrics),
        }
        ours = (sys.executable, "-m", "holdfast")
        descriptor = self._listener.fileno()
        for number in range(self._options.api_workers):
            launch = Launch(
                name=f"api-{number}",
                command=(*ours, "api", "--fd", str(descriptor)),
                log=self._data.logs / f"api-{number}.log",
                environment=environment,
                inherited_fds=(descriptor,),
            )
            await self._supervisor.start("api", launch)
        log = self._data.logs / "worker.log"
        await self._supervisor.start(
            "worker", Launch("worker", (*ours, "worker"), log, environment)
        )

    def _current(self) -> RunFile:
        pids = self._supervisor.pids
        return RunFile(
            url=self._url,
            redis_url=self._variables["HOLDFAST_REDIS_URL"],
            database_url=self._variables["HOLDFAST_DATABASE_URL"],
            gateway_url=gateway.url_of(self._variables),
            tokens=self._tokens,
            pids=Pids(
                up=os.getpid(),
                redis=next(iter(pids("redis")), None),
                postgres=next(iter(pids("postgres")), None),
                api=pids("api"),
                worker=pids("worker"),
                gateway=next(iter(pids("gateway")), None),
            ),
        )

    def _write_run_file(self) -> None:
        self._current().write(self._data.run_file)

    def _forget_metrics(self, pid: int) -> None:
        """Take the gauges of a process that has ended out of what /metrics adds up."""
        if self._metrics:
            multiprocess.mark_process_dead(pid, str(self._metrics))

    async def _end(self) -> None:
        """Stop what runs, from the door inwards."""
        supervisor = self._supervisor
        await supervisor.stop("api", REQUESTS_END_S, may_hurry=True)
        await supervisor.stop("worker", BACKLOG_DRAINS_S, may_hurry=True)
        await supervisor.stop("gateway", GATEWAY_ENDS_S)
        await supervisor.stop("postgres", SERVERS_END_S)
        await supervisor.stop("redis", SERVERS_END_S)
        if self._metrics:
            shutil.rmtree(self._metrics, ignore_errors=True)
