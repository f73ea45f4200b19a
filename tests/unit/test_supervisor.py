"""The supervisor, on small programs that misbehave."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from holdfast import supervisor as room
from holdfast.embedded.process import Launch, Server, ServerFailed
from holdfast.supervisor import Supervisor, bound_log
from tests.helpers.servers import is_alive, until

FOREVER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('up', flush=True); time.sleep(600)"
)


def launch(tmp_path: Path, program: str, **terms: object) -> Launch:
    return Launch(
        name="child",
        command=(sys.executable, "-I", "-S", "-c", program),
        log=tmp_path / "child.log",
        **terms,  # type: ignore[arg-type]
    )


async def until_printed(path: Path, text: str) -> None:
    await until(lambda: path.exists() and text in path.read_text(), f"{text} in {path}")


async def test_a_child_that_dies_is_started_again_and_said(tmp_path: Path) -> None:
    ended: list[int] = []
    written: list[list[int]] = []
    supervisor = Supervisor(ended.append)
    await supervisor.start("part", launch(tmp_path, FOREVER))
    watching = asyncio.create_task(
        supervisor.watch(lambda: written.append(supervisor.pids("part")))
    )
    first = supervisor.pids("part")[0]
    os.kill(first, signal.SIGKILL)
    await until(lambda: bool(written) and written[-1] not in ([], [first]), "it is started again")
    second = written[-1][0]
    assert supervisor.pids("part") == [second]
    assert ended == [first]
    await supervisor.stop("part", 5)
    assert not is_alive(second)
    assert supervisor.pids("part") == []
    watching.cancel()


async def test_a_child_that_keeps_dying_is_started_ever_more_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(room, "LONGEST_PAUSE_S", 0.05)
    supervisor = Supervisor()
    child = await supervisor.start("part", launch(tmp_path, "raise SystemExit(1)"))
    pauses: dict[float, float] = {}

    def five_ends() -> bool:
        supervisor.tick()
        if child.process is None:
            pauses[child.start_at_s] = child.pause_s
        return len(pauses) == 5

    await until(five_ends, "five ends")
    assert list(pauses.values()) == [0.01, 0.02, 0.04, 0.05, 0.05]
    await supervisor.stop("part", 5)


async def test_a_run_file_that_cannot_be_written_does_not_end_the_watch(tmp_path: Path) -> None:
    supervisor = Supervisor()
    await supervisor.start("part", launch(tmp_path, FOREVER))
    calls = 0

    def full_disk_at_first() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError(28, "No space left on device")

    watching = asyncio.create_task(supervisor.watch(full_disk_at_first))
    await until(lambda: calls >= 2, "it tries again")
    assert not watching.done()
    watching.cancel()
    await supervisor.stop("part", 5)


async def test_a_child_that_does_not_stop_in_time_is_killed(tmp_path: Path) -> None:
    supervisor = Supervisor()
    await supervisor.start("part", launch(tmp_path, STUBBORN))
    await until_printed(tmp_path / "child.log", "up")
    pid = supervisor.pids("part")[0]
    await supervisor.stop("part", 0.2)
    assert not is_alive(pid)


async def test_a_second_signal_cuts_the_waiting_short_where_that_loses_nothing(
    tmp_path: Path,
) -> None:
    supervisor = Supervisor()
    await supervisor.start("part", launch(tmp_path, STUBBORN))
    await until_printed(tmp_path / "child.log", "up")
    supervisor.hurry = True
    async with asyncio.timeout(5):
        await supervisor.stop("part", 600, may_hurry=True)


async def test_a_server_that_ends_while_it_starts_is_a_failure_with_its_last_words(
    tmp_path: Path,
) -> None:
    supervisor = Supervisor()
    dying = launch(tmp_path, "raise SystemExit('no such luck')")
    with pytest.raises(ServerFailed, match="no such luck"):
        await supervisor.start_server("part", Server(dying, "", lambda: False))
    await supervisor.stop("part", 5)


async def test_children_do_not_get_the_signals_of_the_terminal(tmp_path: Path) -> None:
    supervisor = Supervisor()
    await supervisor.start("part", launch(tmp_path, FOREVER))
    pid = supervisor.pids("part")[0]
    assert os.getsid(pid) == pid
    await supervisor.stop("part", 5)


def test_a_long_log_is_moved_aside_under_the_child_that_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_LOG_BYTES", 10)
    log = tmp_path / "child.log"
    with log.open("ab", buffering=0) as child:
        child.write(b"0123456789")
        bound_log(log)
        assert log.read_bytes() == b"0123456789", "at its bound"
        child.write(b"A")
        bound_log(log)
        child.write(b"B")
    assert log.read_bytes() == b"B"
    assert (tmp_path / "child.log.1").read_bytes() == b"0123456789A"
