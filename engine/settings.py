"""Every setting, read once at start from the environment, validated, named in its refusal.

In development a `.env` file in the working directory is read too; the environment wins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parseaddr
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from engine import limits
from engine.errors import SettingsError
from engine.types import RateLimit

_PREFIX: Final = "HOLDFAST_"
_CLUSTERS: Final = ("redis+cluster://", "rediss+cluster://")
_REDIS_SCHEMES: Final = ("redis://", "rediss://", "unix://", "redis+sentinel://", *_CLUSTERS)
_RATE: Final = re.compile(r"^(\d{1,6})/s(?: burst (\d{1,6}))?$")


class Durability(StrEnum):
    """What must hold before a change is acknowledged (`docs/adr/0005`)."""

    FSYNC = "fsync"
    """On the disk of the primary: `appendonly yes`, `appendfsync always`."""
    REPLICA = "replica"
    """As `fsync`, and with `min_replicas` replicas (WAIT)."""
    MEMORY = "memory"
    """In the memory of the primary: a crash of Redis may lose what was acknowledged."""


def is_cluster(url: str) -> bool:
    """Whether a URL names a Redis Cluster."""
    return url.startswith(_CLUSTERS)


def _redis_url(url: str) -> str:
    if not url.startswith(_REDIS_SCHEMES):
        raise ValueError(f"must start with one of {', '.join(_REDIS_SCHEMES)}")
    return url


def _queue_url(url: str) -> str:
    if is_cluster(url):
        raise ValueError("must be no cluster: arq, which has its queue there, knows none")
    return _redis_url(url)


def _database_url(url: str) -> str:
    if not url.startswith(("postgresql://", "postgres://")):
        raise ValueError("must start with postgresql://")
    return url


def _keys_url(url: str) -> str:
    if urlsplit(url).scheme not in {"http", "https", "file"}:
        raise ValueError("must start with https://, http:// or file://")
    return url


def _address(text: str) -> str:
    address = parseaddr(text)[1]
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", address) or not text.isprintable():
        raise ValueError("must be an e-mail address, with or without a name")
    return text


def parse_rate(text: Any) -> RateLimit | None:
    """Read `20/s burst 40` (burst defaults to the rate); `off` is None."""
    if text is None or isinstance(text, RateLimit):
        return text
    if text == "off":
        return None
    found = _RATE.match(str(text))
    if not found or int(found[1]) == 0 or found[2] == "0":
        raise ValueError("must be like `20/s burst 40`, or `off`")
    per_second = int(found[1])
    return RateLimit(interval_us=1_000_000 // per_second, burst=int(found[2] or per_second))


def _data_keys(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    keys = tuple(part.strip() for part in text.split(",") if part.strip())
    for key in keys:
        try:
            Fernet(key.encode())
        except ValueError:
            raise ValueError("each key must be 32 bytes in URL-safe base64") from None
    if not keys:
        raise ValueError("at least one key is needed")
    return keys


class Settings(BaseSettings):
    """The settings of every part; a part reads those it needs."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    redis_url: Annotated[str, AfterValidator(_redis_url)]
    arq_redis_url: Annotated[str, AfterValidator(_queue_url)] | None = None
    """arq's own Redis; where it is not given, the same."""
    database_url: Annotated[str, AfterValidator(_database_url)]
    partitions: int = Field(limits.DEFAULT_PARTITIONS, ge=1, le=limits.MAX_PARTITIONS)
    durability: Durability = Durability.FSYNC
    min_replicas: int = Field(1, ge=1, le=8)
    """Replicas that must have a change in durability `replica`."""
    data_key: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_data_keys)]
    """Encrypts personal data at rest; the first encrypts, all decrypt."""
    jwks_url: Annotated[str, AfterValidator(_keys_url)]
    jwt_issuer: str
    jwt_audience: str
    rate_limit: Annotated[RateLimit | None, NoDecode, BeforeValidator(parse_rate)] = RateLimit(
        interval_us=50_000, burst=40
    )
    max_in_flight: int = Field(12_000, ge=1, le=100_000)
    """Requests that one API process works on at once; more are shed."""
    max_backlog_entries: int = Field(limits.MAX_BACKLOG_ENTRIES, ge=1, le=100_000_000)
    """Entries of one partition that PostgreSQL may lack before new holds are shed."""
    max_backlog_bytes: int | None = Field(None, ge=1)
    """The same in bytes, of all partitions together; None is a quarter of Redis's `maxmemory`."""
    max_backlog_age_ms: int = Field(limits.MAX_BACKLOG_AGE_MS, ge=1_000)
    """The same by the age of the oldest such entry."""
    watch_disk: Path | None = None
    """A directory on the disk of Redis's append only file, where a worker can see it."""
    min_free_bytes: int = Field(limits.MIN_FREE_BYTES, ge=0)
    """Room on that disk below which new holds are shed."""
    max_memory_percent: int = Field(limits.MAX_MEMORY_PERCENT, ge=1, le=100)
    """Of Redis's `maxmemory`, from which on new holds are shed."""
    availability_staleness_ms: int = Field(50, ge=0, le=60_000)
    availability_public: bool = True
    """Whether availability answers without a token."""
    metrics_port: int | None = Field(None, ge=1, le=65_535)
    """Serves /metrics on this port instead of the API's."""
    sweep_interval_ms: int = Field(200, ge=10, le=60_000)
    expiry_warning_ms: int = Field(limits.EXPIRY_WARNING_MS, ge=0, le=86_400_000)
    """How long before a hold ends its customer is told; 0 tells nobody."""
    finished_retention_ms: int = Field(limits.FINISHED_RETENTION_MS, ge=1_000, le=30 * 86_400_000)
    """How long a finished booking stays in Redis."""
    sale_retention_ms: int = Field(limits.SALE_RETENTION_MS, ge=1_000, le=3_660 * 86_400_000)
    """How long a sale stays in Redis after it closed."""
    event_source: str = Field("/holdfast", min_length=1, max_length=200)
    """The `source` of public events: a URI reference that tells installations apart."""
    event_stream_entries: int = Field(0, ge=0, le=10_000_000)
    """Events that the stream for other services keeps, in arq's Redis; 0 is no stream."""
    delivery_give_up_ms: int = Field(limits.DELIVERY_GIVE_UP_MS, ge=1_000, le=30 * 86_400_000)
    """How long an event is tried at a place, from the first attempt, until it is parked."""
    webhook_disable_after_ms: int = Field(
        limits.WEBHOOK_DISABLE_AFTER_MS, ge=1_000, le=90 * 86_400_000
    )
    """How long an endpoint may fail until it is sent nothing more."""
    webhook_allow_private: bool = False
    """Whether webhooks may go to addresses that are not of the public internet."""
    smtp_url: str | None = None
    """Where notices leave as e-mail: `smtp://`, `smtp+starttls://`, `smtps://`; None sends none."""
    sms_url: str | None = None
    """Where notices leave as text messages: `twilio://…`; None sends none."""
    mail_from: Annotated[str, AfterValidator(_address)] = "Bookings <bookings@localhost>"
    """Who e-mail is from; its domain is that of Message-ID and List-Id."""
    templates_dir: Path | None = None
    """Templates of notices that come before the built-in ones."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    @model_validator(mode="after")
    def _queue_has_a_place(self) -> Self:
        if self.arq_redis_url is None and is_cluster(self.redis_url):
            raise ValueError(
                f"{_PREFIX}ARQ_REDIS_URL: must name a Redis of its own where HOLDFAST_REDIS_URL is "
                "a cluster: arq, which has its queue there, knows none"
            )
        return self

    @property
    def queue_url(self) -> str:
        """arq's Redis."""
        return self.arq_redis_url or self.redis_url


def load_settings(overrides: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        overrides: values by field name that come from the command line or a run file;
            the environment wins over them only where the caller leaves them out.

    Raises:
        SettingsError: names each variable that is missing or refused, and why.
    """
    try:
        return Settings(**dict(overrides or {}))  # type: ignore[arg-type]
    except ValidationError as refused:
        raise refusal_of(refused, _PREFIX) from None


def refusal_of(refused: ValidationError, prefix: str) -> SettingsError:
    """The error that names each variable that was refused, and why; never what it held."""
    faults = []
    for fault in refused.errors(include_input=False):
        name = f"{prefix}{str(fault['loc'][0]).upper()}: " if fault["loc"] else ""
        faults.append(name + fault["msg"].removeprefix("Value error, "))
    return SettingsError("; ".join(faults))


class EngineOptions(BaseModel, frozen=True, arbitrary_types_allowed=True):
    """What the engine itself needs, for those who embed it without the other parts."""

    redis_url: Annotated[str, AfterValidator(_redis_url)]
    data_keys: tuple[str, ...]
    partitions: int = Field(limits.DEFAULT_PARTITIONS, ge=1, le=limits.MAX_PARTITIONS)
    durability: Durability = Durability.FSYNC
    min_replicas: int = Field(1, ge=1, le=8)
    rate_limit: RateLimit | None = None
    max_backlog_entries: int = Field(limits.MAX_BACKLOG_ENTRIES, ge=1, le=100_000_000)
    max_backlog_bytes: int | None = Field(None, ge=1)
    max_backlog_age_ms: int = Field(limits.MAX_BACKLOG_AGE_MS, ge=1_000)

    @classmethod
    def of(cls, settings: Settings) -> EngineOptions:
        """The engine's share of the settings."""
        return cls(
            redis_url=settings.redis_url,
            data_keys=settings.data_key,
            partitions=settings.partitions,
            durability=settings.durability,
            min_replicas=settings.min_replicas,
            rate_limit=settings.rate_limit,
            max_backlog_entries=settings.max_backlog_entries,
            max_backlog_bytes=settings.max_backlog_bytes,
            max_backlog_age_ms=settings.max_backlog_age_ms,
        )
