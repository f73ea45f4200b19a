"""`GET /v1/ops/backlog`: what the operator's command prints, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.helpers.api import Api, open_api, refused

PATH = "/v1/ops/backlog"
ADMIN = {"sub": "boss", "scope": "admin"}


@pytest.fixture
async def api(redis_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with open_api(redis_url, database_url, tmp_path) as opened:
        yield opened


async def test_every_partition_tells_where_its_journal_and_postgresql_are(api: Api) -> None:
    await api.put_sale()
    await api.hold()
    await api.drained()
    answer = await api.get(PATH, **ADMIN)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["total_entries"], told["lag_s"]) == (0, 0)
    sequences = await api.sequences()
    assert {part["partition"]: part["tip"] for part in told["partitions"]} == sequences
    assert all(part["cursor"] == part["tip"] for part in told["partitions"])
    assert sum(sequences.values()) == 2


async def test_a_fenced_partition_is_named_with_its_reason(api: Api) -> None:
    await api.stage.engine.journal.fence(1, "journal_gap")
    told = (await api.get(PATH, **ADMIN)).json()
    fences = {part["partition"]: part["fenced"] for part in told["partitions"]}
    assert fences == {0: None, 1: "journal_gap", 2: None, 3: None}


async def test_who_is_no_administrator_is_not_told(api: Api) -> None:
    refused(await api.get(PATH), 403, "forbidden")
