"""The gateway's settings are refused by name, and no secret is in the refusal."""

from __future__ import annotations

import pytest

from engine.errors import SettingsError
from engine.payments.settings import load_payment_settings
from holdfast.simulator.settings import load_simulator_settings

GOOD = {
    "HOLDFAST_STRIPE_API_KEY": "sk_test_x",
    "HOLDFAST_STRIPE_API_BASE": "http://127.0.0.1:12111",
    "HOLDFAST_STRIPE_WEBHOOK_SECRET": "whsec_one, whsec_two",
}


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def test_several_webhook_secrets_are_read() -> None:
    secrets = load_payment_settings().stripe_webhook_secret
    assert [secret.get_secret_value() for secret in secrets] == ["whsec_one", "whsec_two"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY", "paypal"),
        ("INSTALLATION", 'a "name'),
        ("INSTALLATION", "x" * 200),
        ("STRIPE_API_KEY", ""),
        ("STRIPE_API_KEY", "sk_live_hidden"),
        ("STRIPE_API_BASE", "https://api.stripe.com"),
        ("STRIPE_API_BASE", "http://api.stripe.com"),
        ("STRIPE_API_BASE", "127.0.0.1:12111"),
        ("STRIPE_API_BASE", "http://127.0.0.1:12111/v1"),
        ("STRIPE_WEBHOOK_SECRET", " , "),
        ("STRIPE_RETURN_URL", 'https://shop.example/?back="here"'),
        ("STRIPE_RETURN_URL", "https://shop.example/a\\b"),
        ("GATEWAY_TIMEOUT_MS", "99"),
        ("PAY_DEADLINE_MS", "soon"),
    ],
)
def test_a_bad_setting_is_refused_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"HOLDFAST_{name}", value)
    with pytest.raises(SettingsError, match=f"HOLDFAST_{name}: ") as refused:
        load_payment_settings()
    assert "hidden" not in str(refused.value)


def test_stripe_itself_is_reached_by_https(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_GATEWAY", "stripe")
    monkeypatch.setenv("HOLDFAST_STRIPE_API_KEY", "sk_live_x")
    monkeypatch.delenv("HOLDFAST_STRIPE_API_BASE")
    assert load_payment_settings().stripe_api_base == "https://api.stripe.com"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LATENCY_MS", "-1"),
        ("ERROR_RATE", "1.5"),
        ("LOST_ANSWER_RATE", "often"),
        ("WEBHOOK_URL", "ftp://x"),
        ("WEBHOOK_URL", "http://127.0.0.1/webhook"),
        ("KEY_LIFETIME_MS", "0"),
    ],
)
def test_a_bad_setting_of_the_simulator_is_refused_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"HOLDFAST_SIMULATOR_{name}", value)
    with pytest.raises(SettingsError, match=f"HOLDFAST_SIMULATOR_{name}"):
        load_simulator_settings()


def test_the_simulators_faults_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_SIMULATOR_LATENCY_MS", "200")
    monkeypatch.setenv("HOLDFAST_SIMULATOR_LOST_ANSWER_RATE", "0.2")
    faults = load_simulator_settings().faults
    assert (faults.latency_ms, faults.lost_answer_rate, faults.error_rate) == (200, 0.2, 0)
