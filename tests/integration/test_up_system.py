"""`holdfast up` as a person runs it: the whole system, its run file, what it refuses, its end.

The tests that break nothing come first; those that stop, kill or rob the same system are last.
That it comes back with all its data, stopped or killed: `acceptance/test_restart.py`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis

from tests.helpers.servers import System, clean_environment, holdfast, is_alive, wait_for


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One for all, because its start takes longer than most tests."""
    directory = tmp_path_factory.mktemp("up") / "data"
    running = System(directory, "--demo-sale", "--api-workers", "1")
    running.anew = True
    with running:
        yield running


@pytest.fixture
def running(system: System) -> System:
    """The same, up whatever the test before left of it."""
    assert system.child
    if system.child.poll() is not None:
        system.start()
    return system


def everybody(pids: dict[str, Any]) -> set[int]:
    """All process ids of a run file, and of what they started."""
    named = {
        pid
        for value in pids.values()
        for pid in (value if isinstance(value, list) else [value])
        if pid
    }
    below = {child.pid for pid in named for child in psutil.Process(pid).children(recursive=True)}
    return named | below


def hold(system: System, item_id: str = "standing", quantity: int = 1) -> httpx.Response:
    return httpx.post(
        f"{system.url}/v1/bookings",
        json={"sale_id": "demo", "lines": [{"item_id": item_id, "quantity": quantity}]},
        headers={**system.headers("customer"), "Idempotency-Key": str(uuid.uuid4())},
        timeout=10,
    )


def levels(system: System) -> dict[str, dict[str, int]]:
    answer = httpx.get(f"{system.url}/v1/sales/demo/availability?fresh=1", timeout=10)
    assert answer.status_code == 200, answer.text
    return {item.pop("item_id"): item for item in answer.json()["items"]}


def test_the_run_file_says_where_everything_is(system: System) -> None:
    assert system.run_file.stat().st_mode & 0o777 == 0o600
    run = system.run
    assert set(run) == {
        *("url", "redis_url", "database_url", "gateway_url", "tokens", "pids"),
    }
    assert system.child
    assert run["pids"]["up"] == system.child.pid
    assert re.fullmatch(r"http://sk_test_[0-9a-f]{48}@127\.0\.0\.1:[0-9]+", run["gateway_url"])
    assert is_alive(run["pids"]["gateway"])
    assert len(run["pids"]["worker"]) == 1
    assert all(is_alive(pid) for pid in everybody(run["pids"]))
    for part, program in (("redis", "valkey-server"), ("postgres", "postgres")):
        assert psutil.Process(run["pids"][part]).name() == program
    assert httpx.get(f"{run['url']}/readyz").status_code == 200


def test_the_demonstrations_sale_has_an_item_that_costs_nothing(system: System) -> None:
    sale = httpx.get(f"{system.url}/v1/sales/demo", headers=system.headers("admin")).json()
    assert 0 in {item["unit_price"] for item in sale["items"]}


def test_what_up_prints_names_the_api_and_no_password(system: System) -> None:
    printed = system.output.read_text()
    assert system.url in printed
    for url in ("redis_url", "database_url", "gateway_url"):
        secret = system.run[url].split("@")[0].rpartition("/")[2].rpartition(":")[2]
        assert len(secret) > 16
        assert secret not in printed, url


def test_a_token_of_the_command_line_is_let_in(system: System) -> None:
    token = system.command("token", "--sub", "ann").stdout.strip()
    answer = httpx.post(
        f"{system.url}/v1/bookings",
        json={"sale_id": "demo", "lines": [{"item_id": "seated", "quantity": 1}]},
        headers={"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid.uuid4())},
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["customer_id"] == "ann"


def test_flushing_the_embedded_server_is_denied(system: System) -> None:
    with redis.Redis.from_url(system.run["redis_url"]) as client:
        for command in ("FLUSHALL", "FLUSHDB"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(command)


def test_migrating_again_applies_nothing(system: System) -> None:
    ended = system.command("migrate")
    assert (ended.returncode, ended.stdout) == (0, "nothing to apply\n"), ended.stderr


def test_a_second_up_on_the_same_directory_says_so_and_refuses(system: System) -> None:
    second = system.command("up", "--port", "0")
    assert second.returncode == 2
    assert f"process {system.pids['up']}" in second.stderr
    assert httpx.get(f"{system.url}/readyz").status_code == 200


def test_a_port_that_is_taken_is_refused(system: System, tmp_path: Path) -> None:
    port = system.url.rsplit(":", 1)[1]
    ended = run_up(tmp_path / "d", "--port", port)
    assert ended.returncode == 2
    assert f"--port {port}" in ended.stderr


def test_a_bad_setting_is_refused_by_name_before_anything_starts(tmp_path: Path) -> None:
    ended = run_up(tmp_path / "d", "--port", "0", HOLDFAST_PARTITIONS="0")
    assert ended.returncode == 2
    assert "HOLDFAST_PARTITIONS" in ended.stderr
    assert not (tmp_path / "d").exists()


def test_a_server_that_cannot_be_reached_is_exit_code_3(
    bare_database_url: str, tmp_path: Path
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"redis://127.0.0.1:{closed.getsockname()[1]}"
        servers = ("--redis-url", nowhere, "--database-url", bare_database_url)
        ended = run_up(tmp_path / "d", "--port", "0", *servers)
    assert ended.returncode == 3
    assert "Redis" in ended.stderr


def test_the_settings_of_a_system_are_kept_for_its_operators(system: System) -> None:
    kept = system.directory / "settings.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert json.loads(kept.read_text())["HOLDFAST_REDIS_URL"] == system.run["redis_url"]


def test_named_servers_are_used_and_not_stopped(
    redis_url: str, bare_database_url: str, tmp_path: Path
) -> None:
    servers = ("--redis-url", redis_url, "--database-url", bare_database_url)
    with System(tmp_path / "data", *servers, "--demo-sale", "--api-workers", "1") as running:
        assert running.run["redis_url"] == redis_url
        assert running.run["database_url"] == bare_database_url
        assert running.pids["redis"] is None
        assert running.pids["postgres"] is None
        assert hold(running).status_code == 201
        assert running.stop() == 0
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() > 0


@pytest.mark.parametrize("after_s", [0.05, 0.7, 1.5, 2.2])
def test_a_signal_while_it_starts_stops_it_in_order(after_s: float, tmp_path: Path) -> None:
    child = subprocess.Popen(
        holdfast("up", "--data", str(tmp_path / "data"), "--port", "0"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=clean_environment(),
        start_new_session=True,
    )
    wait_for((tmp_path / "data" / "lock").exists, "it has begun")
    time.sleep(after_s)
    below = [process.pid for process in psutil.Process(child.pid).children(recursive=True)]
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) in (0, -signal.SIGTERM), "-15: before it listened to signals"
    wait_for(lambda: not any(is_alive(pid) for pid in below), "no child is left")


def test_renewed_on_a_signal_it_answers_every_request_meanwhile(running: System) -> None:
    before = running.pids
    answers: list[int] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            answers.append(hold(running).status_code)

    def is_renewed() -> bool:
        now = running.pids
        return all(
            now[part] and set(now[part]).isdisjoint(before[part]) for part in ("api", "worker")
        )

    with ThreadPoolExecutor(2) as buyers:
        asking = [buyers.submit(ask) for _ in range(2)]
        try:
            os.kill(before["up"], signal.SIGUSR1)
            wait_for(is_renewed, "new processes in the run file")
            wait_for(lambda: not is_alive(before["worker"][0]), "the end of the old worker")
        finally:
            ended.set()
        for one in asking:
            one.result()
    assert set(answers) == {201}
    assert {part: running.pids[part] for part in ("up", "redis", "postgres", "gateway")} == {
        part: before[part] for part in ("up", "redis", "postgres", "gateway")
    }


def test_whatever_dies_is_started_again_and_the_run_file_says_so(running: System) -> None:
    before = levels(running)["standing"]["held"]
    assert hold(running).status_code == 201
    for part in ("redis", "postgres", "api", "worker", "gateway"):
        pids = running.pids[part]
        os.kill(pids[0] if isinstance(pids, list) else pids, signal.SIGKILL)
        wait_for(
            lambda part=part, pids=pids: running.pids[part] not in (pids, None, []),  # type: ignore[misc]
            f"{part} is started again",
        )
    wait_for(lambda: ready(running), "it is ready again")
    assert hold(running).status_code == 201
    assert levels(running)["standing"]["held"] == before + 2


def test_another_number_of_partitions_is_refused(running: System) -> None:
    assert running.stop() == 0
    ended = run_up(running.directory, "--port", "0", HOLDFAST_PARTITIONS="8")
    assert ended.returncode != 0
    assert "partitions" in ended.stderr.lower()


def test_a_system_whose_redis_lost_its_data_comes_up_and_sells_nothing(system: System) -> None:
    """Last in this module: nothing is sold on it any more."""
    assert system.stop() == 0
    shutil.rmtree(system.directory / "valkey" / "appendonlydir")
    system.start()
    assert "takes no bookings" in system.output.read_text()
    assert httpx.get(f"{system.url}/readyz").status_code == 503
    refused = hold(system)
    assert (refused.status_code, refused.json()["code"]) == (503, "fenced")
    assert system.stop() == 0


def ready(system: System) -> bool:
    try:
        return httpx.get(f"{system.url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def run_up(
    directory: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """An `up` that is expected not to come up."""
    return subprocess.run(
        holdfast("up", "--data", str(directory), *arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=clean_environment(environment),
        timeout=60,
        check=False,
    )
