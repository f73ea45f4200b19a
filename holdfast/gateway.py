"""Which payment gateway the system of `up` speaks to: the simulator that it starts, or a named one.

A gateway's settings go to the API and the worker as variables, like every other setting. In
`run.json` the simulator's address carries its key as Stripe takes it: as the name of basic
authentication.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from engine.payments.settings import PaymentSettings
from holdfast.embedded import simulator
from holdfast.embedded.process import Server
from holdfast.embedded.simulator import Credentials
from holdfast.settings import payment_settings_from
from holdfast.simulator.settings import load_simulator_settings

GATEWAY: Final = "HOLDFAST_GATEWAY"
API_BASE: Final = "HOLDFAST_STRIPE_API_BASE"
API_KEY: Final = "HOLDFAST_STRIPE_API_KEY"
WEBHOOK_SECRET: Final = "HOLDFAST_STRIPE_WEBHOOK_SECRET"  # noqa: S105 - a variable's name
SIMULATOR: Final = "simulator"


def is_embedded(variables: Mapping[str, str]) -> bool:
    """Whether `up` starts the gateway: it starts what nobody named an address of."""
    return variables.get(GATEWAY, SIMULATOR) == SIMULATOR and API_BASE not in variables


def validate(variables: Mapping[str, str]) -> None:
    """Refuse bad settings before anything is started: what `up` adds later stands in.

    Raises SettingsError.
    """
    stand_ins = {}
    if is_embedded(variables):
        stand_ins = {
            API_BASE: "http://127.0.0.1:1",
            API_KEY: "sk_test_embedded",
            WEBHOOK_SECRET: "whsec_embedded",
        }
        load_simulator_settings(
            {
                "api_key": "sk_test_embedded",
                "webhook_url": "http://embedded",
                "webhook_secret": "whsec_embedded",
            }
        )
    payment_settings_from({**stand_ins, **variables})


def arrange(data: Path, log: Path, api_url: str, variables: dict[str, str]) -> Server | None:
    """Add what the API and the worker have to know; return the simulator that is to be started.

    None where a gateway was named. A key or a secret that was named is used for the simulator too.
    """
    if not is_embedded(variables):
        return None
    kept = simulator.keep_credentials(data)
    variables[GATEWAY] = SIMULATOR
    variables.setdefault(API_KEY, kept.api_key)
    variables.setdefault(WEBHOOK_SECRET, kept.webhook_secret)
    settings = payment_settings_from({**variables, API_BASE: "http://127.0.0.1:1"})
    # Of several secrets the first is the new one.
    credentials = Credentials(
        settings.stripe_api_key.get_secret_value(),
        settings.stripe_webhook_secret[0].get_secret_value(),
    )
    webhooks = f"{api_url}/v1/webhooks/{SIMULATOR}"
    server = simulator.prepare(data, log, credentials, webhooks)
    variables[API_BASE] = server.url
    return server


def url_of(variables: Mapping[str, str]) -> str | None:
    """The simulator's address with its key; None where payments go to Stripe itself."""
    if variables.get(GATEWAY, SIMULATOR) != SIMULATOR:
        return None
    base = urlsplit(variables[API_BASE])
    return base._replace(netloc=f"{quote(variables[API_KEY], safe='')}@{base.netloc}").geturl()


def variables_of(url: str) -> dict[str, str]:
    """The variables that `url_of` made an address of."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    return {
        GATEWAY: SIMULATOR,
        API_BASE: parts._replace(netloc=netloc).geturl(),
        API_KEY: unquote(parts.username or ""),
    }


def operator_settings(
    kept: Mapping[str, str], gateway_url: str | None, given: Mapping[str, str]
) -> PaymentSettings:
    """The settings with which an operator's command asks the gateway.

    Args:
        kept: the variables that the system's processes were given.
        gateway_url: what its run file says, if it runs.
        given: variables that are set, which win.

    Raises SettingsError.
    """
    # No operator's command is sent a webhook.
    unused = {WEBHOOK_SECRET: "unused"}
    running = variables_of(gateway_url) if gateway_url else {}
    return payment_settings_from({**unused, **kept, **running, **given})
