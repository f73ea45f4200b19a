"""The payment gateway of `holdfast up`: the simulator that it starts, or the one that was named."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from holdfast.gateway import API_BASE, API_KEY, variables_of
from holdfast.system import operator_payment_settings
from tests.helpers.gateways import Simulator, payment_settings, payment_variables
from tests.helpers.servers import System, clean_environment, holdfast, is_alive, wait_for

OF_A_PART = (
    "HOLDFAST_STRIPE_API_BASE",
    "HOLDFAST_STRIPE_API_KEY",
    "HOLDFAST_STRIPE_WEBHOOK_SECRET",
)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One whose simulator is told some faults that do not show."""
    directory = tmp_path_factory.mktemp("up") / "data"
    faults = {"HOLDFAST_SIMULATOR_LATENCY_MS": "2", "HOLDFAST_SIMULATOR_SEARCH_LAG_MS": "7"}
    with System(directory, "--demo-sale", **faults) as running:
        yield running


def pay(system: System) -> dict[str, Any]:
    """Hold a unit of the demonstration's sale, and pay for it."""
    headers = system.headers("customer")
    with httpx.Client(base_url=system.url, headers=headers, timeout=30) as http:
        body = {"sale_id": "demo", "lines": [{"item_id": "standing", "quantity": 1}]}
        key = {"Idempotency-Key": str(uuid.uuid4())}
        held = http.post("/v1/bookings", json=body, headers=key).json()
        answer = http.post(
            f"/v1/bookings/{held['id']}/pay", json={"payment_method": "pm_card_visa"}, headers=key
        )
    assert answer.status_code == 200, answer.text
    booking: dict[str, Any] = answer.json()
    return booking


def ask(system: System, what: str) -> Any:
    """What the simulator says of itself."""
    return httpx.get(f"{system.run['gateway_url']}/_simulator/{what}", timeout=10).json()


def test_a_booking_is_paid_and_the_gateways_webhooks_come_in(system: System) -> None:
    booking = pay(system)
    assert (booking["status"], booking["payment"]["status"]) == ("CONFIRMED", "CAPTURED")
    assert booking["payment"]["gateway"] == "simulator"
    (charge,) = ask(system, "charges")["charges"]
    assert (charge["booking_id"], charge["amount_captured"]) == (booking["id"], 4500)
    assert charge["id"] == booking["payment"]["capture_id"]
    wait_for(lambda: ask(system, "totals")["open_webhooks"] == 0, "its webhooks are taken")
    assert ask(system, "totals")["lost_webhooks"] == 0


def test_the_key_in_the_run_file_is_the_gateways_and_no_other_is_let_in(system: System) -> None:
    url = system.run["gateway_url"]
    assert httpx.get(f"{url}/v1/payment_intents", timeout=10).status_code == 200
    other = variables_of(url)[API_BASE]
    assert httpx.get(f"{other}/v1/payment_intents", timeout=10).status_code == 401


def test_its_keys_are_their_owners_alone(system: System) -> None:
    for name in ("api-key", "webhook-secret"):
        assert (system.directory / "simulator" / name).stat().st_mode & 0o777 == 0o600
    assert (system.directory / "simulator").stat().st_mode & 0o777 == 0o700


def test_the_faults_of_the_environment_reach_it(system: System) -> None:
    faults = ask(system, "settings")
    assert (faults["latency_ms"], faults["search_lag_ms"]) == (2, 7)


def test_operators_ask_the_gateway_of_the_run_file(
    system: System, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = operator_payment_settings(system.directory)
    named = variables_of(system.run["gateway_url"])
    assert settings.stripe_api_base == named[API_BASE]
    assert settings.stripe_api_key.get_secret_value() == named[API_KEY]
    monkeypatch.setenv("HOLDFAST_STRIPE_API_BASE", "http://127.0.0.1:9")
    assert operator_payment_settings(system.directory).stripe_api_base == "http://127.0.0.1:9"


def test_killed_or_stopped_with_the_system_it_keeps_its_books_its_key_and_its_port(
    tmp_path: Path,
) -> None:
    running = System(tmp_path / "data", "--demo-sale").start()
    try:
        first, url = pay(running), running.run["gateway_url"]
        before = running.pids["gateway"]
        psutil.Process(before).send_signal(signal.SIGKILL)
        wait_for(lambda: running.pids["gateway"] not in {before, None}, "it is started again")
        wait_for(lambda: answers(running), "it answers")
        second = pay(running)
        pids = running.pids
        assert running.stop() == 0
        assert not is_alive(pids["gateway"])

        running.start()
        assert running.run["gateway_url"] == url
        charged = [charge["booking_id"] for charge in ask(running, "charges")["charges"]]
        assert charged == [first["id"], second["id"]]
        assert pay(running)["payment"]["status"] == "CAPTURED"
        # The API has another port than before, and the webhooks come all the same.
        wait_for(lambda: ask(running, "totals")["open_webhooks"] == 0, "its webhooks are taken")
    finally:
        running.stop()


def answers(system: System) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return bool(ask(system, "health") == {"status": "ok"})
    return False


def test_the_parts_are_stopped_before_the_gateway_and_it_before_the_servers(
    tmp_path: Path,
) -> None:
    running = System(tmp_path / "data").start()
    assert running.stop() == 0
    lines = running.output.read_text().splitlines()
    stopped = [line.partition('"child": "')[2].partition('"')[0] for line in lines]
    ended = [name for name, line in zip(stopped, lines, strict=True) if '"stopped"' in line]
    assert ended[-4:] == ["worker", "simulator", "postgres", "valkey"]
    assert {name.partition("-")[0] for name in ended[:-4]} == {"api"}


def test_with_stripe_configured_there_is_no_simulator(tmp_path: Path) -> None:
    variables = payment_variables(payment_settings(gateway="stripe"))
    with System(tmp_path / "data", **variables) as running:
        assert running.run["gateway_url"] is None
        assert running.pids["gateway"] is None
        assert not (running.directory / "simulator").exists()


def test_a_simulator_that_was_named_is_used_and_not_stopped(
    simulator: Simulator, tmp_path: Path
) -> None:
    variables = payment_variables(payment_settings(simulator.url))
    with System(tmp_path / "data", "--demo-sale", **variables) as running:
        assert running.pids["gateway"] is None
        booking = pay(running)
        assert running.stop() == 0
    assert [charge["booking_id"] for charge in simulator.charges()] == [booking["id"]]


@pytest.mark.parametrize("part", ["api", "worker"])
@pytest.mark.parametrize("missing", OF_A_PART)
def test_a_part_alone_refuses_to_start_without_the_gateways_settings(
    part: str, missing: str, system: System
) -> None:
    kept = json.loads((system.directory / "settings.json").read_text())
    del kept[missing]
    ended = subprocess.run(
        holdfast(part),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=clean_environment(kept),
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert missing in ended.stderr
