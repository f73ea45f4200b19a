"""`docs/embedding.md` is run as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from engine.types import Levels
from tests.helpers.engines import opened
from tests.helpers.fake import DATA_KEY

PAGE = Path(__file__).parents[2] / "docs" / "embedding.md"


def blocks() -> list[str]:
    return re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def test_the_example_is_ten_lines() -> None:
    example, _ = blocks()
    assert len(example.splitlines()) == 10


async def test_the_example_holds_and_releases_stock(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    example, needs = blocks()
    names: dict[str, Any] = {}
    exec(compile(f"{needs}\n{example}", str(PAGE), "exec"), names)
    await names["sell"](redis_url, DATA_KEY)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("held ")
    assert "Levels(item_id='seat', available=100, held=0, sold=0)" in second
    async with opened(redis_url, partitions=16) as engine:
        sale = await engine.sales.get("gig")
        assert sale
        assert sale.levels == (Levels("seat", 100, 0, 0),)
        partition = engine.keys.partition_of_sale("gig")
        assert (await engine.journal.status(partition)).sequence == 3
