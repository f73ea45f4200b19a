"""Settings are read once, and each bad one is refused by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import limits
from engine.errors import SettingsError
from engine.settings import Durability, EngineOptions, load_settings, parse_rate
from engine.types import RateLimit
from tests.helpers.fake import DATA_KEY

GOOD = {
    "HOLDFAST_REDIS_URL": "redis://127.0.0.1:6379/0",
    "HOLDFAST_DATABASE_URL": "postgresql://holdfast@127.0.0.1/holdfast",
    "HOLDFAST_DATA_KEY": DATA_KEY,
    "HOLDFAST_JWKS_URL": "http://127.0.0.1/jwks.json",
    "HOLDFAST_JWT_ISSUER": "https://issuer.example",
    "HOLDFAST_JWT_AUDIENCE": "holdfast",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment with what must be given, and a folder without a `.env`."""
    monkeypatch.chdir(tmp_path)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_what_is_not_given_has_a_value(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    assert settings.partitions == limits.DEFAULT_PARTITIONS
    assert settings.durability is Durability.FSYNC
    assert settings.data_key == (DATA_KEY,)
    assert settings.queue_url == settings.redis_url == GOOD["HOLDFAST_REDIS_URL"]


def test_arq_may_have_a_redis_of_its_own(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HOLDFAST_ARQ_REDIS_URL", "redis://other/1")
    assert load_settings().queue_url == "redis://other/1"


def test_a_cluster_wants_another_redis_for_arq(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HOLDFAST_REDIS_URL", "redis+cluster://one:7000,two:7000")
    with pytest.raises(
        SettingsError, match=r"^HOLDFAST_ARQ_REDIS_URL: must name a Redis of its own"
    ):
        load_settings()
    environment.setenv("HOLDFAST_ARQ_REDIS_URL", "redis+cluster://one:7000")
    with pytest.raises(SettingsError, match=r"^HOLDFAST_ARQ_REDIS_URL: must be no cluster"):
        load_settings()
    environment.setenv("HOLDFAST_ARQ_REDIS_URL", "redis://other/1")
    assert load_settings().queue_url == "redis://other/1"


def test_the_engine_gets_its_share(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HOLDFAST_RATE_LIMIT", "5/s burst 7")
    environment.setenv("HOLDFAST_MAX_BACKLOG_ENTRIES", "99")
    settings = load_settings()
    options = EngineOptions.of(settings)
    assert options.rate_limit == RateLimit(interval_us=200_000, burst=7)
    assert options.max_backlog_entries == 99
    assert options.data_keys == settings.data_key


@pytest.mark.parametrize("name", GOOD)
def test_what_must_be_given_is_missed_by_name(name: str, environment: pytest.MonkeyPatch) -> None:
    environment.delenv(name)
    with pytest.raises(SettingsError, match=f"{name}: Field required"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOLDFAST_REDIS_URL", "http://127.0.0.1"),
        ("HOLDFAST_ARQ_REDIS_URL", "127.0.0.1:6379"),
        ("HOLDFAST_DATABASE_URL", "mysql://127.0.0.1/x"),
        ("HOLDFAST_JWKS_URL", "ldap://identity.example"),
        ("HOLDFAST_PARTITIONS", "0"),
        ("HOLDFAST_PARTITIONS", str(limits.MAX_PARTITIONS + 1)),
        ("HOLDFAST_PARTITIONS", "sixteen"),
        ("HOLDFAST_DURABILITY", "best"),
        ("HOLDFAST_MIN_REPLICAS", "0"),
        ("HOLDFAST_DATA_KEY", "short"),
        ("HOLDFAST_DATA_KEY", f"{DATA_KEY},short"),
        ("HOLDFAST_DATA_KEY", ","),
        ("HOLDFAST_RATE_LIMIT", "fast"),
        ("HOLDFAST_RATE_LIMIT", "0/s"),
        ("HOLDFAST_RATE_LIMIT", "5/s burst 0"),
        ("HOLDFAST_MAX_IN_FLIGHT", "-1"),
        ("HOLDFAST_MAX_BACKLOG_ENTRIES", "0"),
        ("HOLDFAST_AVAILABILITY_STALENESS_MS", "-1"),
        ("HOLDFAST_AVAILABILITY_PUBLIC", "perhaps"),
        ("HOLDFAST_METRICS_PORT", "65536"),
        ("HOLDFAST_SWEEP_INTERVAL_MS", "1"),
        ("HOLDFAST_FINISHED_RETENTION_MS", "1"),
        ("HOLDFAST_LOG_LEVEL", "loud"),
        ("HOLDFAST_LOG_FORMAT", "xml"),
    ],
)
def test_a_bad_setting_is_refused_by_its_name(
    name: str, value: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: "):
        load_settings()


def test_all_bad_settings_are_named_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HOLDFAST_PARTITIONS", "0")
    environment.setenv("HOLDFAST_LOG_LEVEL", "loud")
    with pytest.raises(SettingsError, match=r"HOLDFAST_PARTITIONS: .*; HOLDFAST_LOG_LEVEL: "):
        load_settings()


def test_a_secret_is_not_repeated_in_a_refusal(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HOLDFAST_DATA_KEY", "not-a-key-but-secret")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert "not-a-key-but-secret" not in str(refused.value)


def test_an_empty_variable_is_one_that_is_not_given(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HOLDFAST_PARTITIONS", "")
    assert load_settings().partitions == limits.DEFAULT_PARTITIONS


def test_development_reads_a_file_and_the_environment_wins(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.delenv("HOLDFAST_JWT_ISSUER")
    (tmp_path / ".env").write_text("HOLDFAST_JWT_ISSUER=file\nHOLDFAST_JWT_AUDIENCE=file\n")
    settings = load_settings()
    assert (settings.jwt_issuer, settings.jwt_audience) == ("file", "holdfast")


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("off", None),
        ("20/s burst 40", RateLimit(interval_us=50_000, burst=40)),
        ("20/s", RateLimit(interval_us=50_000, burst=20)),
        ("1/s burst 1", RateLimit(interval_us=1_000_000, burst=1)),
        ("999999/s", RateLimit(interval_us=1, burst=999_999)),
    ],
)
def test_a_rate_is_read(text: str, rate: RateLimit | None) -> None:
    assert parse_rate(text) == rate
