"""The longest files first: xdist hands out whole files, and one that comes last is waited for.

`tests/run` keeps xdist from an order of its own, by the number of tests: a file of one test may be
the longest of all. The files that share a system are handed out as one, or each of xdist's workers
would start it.
"""

from __future__ import annotations

from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

FOLDERS: Final = ("faults", "acceptance", "simulation", "integration", "lua", "unit")
"""From long tests to short ones."""
SHARE_A_SYSTEM: Final = (
    "tests/acceptance/test_bounds.py",
    "tests/acceptance/test_flash_sale.py",
    "tests/acceptance/test_holds_return.py",
    "tests/faults/test_short_histories.py",
)
"""Those that take the fixture `shared_system`."""


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


class FileScheduling(LoadFileScheduling):  # type: ignore[misc]
    """As `--dist loadfile` does it, but for the files that go together."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "shared system" if file in SHARE_A_SYSTEM else file


@pytest.hookimpl
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """The scheduler of `--dist loadfile`."""
    return FileScheduling(config, log) if config.getvalue("dist") == "loadfile" else None
