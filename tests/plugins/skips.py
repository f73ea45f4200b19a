"""Count skipped tests, and fail the run for one that is not on the list.

`tests/allowed_skips.txt` has one pattern of node ids a line (`fnmatch`), then `#` and the reason.
A test that is expected to fail (`xfail`) counts as skipped: it proves nothing either.
Works with xdist, whose workers send their reports to the process that decides here.
"""

from __future__ import annotations

from collections.abc import Generator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ALLOWED_FILE = Path(__file__).resolve().parent.parent / "allowed_skips.txt"


def read_allowed(path: Path) -> list[str]:
    """Return the patterns of a list of allowed skips; a line without a reason is refused."""
    patterns: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        pattern, mark, reason = (part.strip() for part in line.partition("#"))
        if not pattern:
            continue
        if not mark or not reason:
            raise pytest.UsageError(f"{path.name}:{number}: write `pattern  # reason`")
        patterns.append(pattern)
    return patterns


class Skips:
    """Collects what was skipped; decides once, in the process that prints the summary."""

    def __init__(self, allowed: list[str]) -> None:
        self.allowed = allowed
        self.skipped: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test, or its setup, that was skipped."""
        if report.skipped:
            self.skipped.add(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a whole module that was skipped."""
        if report.skipped:
            self.skipped.add(report.nodeid)

    @property
    def refused(self) -> list[str]:
        """The skipped that no pattern allows, in order."""
        return sorted(
            node
            for node in self.skipped
            if not any(node == pattern or fnmatchcase(node, pattern) for pattern in self.allowed)
        )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Turn a run that passed into one that failed, if a skip is not allowed."""
        result = yield
        if self.refused and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return result

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the count, and the names of those that fail the run."""
        terminalreporter.write_line(
            f"skipped tests: {len(self.skipped)}, of which not allowed: {len(self.refused)}"
        )
        for node in self.refused:
            terminalreporter.write_line(f"SKIP NOT ALLOWED {node}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    """Register the collector, except in xdist's workers, which decide nothing."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Skips(read_allowed(ALLOWED_FILE)), "holdfast-skips")
