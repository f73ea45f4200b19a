"""`holdfast` commands in processes of their own, forked from one that has imported them.

A start is a second of imports, mostly for a tenth of a second of work, and the tests make some
hundred. Each has its own process, environment and output all the same; that `holdfast` starts from
nothing is shown by `up`, whose parts are all started by their command lines.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

_idle: Final[dict[bool, list[subprocess.Popen[bytes]]]] = {}
"""Hosts without a command, by whether they measure coverage, which is decided when they start."""


class Forked:
    """A running `holdfast`, with what `subprocess.Popen` has of the like.

    Args:
        output: where its stdout and its stderr are appended.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], output: tuple[Path, Path]
    ) -> None:
        for file in output:
            file.touch(0o600)
        self.args = [*arguments]
        self.returncode: int | None = None
        self._pool = _idle.setdefault(any(name.startswith("COVERAGE_") for name in environment), [])
        self._host = self._pool.pop() if self._pool else _start_host()
        job = {
            "arguments": self.args,
            "environment": dict(environment),
            "output": [*map(str, output)],
        }
        assert self._host.stdin
        assert self._host.stdout
        self._told = self._host.stdout
        self._host.stdin.write(json.dumps(job).encode() + b"\n")
        self.pid = int(self._told.readline())

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raises `TimeoutExpired`."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = int(self._told.readline())
            self._pool.append(self._host)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """What `kill -9` does."""
        self.send_signal(signal.SIGKILL)


def run_command(
    arguments: Sequence[str], environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run `holdfast` to its end, as `subprocess.run` does it; raises `TimeoutExpired`."""
    with tempfile.TemporaryDirectory() as directory:
        said, complaint = (Path(directory) / name for name in ("stdout", "stderr"))
        child = Forked(arguments, environment, (said, complaint))
        try:
            code = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise
        return subprocess.CompletedProcess(
            child.args, code, said.read_text(), complaint.read_text()
        )


def _start_host() -> subprocess.Popen[bytes]:
    """A process that runs one command after the other, and ends with this one."""
    command = (sys.executable, "-m", "tests.helpers.commands")
    # Without a buffer, in which a line would be that `select` does not see.
    return subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _serve() -> None:
    """Fork a command for each line of stdin: say its process id, and how it ended."""
    from holdfast import cli
    from holdfast.simulator import serve  # noqa: F401 - what the commands need
    from workers import backlog, main, quarantine, rebuild, verify  # noqa: F401

    ends, ended = os.pipe()
    os.set_blocking(ended, False)
    for line in iter(sys.stdin.readline, ""):
        signal.set_wakeup_fd(ended)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        child = os.fork()
        if child == 0:
            _become(json.loads(line), cli)
        print(child, flush=True)
        # On stdin there is nothing now but its end.
        if 0 in select.select([0, ends], [], [])[0]:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        os.read(ends, 1024)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(job: Any, cli: Any) -> NoReturn:
    """Be that command."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, path in enumerate(job["output"], start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), descriptor)
    os.environ.clear()
    os.environ.update(job["environment"])
    os.setsid()
    sys.argv = ["holdfast", *job["arguments"]]
    sys.exit(cli.main(job["arguments"]))


if __name__ == "__main__":
    _serve()
