"""A process that outlives its test is found, also when its parent has died."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid

import psutil
import pytest

from tests.plugins.leftovers import MARK, Leftovers, marked

pytest_plugins = ["pytester"]

PLAIN = ("-p", "no:asyncio", "-p", "no:locust", "-p", "no:xdist")

ORPHAN = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()'], stdin=0)"


def test_an_orphan_is_named_and_ended(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_suite="def test_passes(): ...")
    run_id = uuid.uuid4().hex
    reading, writing = os.pipe()
    subprocess.run(
        [sys.executable, "-c", ORPHAN], env={**os.environ, MARK: run_id}, stdin=reading, check=True
    )
    (orphan,) = marked(run_id)
    leftovers = Leftovers(run_id, grace_s=0.5)
    run = pytester.inline_run(*PLAIN, plugins=[leftovers])
    os.close(reading)
    os.close(writing)
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    assert [line.split()[0] for line in leftovers.found] == [str(orphan.pid)]
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_a_run_that_leaves_nothing_passes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_suite="def test_passes(): ...")
    leftovers = Leftovers(uuid.uuid4().hex)
    run = pytester.inline_run(*PLAIN, plugins=[leftovers])
    assert run.ret == pytest.ExitCode.OK
    assert leftovers.found == []
