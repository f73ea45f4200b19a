"""The channels to people, as the settings name them: read before any of them is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from engine.errors import SettingsError
from engine.settings import Settings
from workers.notices import Templates
from workers.sending import Poison
from workers.sms import Provider, provider_of
from workers.smtp import Server, server_of


@dataclass(frozen=True, slots=True)
class Channels:
    """Where notices leave, and their templates; None for a channel that there is not."""

    templates: Templates
    smtp: Server | None
    sms: Provider | None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read them; connects to nothing. Raises `SettingsError`."""
        templates = Templates(settings.templates_dir)
        try:
            templates.check()
        except Poison as fault:
            raise SettingsError(f"HOLDFAST_TEMPLATES_DIR: {fault}") from None
        try:
            smtp = server_of(settings.smtp_url) if settings.smtp_url else None
        except ValueError as fault:
            raise SettingsError(f"HOLDFAST_SMTP_URL: {fault}") from None
        try:
            sms = provider_of(settings.sms_url) if settings.sms_url else None
        except ValueError as fault:
            raise SettingsError(f"HOLDFAST_SMS_URL: {fault}") from None
        return cls(templates, smtp, sms)
