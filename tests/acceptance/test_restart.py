"""`up` on the same data directory: stopped, killed, started twice."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from tests.helpers import books
from tests.helpers.client import Client
from tests.helpers.faults import family
from tests.helpers.load import Load, items_of, put_sales
from tests.helpers.servers import System, is_alive

CAPACITIES = {"first": {"A": 5_000, "B": 5_000}, "second": {"A": 5_000}}


def everybody(pids: dict[str, Any]) -> list[int]:
    """The processes of `run.json`, and what they started."""
    named = [
        pid
        for value in pids.values()
        for pid in (value if isinstance(value, list) else [value])
        if pid
    ]
    return [process.pid for process in family(named)]


async def seen(system: System) -> dict[str, Any]:
    """Everything about sales that can be asked for."""
    async with Client(system.url, system.headers("admin")) as admin:
        answers = {"sales": (await admin.get("/v1/sales")).json["sales"]}
        for sale_id in CAPACITIES:
            availability = await admin.get(f"/v1/sales/{sale_id}/availability?fresh=1")
            answers[sale_id] = availability.json["items"]
            history = await admin.get(f"/v1/sales/{sale_id}/items/A/history?limit=200")
            answers[f"{sale_id} history"] = history.json
        return answers


async def test_up_comes_back_with_all_its_data_after_a_stop_and_after_a_kill(
    tmp_path: Path,
) -> None:
    system = System(tmp_path / "data")
    system.start()
    try:
        async with Client(system.url, system.headers("admin")) as admin:
            await put_sales(admin, CAPACITIES)
        client = Client(system.url, system.headers("service"))
        async with client, Load(client, items_of(CAPACITIES), seed=4) as load:
            await load.held_more(60)
        await books.check(system, load, CAPACITIES)
        before, token = await seen(system), system.run["tokens"]["service"]

        # Somebody else's `up` on the same directory.
        second = system.command("up", "--port", "0")
        assert second.returncode == 2
        assert str(system.pids["up"]) in second.stderr
        assert await seen(system) == before

        # As a service manager stops it.
        pids = everybody(system.pids)
        assert len(pids) >= 5
        assert system.child
        system.child.send_signal(signal.SIGTERM)
        assert system.child.wait(60) == 0, system.output.read_text()
        assert [pid for pid in pids if is_alive(pid)] == []
        assert not system.run_file.exists()

        system.start()
        assert await seen(system) == before
        await books.check(system, load, CAPACITIES)

        # As nobody should: what it started ends with it, and it finds its data all the same.
        pids = everybody(system.pids)
        system.kill()
        # At once, while the old servers still shut down: the new ones wait for them.
        system.start()
        assert [pid for pid in pids if is_alive(pid)] == []
        assert await seen(system) == before
        await books.check(system, load, CAPACITIES)

        # A token of the first start is good on the third.
        async with Client(system.url, {"Authorization": f"Bearer {token}"}) as client:
            again = await load.tracked[0].hold.send(client)
            assert (again.status, again.body) == (201, load.tracked[0].first_body)
            assert again.is_replay
    finally:
        assert system.stop() == 0
