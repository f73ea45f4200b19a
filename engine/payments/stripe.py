"""The gateway's protocol spoken to Stripe, or to what speaks its API, by Stripe's own library.

One PaymentIntent per attempt, created and confirmed in one request with manual capture. The
library is told not to retry: whether, when and under which key is the saga's decision.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import cast

import aiohttp
import stripe
from stripe.params import (
    PaymentIntentCreateParams,
    PaymentIntentListParams,
    RefundCreateParams,
)

from engine.payments import stripe_answers as answers
from engine.payments import stripe_webhooks
from engine.payments.gateway import (
    Authorization,
    Captured,
    Failed,
    GatewayEvent,
    GatewayStatus,
    Intent,
    Missing,
    Page,
    Payment,
    Reference,
    Refunded,
    Rejection,
    Step,
    Unknown,
    Voided,
    idempotency_key,
)
from engine.payments.limits import (
    GATEWAY_CONNECT_TIMEOUT_MS,
    GATEWAY_PAGE_ROWS,
    MAX_GATEWAY_CONNECTIONS,
)
from engine.payments.settings import PaymentSettings
from engine.payments.stripe_amounts import NotRepresentable, to_stripe
from engine.payments.stripe_objects import (
    Json,
    authorization_of,
    creation_of,
    metadata_of,
)


class StripeGateway:
    """Implements `engine.payments.gateway.Gateway`. Made by `open`, in the loop that uses it."""

    def __init__(
        self, client: stripe.StripeClient, http: stripe.HTTPClient, settings: PaymentSettings
    ) -> None:
        self._client = client
        self._http = http
        self._name = settings.gateway
        self._installation = settings.installation
        self._secrets = [secret.get_secret_value() for secret in settings.stripe_webhook_secret]

    @classmethod
    async def open(cls, settings: PaymentSettings) -> StripeGateway:
        """Prepare the client; no connection is made before the first call."""
        # Otherwise the library writes an id below $HOME and reports timings of earlier requests.
        stripe.enable_telemetry = False
        connector = aiohttp.TCPConnector(
            limit=MAX_GATEWAY_CONNECTIONS,
            ssl=ssl.create_default_context(cafile=stripe.ca_bundle_path),
        )
        timeout_s = settings.gateway_timeout_ms / 1000
        http = stripe.AIOHTTPClient(
            timeout=aiohttp.ClientTimeout(
                total=timeout_s, sock_connect=min(timeout_s, GATEWAY_CONNECT_TIMEOUT_MS / 1000)
            ),
            connector=connector,
        )
        client = stripe.StripeClient(
            settings.stripe_api_key.get_secret_value(),
            base_addresses={"api": settings.stripe_api_base.rstrip("/")},
            http_client=http,
            max_network_retries=0,
        )
        return cls(client, http, settings)

    @property
    def name(self) -> str:
        """`stripe` or `simulator`."""
        return self._name

    async def authorize(self, intent: Intent) -> Authorization:
        """Create and confirm the attempt's PaymentIntent."""
        try:
            parameters = creation_of(intent, self._installation)
        except NotRepresentable:
            return Failed("amount_not_representable")
        answer = await answers.ask(
            self._client.v1.payment_intents.create_async(
                cast(PaymentIntentCreateParams, parameters),
                _keyed(intent.reference, Step.AUTHORIZE),
            )
        )
        if not isinstance(answer, Mapping):
            return answer
        payment = answers.read_payment(answer, self._installation)
        return payment if isinstance(payment, Unknown) else authorization_of(payment)

    async def capture(self, intent: Intent, authorization_id: str) -> Captured | Failed | Unknown:
        """Take the whole amount. Refused, the payment is looked at: it may be captured already."""
        answer = await answers.ask(
            self._client.v1.payment_intents.capture_async(
                authorization_id,
                {
                    "amount_to_capture": to_stripe(intent.amount, intent.currency),
                    "expand": ["latest_charge"],
                },
                _keyed(intent.reference, Step.CAPTURE),
            )
        )
        payment = await self._after(answer, authorization_id)
        if not isinstance(payment, Payment):
            return payment
        if (
            payment.status in {GatewayStatus.CAPTURED, GatewayStatus.REFUNDED}
            and payment.capture_id
        ):
            return Captured(
                payment.authorization_id,
                payment.capture_id,
                payment.amount_captured,
                payment.currency,
            )
        return answers.refused(answer, payment)

    async def void(self, reference: Reference, authorization_id: str) -> Voided | Failed | Unknown:
        """Cancel the PaymentIntent. Refused, it is looked at: it may be cancelled already."""
        answer = await answers.ask(
            self._client.v1.payment_intents.cancel_async(
                authorization_id, {"expand": ["latest_charge"]}, _keyed(reference, Step.VOID)
            )
        )
        payment = await self._after(answer, authorization_id)
        if not isinstance(payment, Payment):
            return payment
        if payment.status is GatewayStatus.VOIDED:
            return Voided(payment.authorization_id)
        return answers.refused(answer, payment)

    async def refund(
        self, reference: Reference, authorization_id: str
    ) -> Refunded | Failed | Unknown:
        """Refund what was captured. Refused, it is looked at: it may be refunded already."""
        parameters: RefundCreateParams = {
            "payment_intent": authorization_id,
            "metadata": metadata_of(reference, self._installation),
        }
        answer = await answers.ask(
            self._client.v1.refunds.create_async(parameters, _keyed(reference, Step.REFUND))
        )
        if isinstance(answer, Mapping):
            return answers.read_refund(answer, authorization_id)
        payment = await self._after(answer, authorization_id)
        if not isinstance(payment, Payment):
            return payment
        if payment.status is not GatewayStatus.REFUNDED:
            return answers.refused(answer, payment)
        made = await answers.ask(
            self._client.v1.refunds.list_async({"payment_intent": authorization_id, "limit": 1})
        )
        if not isinstance(made, Mapping):
            return made if isinstance(made, Unknown) else answers.UNREADABLE
        rows = made.get("data")
        return answers.read_refund(rows[0], authorization_id) if rows else answers.UNREADABLE

    async def retrieve(self, authorization_id: str) -> Payment | Missing | Unknown:
        """Return the PaymentIntent with its charge."""
        answer = await answers.ask(
            self._client.v1.payment_intents.retrieve_async(
                authorization_id, {"expand": ["latest_charge"]}
            )
        )
        if isinstance(answer, Mapping):
            return answers.read_payment(answer, self._installation)
        if isinstance(answer, Unknown):
            return answer
        return Missing() if answer.code == "resource_missing" else Unknown(answer.code)

    async def find(self, reference: Reference) -> Page | Unknown:
        """Search the metadata.

        Stripe finds a payment within a minute, in an outage within an hour
        (https://docs.stripe.com/search#data-freshness).
        """
        query = " AND ".join(
            f'metadata["{name}"]:"{value}"'
            for name, value in metadata_of(reference, self._installation).items()
        )
        return answers.read_page(
            await answers.ask(
                self._client.v1.payment_intents.search_async(
                    {"query": query, "limit": GATEWAY_PAGE_ROWS, "expand": ["data.latest_charge"]}
                )
            ),
            self._installation,
        )

    async def list_created(
        self, since_ms: int, until_ms: int, cursor: str | None = None
    ) -> Page | Unknown:
        """List the PaymentIntents of a window, which Stripe knows by the second: it is widened."""
        parameters: PaymentIntentListParams = {
            "created": {"gte": since_ms // 1000, "lt": -(-until_ms // 1000)},
            "limit": GATEWAY_PAGE_ROWS,
            "expand": ["data.latest_charge"],
        }
        if cursor is not None:
            parameters["starting_after"] = cursor
        return answers.read_page(
            await answers.ask(self._client.v1.payment_intents.list_async(parameters)),
            self._installation,
        )

    def parse_webhook(self, body: bytes, headers: Mapping[str, str]) -> GatewayEvent | Rejection:
        """Check and read an event; see `engine.payments.stripe_webhooks`."""
        return stripe_webhooks.parse_webhook(body, headers, self._secrets, self._installation)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close_async()  # type: ignore[no-untyped-call]

    async def _after(
        self, answer: Json | answers.Refusal, authorization_id: str
    ) -> Payment | Failed | Unknown:
        """Return the payment that an answer told of, or the one that a refusal was about.

        A refusal alone says too little: `payment_intent_unexpected_state` is what a second capture
        is told as well, and whether the first one worked is the question.
        """
        if isinstance(answer, Unknown):
            return answer
        if isinstance(answer, Mapping):
            return answers.read_payment(answer, self._installation)
        found = await self.retrieve(authorization_id)
        return Failed(answer.code) if isinstance(found, Missing) else found


def _keyed(reference: Reference, step: Step) -> stripe.RequestOptions:
    return {"idempotency_key": idempotency_key(reference, step)}
