"""What handlers work with: one set a process, built by `api.app`."""

from __future__ import annotations

from api.auth import Verifier
from api.availability import SharedReads
from api.readiness import Looks
from engine.crypto import Vault
from engine.engine import Engine
from engine.errors import SettingsError, Unavailable
from engine.keys import Keys
from engine.payments.cashier import Cashier
from engine.payments.gateway import Gateway
from engine.payments.settings import PaymentSettings
from engine.settings import Settings
from engine.types import Availability
from persistence.endpoints import Endpoints
from persistence.reads import Reads
from persistence.reports import Reports


class Parts:
    """The parts of the process that answer requests."""

    def __init__(
        self, settings: Settings, payments: PaymentSettings, verifier: Verifier, openapi: bytes
    ) -> None:
        self.settings = settings
        self.payments = payments
        self.verifier = verifier
        self.openapi = openapi
        self.keys = Keys(settings.partitions)
        self.availability = SharedReads(self._availability, settings.availability_staleness_ms)
        self.looks = Looks(self)
        self.opened: Engine | None = None
        """None until Redis has answered for the first time."""
        self.opened_gateway: Gateway | None = None
        self.opened_cashier: Cashier | None = None
        self.opened_reads: Reads | None = None
        self.opened_endpoints: Endpoints | None = None
        self.opened_reports: Reports | None = None
        self.vault = Vault(settings.data_key)
        self.exports = 0
        """How many are being sent at this moment."""
        self.refused: SettingsError | None = None
        """Why the start was given up."""

    @property
    def engine(self) -> Engine:
        """The engine. Raises `Unavailable` while Redis has not answered yet."""
        if self.opened is None:
            raise Unavailable("Redis has not answered since this process started")
        return self.opened

    @property
    def gateway(self) -> Gateway:
        """The payment gateway."""
        if self.opened_gateway is None:
            raise Unavailable("this process is starting")
        return self.opened_gateway

    @property
    def cashier(self) -> Cashier:
        """Who takes pay requests. Raises `Unavailable` while Redis has not answered yet."""
        if self.opened_cashier is None:
            raise Unavailable("Redis has not answered since this process started")
        return self.opened_cashier

    @property
    def reads(self) -> Reads:
        """What is read from PostgreSQL."""
        if self.opened_reads is None:
            raise Unavailable("this process is starting")
        return self.opened_reads

    @property
    def endpoints(self) -> Endpoints:
        """Webhook endpoints and the log of deliveries."""
        if self.opened_endpoints is None:
            raise Unavailable("this process is starting")
        return self.opened_endpoints

    @property
    def reports(self) -> Reports:
        """Reports from PostgreSQL."""
        if self.opened_reports is None:
            raise Unavailable("this process is starting")
        return self.opened_reports

    async def _availability(self, sale_id: str) -> Availability | None:
        return await self.engine.sales.availability(sale_id)
