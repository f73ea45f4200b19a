"""No process outlives the run: what a test started and left is named, ended, and fails the run.

Every process that a test starts inherits one environment variable, so that those whose parents
have died are found as well.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator

import psutil
import pytest

MARK = "HOLDFAST_TEST_RUN_ID"
GRACE_S = 5.0


def marked(run_id: str) -> list[psutil.Process]:
    """Return the processes of a run, but this one."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(MARK) == run_id:
                found.append(process)
        except psutil.Error:
            continue
    return found


def describe(process: psutil.Process) -> str:
    """Return a line about a process, or nothing where it has gone."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return f"{process.pid} {' '.join(process.cmdline())[:160]}"
    except psutil.Error:
        return ""


class Leftovers:
    """Looks once, after xdist's workers have gone."""

    def __init__(self, run_id: str, grace_s: float = GRACE_S) -> None:
        self.run_id = run_id
        self.grace_s = grace_s
        self.found: list[str] = []

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """End what is left after a moment's grace; fail the run for it."""
        result = yield
        _, alive = psutil.wait_procs(marked(self.run_id), timeout=self.grace_s)
        self.found = [line for process in alive if (line := describe(process))]
        for process in alive:
            try:
                process.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(alive, timeout=self.grace_s)
        if self.found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return result

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name what was left."""
        for line in self.found:
            terminalreporter.write_line(f"PROCESS LEFT {line}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    """Mark the run, in the process that starts the others."""
    if not hasattr(config, "workerinput"):
        os.environ[MARK] = uuid.uuid4().hex
        config.pluginmanager.register(Leftovers(os.environ[MARK]), "holdfast-leftovers")
