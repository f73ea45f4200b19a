"""`holdfast up`, `api` and `worker` refuse bad settings by name, before they start anything.

In this process, because imports take a process a second; as one: `integration/test_up_system.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast import cli, up
from tests.helpers.fake import DATA_KEY
from tests.helpers.gateways import payment_settings, payment_variables


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment nor a `.env` of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOLDFAST_PARTITIONS", "0"),
        ("HOLDFAST_DURABILITY", "hope"),
        ("HOLDFAST_RATE_LIMIT", "fast"),
        ("HOLDFAST_DATA_KEY", "short"),
        ("HOLDFAST_REDIS_URL", "http://here"),
        ("HOLDFAST_DATABASE_URL", "mysql://here"),
        ("HOLDFAST_VALKEY_SERVER", "/nowhere"),
        ("HOLDFAST_GATEWAY", "cash"),
        ("HOLDFAST_PAY_DEADLINE_MS", "soon"),
        ("HOLDFAST_STRIPE_API_KEY", "sk_live_1"),
        ("HOLDFAST_SIMULATOR_ERROR_RATE", "2"),
        ("HOLDFAST_JWKS_URL", "ftp://identity.example"),
        ("HOLDFAST_SMTP_URL", "foo"),
        ("HOLDFAST_SMTP_URL", "smtp://"),
        ("HOLDFAST_SMTP_URL", "smtp://host:port"),
        ("HOLDFAST_SMS_URL", "foo"),
        ("HOLDFAST_SMS_URL", "twilio://a:b@host"),
        ("HOLDFAST_TEMPLATES_DIR", "/nowhere"),
    ],
)
def test_a_bad_setting_is_refused_by_name_before_anything_starts(
    name: str,
    value: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def comes_up(*_: object) -> None:
        pytest.fail("it was not refused")

    monkeypatch.setattr(up, "Up", comes_up)
    monkeypatch.setenv(name, value)
    assert cli.main(["up", "--data", str(tmp_path / "d"), "--port", "0"]) == 2
    said = capsys.readouterr()
    assert not said.out
    assert name in said.err
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("part", ["api", "worker"])
@pytest.mark.parametrize(
    "missing",
    [
        "HOLDFAST_STRIPE_API_BASE",
        "HOLDFAST_STRIPE_API_KEY",
        "HOLDFAST_STRIPE_WEBHOOK_SECRET",
    ],
)
def test_a_part_alone_refuses_to_start_without_the_gateways_settings(
    part: str, missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {
        "HOLDFAST_REDIS_URL": "redis://127.0.0.1:1",
        "HOLDFAST_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
        "HOLDFAST_DATA_KEY": DATA_KEY,
        "HOLDFAST_JWKS_URL": "file:///nowhere",
        "HOLDFAST_JWT_ISSUER": "test",
        "HOLDFAST_JWT_AUDIENCE": "test",
        **payment_variables(payment_settings()),
    }
    del kept[missing]
    for name, value in kept.items():
        monkeypatch.setenv(name, value)
    assert cli.main([part]) == 2
    assert missing in capsys.readouterr().err
