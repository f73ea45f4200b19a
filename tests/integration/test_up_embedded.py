"""The embedded servers alone."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
import redis

from holdfast.embedded import postgres, process, valkey
from tests.helpers.servers import Postgres, Valkey, is_alive, wait_for

STARTER = """
import sys, time
from pathlib import Path
from holdfast.embedded import postgres, process, valkey
directory = Path(sys.argv[1])
servers = [
    valkey.prepare(directory / "valkey", directory / "valkey.log", maxmemory_bytes=1 << 28),
    postgres.prepare(directory / "postgres", directory / "postgres.log"),
]
print(*(process.start(server).pid for server in servers), flush=True)
time.sleep(600)
"""


def test_valkey_keeps_every_acknowledged_write_over_a_kill(tmp_path: Path) -> None:
    server = Valkey(tmp_path / "v")
    with contextlib.closing(server), redis.Redis.from_url(server.url) as client:
        configured = client.config_get(
            "appendonly", "appendfsync", "maxmemory-policy", "no-appendfsync-on-rewrite", "save"
        )
        assert configured == {
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "no-appendfsync-on-rewrite": "no",
            "save": "",
        }
        assert client.config_get("maxmemory") != {"maxmemory": "0"}
        client.set("kept", 1)
        url = server.url
        server.kill()
        server.start()
        assert server.url == url
        assert client.get("kept") == b"1"


def test_valkey_denies_flushall_and_flushdb_outside_tests(tmp_path: Path) -> None:
    server = Valkey(tmp_path / "v", allow_flush=False)
    with contextlib.closing(server), redis.Redis.from_url(server.url) as client:
        client.set("kept", 1)
        for command in ("FLUSHALL", "FLUSHDB"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(command)
        with pytest.raises(redis.ResponseError):
            client.eval("return redis.call('FLUSHALL')", 0)
        assert client.get("kept") == b"1"


def test_valkey_wants_its_password_and_listens_on_loopback_alone(valkey_server: Valkey) -> None:
    port = int(valkey_server.url.rsplit(":", 1)[1].split("/")[0])
    with redis.Redis(port=port) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    with redis.Redis.from_url(valkey_server.url) as client:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}


def test_valkey_password_is_readable_by_its_owner_alone(valkey_server: Valkey) -> None:
    directory = Path(valkey_server.server.launch.command[1]).parent
    for name in ("password", "valkey.conf"):
        assert (directory / name).stat().st_mode & 0o077 == 0


async def test_postgres_wants_its_password_and_commits_to_disk(postgres_server: Postgres) -> None:
    connection = await asyncpg.connect(postgres_server.url)
    try:
        assert await connection.fetchval("SHOW synchronous_commit") == "on"
        assert await connection.fetchval("SHOW fsync") == "on"
        assert await connection.fetchval("SHOW listen_addresses") == "127.0.0.1"
        assert (await connection.fetchval("SHOW server_version")).startswith("18")
    finally:
        await connection.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres_server.url, password="guess")


async def test_postgres_keeps_its_data_over_a_kill_and_a_stop(tmp_path: Path) -> None:
    server = Postgres(tmp_path / "p")
    with contextlib.closing(server):
        for number, end in enumerate((server.kill, server.stop)):
            connection = await asyncpg.connect(server.url)
            await connection.execute(f"CREATE TABLE kept_{number} ()")
            connection.terminate()
            end()
            server.start()
        again = postgres.prepare(tmp_path / "p", tmp_path / "p.log")
        assert again.url.split("@")[0] == server.url.split("@")[0]
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("SELECT count(*) FROM kept_0, kept_1") == 0
        await connection.close()


def test_a_second_server_on_the_same_data_waits_and_then_fails(tmp_path: Path) -> None:
    server = Valkey(tmp_path / "v")
    with contextlib.closing(server):
        second = valkey.prepare(tmp_path / "v", tmp_path / "second.log", maxmemory_bytes=1 << 28)
        with pytest.raises(process.ServerFailed, match="another server"):
            process.start(second, timeout_s=0.3)


def test_a_server_that_ends_while_starting_is_reported_with_its_last_words(tmp_path: Path) -> None:
    server = valkey.prepare(tmp_path / "v", tmp_path / "v.log", maxmemory_bytes=1 << 28)
    configuration = Path(server.launch.command[1])
    configuration.write_text(configuration.read_text() + "no-such-directive 1\n")
    with pytest.raises(process.ServerFailed, match="no-such-directive"):
        process.start(server)


def test_servers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    starter = subprocess.Popen(
        (sys.executable, "-c", STARTER, str(tmp_path)), stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout
    pids = [int(pid) for pid in starter.stdout.readline().split()]
    starter.stdout.close()
    assert len(pids) == 2
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    wait_for(lambda: not any(is_alive(pid) for pid in pids), "the servers end")
    assert not (tmp_path / "postgres" / "data" / "postmaster.pid").exists(), "shut down in order"


def test_no_user_to_run_postgres_as_is_said_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(process.ServerFailed, match=r"useradd.*make a system user named postgres"):
        postgres.make_user("holdfast-nobody")


def test_a_user_that_exists_is_taken_though_useradd_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    useradd = tmp_path / "useradd"
    useradd.write_text("#!/bin/sh\necho cannot lock /etc/passwd >&2\nexit 1\n")
    useradd.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert postgres.make_user("nobody") == "nobody"


def test_an_initialisation_that_was_interrupted_is_made_again(tmp_path: Path) -> None:
    partial = tmp_path / "p" / "data.partial"
    partial.mkdir(parents=True)
    (partial / "PG_VERSION").write_text("18")
    server = Postgres(tmp_path / "p", anew=True)
    server.close()
    assert not partial.exists()


def test_a_port_that_was_taken_meanwhile_is_changed(tmp_path: Path) -> None:
    port = process.keep_port(tmp_path / "port")
    assert process.keep_port(tmp_path / "port") == port
    with socket.create_server(("127.0.0.1", port)):
        other = process.keep_port(tmp_path / "port")
    assert other != port
    assert process.keep_port(tmp_path / "port") == other
    assert other in process.PORTS
