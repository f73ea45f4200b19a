"""The settings of the front door itself: those of the embedded servers.

The system's own settings are in `engine.settings` and `engine.payments.settings`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine.errors import SettingsError
from engine.payments.settings import PaymentSettings, load_payment_settings
from engine.settings import Settings, load_settings

PREFIX = "HOLDFAST_"
DEVELOPMENT: Final = {
    # Who develops against a system of their own has their endpoints beside it.
    "HOLDFAST_WEBHOOK_ALLOW_PRIVATE": "true",
}


def _program(named: Path) -> Path:
    found = shutil.which(named)
    if not found:
        raise ValueError(f"{named} is not a program that can be run")
    return Path(found).absolute()


class EmbeddedSettings(BaseSettings):
    """What `up` asks of the servers it starts."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    valkey_server: Annotated[Path, AfterValidator(_program)] | None = None
    """A Valkey or Redis server to start in place of the wheel's."""
    valkey_maxmemory_bytes: int = Field(1 << 30, ge=16 << 20)
    """Where the embedded server refuses new holds; journal, holds and records live below it."""


def default_api_workers() -> int:
    """API processes for this machine: one for each processor, which the API needs most of."""
    return min(4, os.cpu_count() or 1)


def load_embedded_settings() -> EmbeddedSettings:
    """Read them; raises SettingsError that names each variable that is refused, and why."""
    try:
        return EmbeddedSettings()
    except ValidationError as refused:
        raise SettingsError(
            "; ".join(
                f"{PREFIX}{str(fault['loc'][0]).upper()}: "
                + fault["msg"].removeprefix("Value error, ")
                for fault in refused.errors()
            )
        ) from None


def given_settings() -> dict[str, str]:
    """The variables of the system's settings that somebody set: `.env`, and the environment."""
    given = {**dotenv_values(".env"), **os.environ}
    fields = (*Settings.model_fields, *PaymentSettings.model_fields)
    names = {f"{PREFIX}{field}".upper() for field in fields}
    return {name: value for name in sorted(names) if (value := given.get(name))}


def development_settings() -> dict[str, str]:
    """The same, and what `up` sets where nobody does."""
    return {**DEVELOPMENT, **given_settings()}


def settings_from(variables: Mapping[str, str]) -> Settings:
    """The settings that these variables say, over those of the environment.

    Raises SettingsError.
    """
    return load_settings(_by_field(variables))


def payment_settings_from(variables: Mapping[str, str]) -> PaymentSettings:
    """The same for the payment gateway's settings. Raises SettingsError."""
    return load_payment_settings(_by_field(variables))


def _by_field(variables: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(PREFIX).lower(): value for name, value in variables.items()}
