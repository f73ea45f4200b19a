"""How to reach the payment gateway, read once at start like every setting, and as strictly.

Apart from `engine.settings`, since only the processes that move money need them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from engine.limits import ID_PATTERN
from engine.payments.limits import PAYMENT_GRACE_MS, PAYMENT_STUCK_MS
from engine.settings import refusal_of

_PREFIX: Final = "HOLDFAST_"
INSTALLATION: Final = "holdfast"
STRIPE_API_BASE: Final = "https://api.stripe.com"
_LOOPBACK: Final = {"127.0.0.1", "::1", "localhost"}


def _secrets(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    return tuple(part.strip() for part in text.split(",") if part.strip())


class PaymentSettings(BaseSettings):
    """The gateway's settings; the simulator speaks Stripe's API and is reached by the same."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    gateway: Literal["simulator", "stripe"] = "simulator"
    installation: str = Field(INSTALLATION, pattern=ID_PATTERN)
    """Whose payments these are, where several installations share the gateway's account. It goes
    into the metadata of each: what another made, or nobody, is none of ours."""
    stripe_api_key: SecretStr
    stripe_api_base: str = STRIPE_API_BASE
    stripe_webhook_secret: Annotated[
        tuple[SecretStr, ...], NoDecode, BeforeValidator(_secrets), Field(min_length=1)
    ]
    """What webhooks are signed with; several, comma-separated, while one replaces another."""
    stripe_return_url: str | None = Field(None, pattern=r"^[!#-\[\]-~]+$")
    """Where a buyer comes back to from 3-D Secure. With it `payment.next_action` has a `url`;
    without, the `client_secret` that Stripe's script needs. It goes into each payment's entry, and
    so holds nothing that JSON would have to escape."""
    gateway_timeout_ms: int = Field(10_000, ge=100, le=80_000)
    """Longest wait for one answer of the gateway."""
    payment_grace_ms: int = Field(PAYMENT_GRACE_MS, ge=1_000, le=24 * 3600 * 1000)
    """How much longer than its deadline a hold lives while its payment is open."""
    payment_stuck_ms: int = Field(PAYMENT_STUCK_MS, ge=1_000, le=24 * 3600 * 1000)
    """Age from which an open payment is shown as stuck."""
    pay_deadline_ms: int = Field(10_000, ge=0, le=60_000)
    """How long a pay request waits before it answers 202."""

    @model_validator(mode="after")
    def _fits_together(self) -> PaymentSettings:
        base = urlsplit(self.stripe_api_base)
        if not base.hostname or base.scheme not in {"http", "https"} or base.path.strip("/"):
            raise ValueError("HOLDFAST_STRIPE_API_BASE: must be like https://host:port")
        if base.scheme == "http" and base.hostname not in _LOOPBACK:
            raise ValueError("HOLDFAST_STRIPE_API_BASE: http is for this host only, use https")
        if self.gateway == "simulator":
            if self.stripe_api_base == STRIPE_API_BASE:
                raise ValueError("HOLDFAST_STRIPE_API_BASE: the simulator's address is needed")
            if "_live_" in self.stripe_api_key.get_secret_value():
                raise ValueError("HOLDFAST_STRIPE_API_KEY: a live key must not go to the simulator")
        return self


def load_payment_settings(overrides: Mapping[str, str] | None = None) -> PaymentSettings:
    """Read the settings; `overrides` by field name win over the environment.

    Raises:
        SettingsError: names each variable that is missing or refused, and why.
    """
    try:
        return PaymentSettings(**dict(overrides or {}))  # type: ignore[arg-type]
    except ValidationError as refused:
        raise refusal_of(refused, _PREFIX) from None
