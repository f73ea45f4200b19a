"""The command line: its grammar, exit codes, tokens, and how it finds a system."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Fenced, SettingsError, Unavailable
from holdfast import cli
from holdfast.embedded.process import ServerFailed
from holdfast.settings import given_settings, load_embedded_settings
from holdfast.system import (
    AlreadyRunning,
    DataDirectory,
    NotRunning,
    Pids,
    RunFile,
    operator_settings,
)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment nor a `.env` of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def run_file(**changes: Any) -> RunFile:
    said: dict[str, Any] = {
        "url": "http://127.0.0.1:1",
        "redis_url": "redis://:p@127.0.0.1:2",
        "database_url": "postgresql://u:p@127.0.0.1:3/d",
        "gateway_url": None,
        "tokens": {"admin": "a", "service": "b", "customer": "c"},
        "pids": Pids(up=4, redis=5, postgres=6, api=[7, 8], worker=[9]),
    }
    return RunFile(**{**said, **changes})


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nothing",
        "up --port 65536",
        "up --port -1",
        "up --api-workers 0",
        "token",
        "token --sub",
        "token --sub a/b",
        "token --sub a --count 0",
        "token --sub a --ttl 0",
        "token --sub a --ttl soon",
        "backlog",
        "backlog nothing",
        "backlog replay --from 0",
        "backlog replay --from x:1",
        "backlog prune",
        "backlog prune --before 2026-01-01T00:00:00",
        "backlog prune --before yesterday",
        "backlog prune --before 2026-01-01T00:00:00Z --older-than 9",
        "backlog quarantine",
        "backlog quarantine retry",
        "backlog quarantine discard 1:2",
        "demo --stock 0",
        "verify --jsonn",
        "rebuild --partition -1",
        "rebuild --partition 1024",
        "rebuild everything",
    ],
)
def test_wrong_usage_is_exit_code_2(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(line.split())
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert not said.out
    assert "usage:" in said.err


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (SettingsError("HOLDFAST_X: no"), 2),
        (AlreadyRunning("process 1"), 2),
        (Unavailable("Redis"), 3),
        (NotRunning("nowhere"), 3),
        (ServerFailed("valkey"), 3),
        (Fenced(1, "generation"), 1),
        (PermissionError(13, "Permission denied", "/d"), 2),
        (KeyboardInterrupt(), 130),
    ],
)
def test_what_went_wrong_decides_the_exit_code(
    raised: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(_: object) -> int:
        raise raised

    monkeypatch.setattr("holdfast.commands_operator.run_verify", fails)
    assert cli.main(["verify", "--json"]) == code
    said = capsys.readouterr()
    assert not said.out
    assert str(raised) in said.err


@pytest.mark.parametrize(
    "command",
    [
        "verify --json",
        "backlog status --json",
        "backlog replay --json",
        "backlog replay --from 3:1 --dry-run",
        "backlog quarantine list --json",
        "backlog quarantine retry 3:1",
        "backlog quarantine discard 1 --partition 3 --because why",
        "migrate",
    ],
)
def test_a_directory_without_a_system_is_exit_code_3(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*command.split(), "--data", str(tmp_path / "none")]) == 3
    said = capsys.readouterr()
    assert not said.out
    assert "none" in said.err


def test_a_run_file_comes_back_as_it_was_written_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    run_file().write(path)
    run_file(url="http://other").write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert RunFile.read(path) == run_file(url="http://other")
    assert list(tmp_path.iterdir()) == [path], "nothing half-written is left"
    assert set(json.loads(path.read_text())) == {
        *("url", "redis_url", "database_url", "gateway_url", "tokens", "pids"),
    }
    assert set(json.loads(path.read_text())["pids"]) == {
        *("up", "redis", "postgres", "api", "worker", "gateway"),
    }


def test_operators_find_the_servers_in_the_run_file(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    data.write_settings({"HOLDFAST_PARTITIONS": "4", "HOLDFAST_REDIS_URL": "redis://old"})
    run_file().write(data.run_file)
    settings = operator_settings(tmp_path)
    assert settings.redis_url == run_file().redis_url
    assert settings.database_url == run_file().database_url
    assert settings.partitions == 4


def test_settings_in_the_environment_win_over_the_run_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_file().write(DataDirectory(tmp_path).run_file)
    monkeypatch.setenv("HOLDFAST_REDIS_URL", "redis://elsewhere")
    settings = operator_settings(tmp_path)
    assert settings.redis_url == "redis://elsewhere"
    assert settings.database_url == run_file().database_url
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", "postgresql://elsewhere/d")
    assert operator_settings(tmp_path / "none").database_url == "postgresql://elsewhere/d"


def test_a_command_needs_no_redis_for_arq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_REDIS_URL", "redis+cluster://one:7000")
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", "postgresql://elsewhere/d")
    assert operator_settings(tmp_path).redis_url == "redis+cluster://one:7000"


def test_a_dotenv_file_counts_as_set_and_the_environment_wins_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("HOLDFAST_PARTITIONS=2\nHOLDFAST_DURABILITY=memory\n")
    monkeypatch.setenv("HOLDFAST_PARTITIONS", "8")
    assert given_settings() == {"HOLDFAST_PARTITIONS": "8", "HOLDFAST_DURABILITY": "memory"}


def test_a_data_directory_is_taken_once(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "d")
    data.make()
    held = data.lock()
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
        data.lock()
    os.close(held)
    os.close(data.lock())
    assert data.path.stat().st_mode & 0o077 == 0


def test_metrics_start_empty_in_memory_or_else_in_the_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr("holdfast.system.SHARED_MEMORY", memory)
    data = DataDirectory(tmp_path / "d")
    data.make()
    place = data.make_metrics()
    assert place.parent == memory
    (place / "counter_1.db").touch()
    assert data.make_metrics() == place
    assert not list(place.iterdir())
    monkeypatch.setattr("holdfast.system.SHARED_MEMORY", tmp_path / "none")
    assert data.make_metrics() == tmp_path / "d" / "metrics"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOLDFAST_VALKEY_SERVER", "/nowhere/valkey-server"),
        ("HOLDFAST_VALKEY_MAXMEMORY_BYTES", "much"),
        ("HOLDFAST_VALKEY_MAXMEMORY_BYTES", "1"),
    ],
)
def test_a_bad_setting_of_the_embedded_servers_is_refused_by_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_embedded_settings()
