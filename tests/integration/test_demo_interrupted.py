"""`holdfast demo` that is stopped half-way takes everything with it that it started."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.helpers.servers import clean_environment, holdfast, is_alive, wait_for


@pytest.mark.parametrize(
    ("number", "exit_code", "when", "processes"),
    [
        (signal.SIGINT, 130, "*/data/run.json", 5),
        # While it starts: its up, and what that starts just then.
        (signal.SIGTERM, 143, "*/data/valkey/appendonlydir", 2),
    ],
    ids=["INT", "TERM"],
)
def test_no_process_and_no_directory_is_left(
    tmp_path: Path, number: signal.Signals, exit_code: int, when: str, processes: int
) -> None:
    child = subprocess.Popen(
        holdfast("demo", "--buyers", "20000"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment({"TMPDIR": str(tmp_path)}),
    )
    try:
        wait_for(lambda: bool(list(tmp_path.glob(when))), "the system to be so far", 60)
        started = psutil.Process(child.pid).children(recursive=True)
        assert len(started) >= processes
        child.send_signal(number)
        said, complaint = child.communicate(timeout=120)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == exit_code, complaint.decode()
    assert said == b""
    assert not any(is_alive(process.pid) for process in started)
    assert list(tmp_path.iterdir()) == []
