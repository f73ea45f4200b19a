"""Settings checked before there is anything that they name."""

from __future__ import annotations

from cryptography.fernet import Fernet

from engine.settings import Settings
from holdfast import dev_auth, gateway
from holdfast.settings import settings_from
from workers.channels import Channels


def validated(variables: dict[str, str]) -> Settings:
    """Refuse bad settings before anything is started: what `up` adds later stands in.

    Raises SettingsError.
    """
    gateway.validate(variables)
    stand_ins = {
        "HOLDFAST_REDIS_URL": "redis://embedded",
        "HOLDFAST_DATABASE_URL": "postgresql://embedded",
        "HOLDFAST_DATA_KEY": Fernet.generate_key().decode(),
        "HOLDFAST_JWKS_URL": "file:///embedded",
        "HOLDFAST_JWT_ISSUER": dev_auth.ISSUER,
        "HOLDFAST_JWT_AUDIENCE": dev_auth.AUDIENCE,
    }
    settings = settings_from({**stand_ins, **variables})
    # What the worker would refuse, which `up` would start again and again.
    Channels.of(settings)
    return settings
