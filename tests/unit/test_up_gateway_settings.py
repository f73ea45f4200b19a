"""Which gateway `up` takes, and how operators find it again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import SettingsError
from holdfast import gateway
from holdfast.system import DataDirectory, Pids, RunFile, operator_payment_settings

STRIPE = {
    "HOLDFAST_GATEWAY": "stripe",
    "HOLDFAST_STRIPE_API_KEY": "sk_live_1",
    "HOLDFAST_STRIPE_WEBHOOK_SECRET": "whsec_1",
}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment nor a `.env` of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def arranged(directory: Path, **variables: str) -> dict[str, str]:
    """The variables that API and worker get."""
    gateway.arrange(directory, directory / "log", "http://127.0.0.1:8000", variables)
    return variables


def test_without_settings_a_simulator_is_started_with_secrets_of_its_own(tmp_path: Path) -> None:
    variables: dict[str, str] = {}
    server = gateway.arrange(tmp_path, tmp_path / "log", "http://127.0.0.1:8000", variables)
    assert server
    assert variables["HOLDFAST_STRIPE_API_BASE"] == server.url
    told = server.launch.environment
    assert told["HOLDFAST_SIMULATOR_API_KEY"] == variables["HOLDFAST_STRIPE_API_KEY"]
    assert told["HOLDFAST_SIMULATOR_WEBHOOK_SECRET"] == variables["HOLDFAST_STRIPE_WEBHOOK_SECRET"]
    assert told["HOLDFAST_SIMULATOR_WEBHOOK_URL"] == "http://127.0.0.1:8000/v1/webhooks/simulator"
    assert arranged(tmp_path) == variables, "and keeps them"
    assert arranged(tmp_path / "other") != variables


def test_a_key_and_secrets_that_were_named_are_the_simulators_too(tmp_path: Path) -> None:
    named = {
        "HOLDFAST_STRIPE_API_KEY": "sk_test_mine",
        "HOLDFAST_STRIPE_WEBHOOK_SECRET": "whsec_new,whsec_old",
    }
    variables = dict(named)
    server = gateway.arrange(tmp_path, tmp_path / "log", "http://127.0.0.1:8000", variables)
    assert server
    assert server.launch.environment["HOLDFAST_SIMULATOR_API_KEY"] == "sk_test_mine"
    assert server.launch.environment["HOLDFAST_SIMULATOR_WEBHOOK_SECRET"] == "whsec_new"
    assert variables == variables | named


def test_with_stripe_nothing_is_added_and_the_run_file_names_no_gateway(tmp_path: Path) -> None:
    gateway.validate(STRIPE)
    assert arranged(tmp_path, **STRIPE) == STRIPE
    assert gateway.url_of(STRIPE) is None
    assert not (tmp_path / "simulator").exists()


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"HOLDFAST_GATEWAY": "cash"}, "HOLDFAST_GATEWAY"),
        ({"HOLDFAST_GATEWAY": "stripe"}, "HOLDFAST_STRIPE_API_KEY"),
        ({"HOLDFAST_STRIPE_API_KEY": "sk_live_1"}, "HOLDFAST_STRIPE_API_KEY"),
        ({"HOLDFAST_STRIPE_API_BASE": "http://127.0.0.1:9"}, "HOLDFAST_STRIPE_API_KEY"),
        ({**STRIPE, "HOLDFAST_STRIPE_API_BASE": "ftp://x"}, "HOLDFAST_STRIPE_API_BASE"),
        ({"HOLDFAST_PAY_DEADLINE_MS": "-1"}, "HOLDFAST_PAY_DEADLINE_MS"),
    ],
)
def test_a_bad_setting_is_refused_by_name(variables: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        gateway.validate(variables)


def test_a_bad_fault_of_the_simulator_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_SIMULATOR_LOST_ANSWER_RATE", "1.5")
    with pytest.raises(SettingsError, match="HOLDFAST_SIMULATOR_LOST_ANSWER_RATE"):
        gateway.validate({})
    gateway.validate(STRIPE)


def test_the_url_of_the_run_file_leads_back_to_the_variables(tmp_path: Path) -> None:
    variables = arranged(tmp_path, HOLDFAST_STRIPE_API_KEY="sk_test_a/b@c")
    url = gateway.url_of(variables)
    assert url
    assert gateway.variables_of(url).items() <= variables.items()


def test_operators_take_the_run_file_over_what_was_kept_and_the_environment_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DataDirectory(tmp_path)
    variables = arranged(tmp_path, HOLDFAST_GATEWAY_TIMEOUT_MS="1234")
    data.write_settings({**variables, "HOLDFAST_STRIPE_API_BASE": "http://127.0.0.1:1"})
    run = RunFile("http://a", "redis://b", "postgresql://c", gateway.url_of(variables), {}, Pids(1))
    run.write(data.run_file)
    settings = operator_payment_settings(tmp_path)
    assert settings.stripe_api_base == variables["HOLDFAST_STRIPE_API_BASE"]
    assert settings.gateway_timeout_ms == 1234
    for name, value in STRIPE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOLDFAST_STRIPE_API_BASE", "https://api.stripe.com")
    assert operator_payment_settings(tmp_path).gateway == "stripe"


def test_operators_of_nothing_are_told_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="HOLDFAST_STRIPE_API_KEY"):
        operator_payment_settings(tmp_path / "none")
