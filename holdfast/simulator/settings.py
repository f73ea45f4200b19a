"""What the simulator is told at start, and the faults that can be changed while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine.settings import refusal_of

_PREFIX: Final = "HOLDFAST_SIMULATOR_"
_DAY_MS: Final = 24 * 3600 * 1000


class Faults(BaseModel):
    """What goes wrong, and how often (rates from 0 to 1). Without any, it is a quiet gateway."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latency_ms: int = Field(0, ge=0, le=60_000)
    """Half of it passes before a request is executed, half before it is answered."""
    error_rate: float = Field(0.0, ge=0, le=1)
    """Requests answered 500 before anything was executed: not kept under their key."""
    kept_error_rate: float = Field(0.0, ge=0, le=1)
    """POST requests executed, but answered 500 for ever under their key, as Stripe does when it
    fails half-way: https://docs.stripe.com/error-low-level#server-errors."""
    lost_answer_rate: float = Field(0.0, ge=0, le=1)
    """Requests executed, and then the connection is cut."""
    search_lag_ms: int = Field(0, ge=0, le=3_600_000)
    """Age from which a payment is found by a search; Stripe promises a minute."""
    duplicate_webhook_rate: float = Field(0.0, ge=0, le=1)
    late_webhook_rate: float = Field(0.0, ge=0, le=1)
    reordered_webhook_rate: float = Field(0.0, ge=0, le=1)
    """Events held back until the payment's next one was sent, or for `late_webhook_ms`."""
    late_webhook_ms: int = Field(5_000, ge=0, le=3_600_000)
    webhook_retry_ms: int = Field(1_000, ge=1, le=3_600_000)
    """Wait after the first failed delivery; doubled after each further one."""


class SimulatorSettings(BaseSettings, Faults):
    """The variables `HOLDFAST_SIMULATOR_…`; the faults are among them."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    api_key: SecretStr = SecretStr("sk_test_simulator")
    """What `Authorization: Bearer` must carry."""
    webhook_url: str | None = Field(None, pattern=r"^https?://")
    """Where events go, besides the endpoints made with POST /v1/webhook_endpoints."""
    webhook_secret: SecretStr | None = Field(None, min_length=8)
    """What they are signed with."""
    key_lifetime_ms: int = Field(_DAY_MS, ge=1)
    """How long the answer to an idempotency key is kept."""
    authorization_lifetime_ms: int = Field(7 * _DAY_MS, ge=1)
    """How long an authorization can be captured."""

    @model_validator(mode="after")
    def _fits_together(self) -> SimulatorSettings:
        if (self.webhook_url is None) != (self.webhook_secret is None):
            raise ValueError(f"{_PREFIX}WEBHOOK_URL and {_PREFIX}WEBHOOK_SECRET go together")
        return self

    @property
    def faults(self) -> Faults:
        """The faults to begin with."""
        return Faults(**{name: getattr(self, name) for name in Faults.model_fields})


def load_simulator_settings(overrides: Mapping[str, str] | None = None) -> SimulatorSettings:
    """Read the settings; `overrides` by field name win over the environment.

    Raises:
        SettingsError: names each variable that is refused, and why.
    """
    try:
        return SimulatorSettings(**dict(overrides or {}))  # type: ignore[arg-type]
    except ValidationError as refused:
        raise refusal_of(refused, _PREFIX) from None
