"""The operator's commands in processes of their own, forked from one that has imported them.

A command is a second of imports for a tenth of a second of work, and the tests run some hundred.
Each gets its own process, environment and output all the same; that `holdfast` starts from nothing
is shown where the tests start a part by its command line.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

_idle: Final[dict[bool, list[_Host]]] = {}
"""By whether they measure coverage, which is decided when they start."""


def run_command(
    arguments: Sequence[str], environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run `holdfast` with these arguments to its end; raises `TimeoutExpired` as `subprocess` does.

    Several may run at once.
    """
    idle = _idle.setdefault(any(name.startswith("COVERAGE_") for name in environment), [])
    host = idle.pop() if idle else _Host()
    done = host.run(arguments, environment, timeout_s)
    idle.append(host)
    return done


class _Host:
    """A process that forks one command after the other."""

    def __init__(self) -> None:
        command = (sys.executable, "-m", "tests.helpers.commands")
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        atexit.register(self.close)

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as directory:
            output = [Path(directory) / name for name in ("stdout", "stderr")]
            job = {
                "arguments": [*arguments],
                "environment": dict(environment),
                "output": [*map(str, output)],
                "timeout_s": timeout_s,
            }
            assert self._child.stdin
            assert self._child.stdout
            self._child.stdin.write(json.dumps(job) + "\n")
            self._child.stdin.flush()
            code = int(self._child.stdout.readline())
            said, complaint = (file.read_text() for file in output)
        if code == -signal.SIGALRM:
            raise subprocess.TimeoutExpired([*arguments], timeout_s, said, complaint)
        return subprocess.CompletedProcess([*arguments], code, said, complaint)

    def close(self) -> None:
        """End it; it has nothing to do."""
        with contextlib.suppress(OSError):
            self._child.communicate()


def _serve() -> None:
    """Fork the commands that come in on stdin, and say how each ended."""
    from holdfast import cli
    from workers import backlog, quarantine, rebuild, verify  # noqa: F401 - what the commands need

    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(job, cli)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(job: Any, cli: Any) -> NoReturn:
    """Be that command."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, path in enumerate((None, *job["output"])):
        source = os.open(path, os.O_WRONLY | os.O_CREAT) if path else nothing
        os.dup2(source, descriptor)
    os.environ.clear()
    os.environ.update(job["environment"])
    signal.setitimer(signal.ITIMER_REAL, job["timeout_s"])
    sys.argv = ["holdfast", *job["arguments"]]
    sys.exit(cli.main(job["arguments"]))


if __name__ == "__main__":
    _serve()
