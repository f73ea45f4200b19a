"""Payment gateways for tests: the simulator and localstripe, and the adapter to them."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

import aiohttp
from aiohttp import web

from engine.payments.gateway import Intent, Reference
from engine.payments.settings import INSTALLATION, PaymentSettings
from engine.payments.stripe import StripeGateway
from engine.payments.stripe_objects import metadata_of
from holdfast.embedded import process
from tests.helpers.commands import Forked
from tests.helpers.servers import RunningServer, clean_environment, holdfast, wait_for

API_KEY: Final = "sk_test_simulator"
WEBHOOK_SECRET: Final = "whsec_for_tests_only"
BOOKING: Final = "00f01JDC6W2Q9R0S1T2V3W4X5Y6Z7"
NOWHERE: Final = "http://127.0.0.1:1"
"""The address of a gateway for those who never pay."""

# As `localstripe` itself, but on loopback alone, and without a pickle of its state in /tmp.
_LOCALSTRIPE: Final = """
import sys
from aiohttp import web
from localstripe import resources
resources.Store.dump_to_disk = lambda self: None
from localstripe.server import app
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""


def _answers(url: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        if not url:
            return True
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    return False


class Simulator(RunningServer):
    """The payment gateway simulator, which a test may kill and start again on its data."""

    def __init__(self, directory: Path, variables: Mapping[str, str] | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        port = process.free_port()
        url = f"http://127.0.0.1:{port}"
        launch = process.Launch(
            name="simulator",
            command=holdfast("simulator", "--data", str(directory), "--port", str(port)),
            log=directory / "simulator.log",
            environment=clean_environment(
                {f"HOLDFAST_SIMULATOR_{name}": value for name, value in (variables or {}).items()}
            ),
        )
        health = f"{url}/_simulator/health"
        super().__init__(process.Server(launch, url, lambda: _answers(health, port)))

    def start(self) -> None:
        """Start it: on its data, which it has from before or not. Waits until it answers."""
        launch = self.server.launch
        arguments = launch.command[len(holdfast()) :]
        child = Forked(arguments, launch.environment, (launch.log, launch.log))
        self.child = cast("subprocess.Popen[bytes]", child)
        wait_for(self._is_ready, "the simulator to answer", 60)

    def _is_ready(self) -> bool:
        assert self.child.poll() is None, process.last_words(self.server.launch.log)
        return self.server.is_ready()

    def totals(self) -> dict[str, int]:
        """The referee's counts."""
        found: dict[str, int] = self._ask("GET", "totals")
        return found

    def charges(self) -> list[dict[str, Any]]:
        """Every charge it made."""
        found: list[dict[str, Any]] = self._ask("GET", "charges")["charges"]
        return found

    def faults(self, **changes: float) -> None:
        """Change what goes wrong from now on."""
        self._ask("PATCH", "settings", changes)

    def _ask(self, method: str, name: str, body: object = None) -> Any:
        request = urllib.request.Request(
            f"{self.url}/_simulator/{name}", None if body is None else json.dumps(body).encode()
        )
        request.method = method
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


class LocalStripe(RunningServer):
    """localstripe: a Stripe that nobody here wrote."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        port = process.free_port()
        launch = process.Launch(
            name="localstripe",
            command=(sys.executable, "-c", _LOCALSTRIPE, str(port)),
            log=directory / "localstripe.log",
            environment=clean_environment(),
        )
        url = f"http://127.0.0.1:{port}"
        super().__init__(process.Server(launch, url, lambda: _answers("", port)))


def payment_settings(api_base: str = NOWHERE, **changes: Any) -> PaymentSettings:
    """Settings that reach a gateway on this host."""
    terms: dict[str, Any] = {
        "stripe_api_key": API_KEY,
        "stripe_api_base": api_base,
        "stripe_webhook_secret": WEBHOOK_SECRET,
        **changes,
    }
    return PaymentSettings(_env_file=None, **terms)


def payment_variables(settings: PaymentSettings) -> dict[str, str]:
    """The same for a process of its own."""
    secrets = (secret.get_secret_value() for secret in settings.stripe_webhook_secret)
    return {
        "HOLDFAST_GATEWAY": settings.gateway,
        "HOLDFAST_STRIPE_API_BASE": settings.stripe_api_base,
        "HOLDFAST_STRIPE_API_KEY": settings.stripe_api_key.get_secret_value(),
        "HOLDFAST_STRIPE_WEBHOOK_SECRET": ",".join(secrets),
        "HOLDFAST_GATEWAY_TIMEOUT_MS": str(settings.gateway_timeout_ms),
        "HOLDFAST_PAYMENT_GRACE_MS": str(settings.payment_grace_ms),
        "HOLDFAST_PAY_DEADLINE_MS": str(settings.pay_deadline_ms),
    }


@contextlib.asynccontextmanager
async def adapter(api_base: str, **changes: Any) -> AsyncIterator[StripeGateway]:
    """The Stripe adapter, connected to a gateway on this host."""
    gateway = await StripeGateway.open(payment_settings(api_base, **changes))
    try:
        yield gateway
    finally:
        await gateway.close()


def an_intent(
    payment_method: str = "pm_card_visa",
    *,
    amount: int = 1250,
    currency: str = "USD",
    attempt: int = 1,
    booking_id: str = BOOKING,
    return_url: str | None = None,
) -> Intent:
    """What a booking's attempt asks for."""
    return Intent(Reference(booking_id, attempt), amount, currency, payment_method, return_url)


class Receiver:
    """Receives webhooks: keeps what came, and answers what it is told to (200, else)."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, dict[str, str]]] = []
        self.answers: list[int] = []
        self.url = ""

    @property
    def types(self) -> list[str]:
        """The types of the events that came, in their order."""
        return [json.loads(body)["type"] for body, _ in self.received]

    @property
    def ids(self) -> list[str]:
        """The ids of the events that came, in their order."""
        return [json.loads(body)["id"] for body, _ in self.received]

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.received.append((body, {name.lower(): text for name, text in request.headers.items()}))
        return web.Response(status=self.answers.pop(0) if self.answers else 200)

    @contextlib.asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[Receiver]:
        """Listen on loopback for as long as the block lasts."""
        application = web.Application()
        application.router.add_post("/webhook", self._take)
        async with listening(application, port) as url:
            self.url = f"{url}/webhook"
            yield self


@contextlib.asynccontextmanager
async def listening(application: web.Application, port: int = 0) -> AsyncIterator[str]:
    """Serve an application on loopback; yields its address."""
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def payments_of(direct: aiohttp.ClientSession, reference: Reference) -> list[dict[str, Any]]:
    """The payments that localstripe has of an attempt."""
    async with direct.get("/v1/payment_intents", params={"limit": "1000"}) as answer:
        rows: list[dict[str, Any]] = (await answer.json())["data"]
    wanted = metadata_of(reference, INSTALLATION)
    return [row for row in rows if row["metadata"] == wanted]
