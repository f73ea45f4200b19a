"""`holdfast demo`: a flash sale, sold out over HTTP, in one command."""

from __future__ import annotations

import json
import subprocess

from tests.helpers.servers import clean_environment, holdfast

FIELDS = {
    *("buyers", "stock", "committed", "refused", "errors", "oversold", "duplicate_charges"),
    *("committed_per_s", "refused_per_s", "p50_ms", "p99_ms", "redis_equals_postgres"),
}


def test_the_demo_commits_exactly_the_stock_and_both_books_are_equal() -> None:
    done = subprocess.run(
        holdfast("demo", "--json", "--buyers", "400", "--stock", "100"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result.keys() == FIELDS
    assert (result["buyers"], result["stock"], result["committed"]) == (400, 100, 100)
    assert (result["errors"], result["oversold"], result["duplicate_charges"]) == (0, 0, 0)
    assert result["redis_equals_postgres"] is True
    assert result["refused"] > 0
