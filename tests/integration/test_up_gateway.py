"""The payment gateway of `holdfast up`: the simulator that it starts, or the one that was named."""

from __future__ import annotations

import contextlib
import signal
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
from tests.helpers.servers import System, is_alive, wait_for


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One whose simulator is told some faults that do not show."""
    directory = tmp_path_factory.mktemp("up") / "data"
    faults = {"HOLDFAST_SIMULATOR_LATENCY_MS": "2", "HOLDFAST_SIMULATOR_SEARCH_LAG_MS": "7"}
    with System(directory, "--demo-sale", "--api-workers", "1", **faults) as running:
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


def test_with_stripe_configured_there_is_no_simulator(tmp_path: Path) -> None:
    variables = payment_variables(payment_settings(gateway="stripe"))
    with System(tmp_path / "data", "--api-workers", "1", **variables) as running:
        assert running.run["gateway_url"] is None
        assert running.pids["gateway"] is None
        assert not (running.directory / "simulator").exists()


def test_a_simulator_that_was_named_is_used_and_not_stopped(
    simulator: Simulator, tmp_path: Path
) -> None:
    variables = payment_variables(payment_settings(simulator.url))
    with System(tmp_path / "data", "--demo-sale", "--api-workers", "1", **variables) as running:
        assert running.pids["gateway"] is None
        booking = pay(running)
        assert running.stop() == 0
    assert [charge["booking_id"] for charge in simulator.charges()] == [booking["id"]]


def test_killed_or_stopped_with_the_system_it_keeps_its_books_its_key_and_its_port(
    system: System,
) -> None:
    """Last in this module: it stops the system and starts it again."""
    first, url = pay(system), system.run["gateway_url"]
    before = system.pids["gateway"]
    psutil.Process(before).send_signal(signal.SIGKILL)
    wait_for(lambda: system.pids["gateway"] not in {before, None}, "it is started again")
    wait_for(lambda: answers(system), "it answers")
    second = pay(system)
    pids = system.pids
    printed = system.output.stat().st_size
    assert system.stop() == 0
    assert not is_alive(pids["gateway"])
    check_order_of_ends(system.output.read_bytes()[printed:].decode())

    system.start()
    assert system.run["gateway_url"] == url
    charged = [charge["booking_id"] for charge in ask(system, "charges")["charges"]]
    assert charged[-2:] == [first["id"], second["id"]]
    assert pay(system)["payment"]["status"] == "CAPTURED"
    # The API has another port than before, and the webhooks come all the same.
    wait_for(lambda: ask(system, "totals")["open_webhooks"] == 0, "its webhooks are taken")


def check_order_of_ends(printed: str) -> None:
    """The parts are stopped before the gateway, and it before the servers."""
    lines = printed.splitlines()
    stopped = [line.partition('"child": "')[2].partition('"')[0] for line in lines]
    ended = [name for name, line in zip(stopped, lines, strict=True) if '"stopped"' in line]
    assert ended == ["api-0", "worker", "simulator", "postgres", "valkey"]


def answers(system: System) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return bool(ask(system, "health") == {"status": "ok"})
    return False
