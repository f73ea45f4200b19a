"""The longest files first: xdist hands out whole files, and one that comes last is waited for.

`tests/run` keeps xdist from an order of its own, by the number of tests: a file of one test may be
the longest of all.
"""

from __future__ import annotations

from typing import Final

import pytest

FOLDERS: Final = ("faults", "acceptance", "simulation", "integration", "lua", "unit")
"""From long tests to short ones."""


def rank(item: pytest.Item) -> tuple[bool, int]:
    """Where a test's file comes: those that start the whole system, then by folder."""
    starts_a_system = "system" in getattr(item, "fixturenames", ())
    folder = item.path.parent.name
    return not starts_a_system, FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files in order; the order of the tests of a file stays."""
    ranks: dict[object, tuple[bool, int]] = {}
    for item in items:
        ranks[item.path] = min(rank(item), ranks.get(item.path, rank(item)))
    items.sort(key=lambda item: ranks[item.path])
