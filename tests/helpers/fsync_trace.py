"""Watches what a running server writes to its append only file, and what it has synced of it.

A process of its own (this file, run as a script), because all of a tracee's stops have to be waited
for by the thread that traces it; standard library only, so that it starts at once. It follows every
thread with ptrace(2) from one system call to the next: no strace, no compiler. What the kernel says
of a call (PTRACE_GET_SYSCALL_INFO, Linux 5.3) has the same shape on every machine; the numbers of
the calls have not.

    python -I -S fsync_trace.py PID FILE_ENDING MIN_UNSYNCED_BYTES

It prints `ready` when it has every thread. Told so by SIGUSR1, it ends the server with SIGKILL at
the worst moment: when a write has just returned and that many bytes of the file are not synced. At
the end of the server it prints a `Trace` as JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Self

PTRACE_SYSCALL = 24
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
PTRACE_LISTEN = 0x4208
PTRACE_GET_SYSCALL_INFO = 0x420E
OPTIONS = 0x1 | 0x8  # TRACESYSGOOD, TRACECLONE
EVENT_STOP = 128
WALL = 0x40000000
ENTRY, EXIT = 1, 2
STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}

WRITES = {0xC000003E: {1, 18, 20}, 0xC00000B7: {64, 66, 68}}
"""write, pwrite64, writev (and on a socket writev is a reply) by AUDIT_ARCH: x86_64, aarch64."""
SYNCS = {0xC000003E: {74, 75}, 0xC00000B7: {82, 83}}
"""fsync, fdatasync."""


@dataclass(slots=True)
class Trace:
    """What was seen. Lengths are bytes of a file, by its path."""

    written: dict[str, int] = field(default_factory=dict)
    synced: dict[str, int] = field(default_factory=dict)
    """The length when the last sync that completed was begun: what a power cut leaves."""
    writes: int = 0
    syncs: int = 0
    replies: int = 0
    early_replies: int = 0
    """Replies that left while something written was not synced."""
    killed: bool = False
    """Whether the tracer ended the server itself."""

    @property
    def unsynced_bytes(self) -> int:
        """How much a power cut takes."""
        return sum(length - self.synced.get(path, 0) for path, length in self.written.items())


class Tracer:
    """Traces one process to its end."""

    def __init__(self, pid: int, file_ending: str, min_unsynced_bytes: int) -> None:
        self.pid = pid
        self.file_ending = file_ending
        self.min_unsynced_bytes = min_unsynced_bytes
        self.trace = Trace()
        self.armed = False
        self.calls: dict[int, tuple[str, str, int]] = {}
        """By thread, the call it is in: `write`, `reply` or `sync`, the path, the length before."""
        self.info = ctypes.create_string_buffer(128)
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = (ctypes.c_long,) * 2 + (ctypes.c_void_p,) * 2
        self.libc.ptrace.restype = ctypes.c_long

    def ptrace(self, request: int, thread: int, address: int = 0, data: int = 0) -> int:
        """Call ptrace; a thread that has just ended is no error."""
        result: int = self.libc.ptrace(request, thread, address, data)
        if result < 0 and ctypes.get_errno() != 3:
            raise OSError(ctypes.get_errno(), f"ptrace request {request:#x} of {thread}")
        return result

    def attach(self) -> None:
        """Take every thread; those that are started later come by themselves."""
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            self.ptrace(PTRACE_SEIZE, int(task.name), 0, OPTIONS)
            self.ptrace(PTRACE_INTERRUPT, int(task.name))

    def arm(self, _signal: int, _frame: FrameType | None) -> None:
        """From now on, kill when it hurts most."""
        self.armed = True

    def run(self) -> None:
        """Follow the server until it ends."""
        while True:
            thread, status = os.waitpid(-1, WALL)
            if not os.WIFSTOPPED(status):
                if thread == self.pid:
                    return
                continue
            stop, event = os.WSTOPSIG(status), status >> 16
            if stop == signal.SIGTRAP | 0x80:
                self.on_call(thread)
                self.ptrace(PTRACE_SYSCALL, thread)
            elif event == EVENT_STOP and stop in STOPPING:
                self.ptrace(PTRACE_LISTEN, thread)
            else:
                self.ptrace(PTRACE_SYSCALL, thread, 0, 0 if event else stop)

    def on_call(self, thread: int) -> None:
        """A thread enters a system call, or comes back from it."""
        size = len(self.info)
        self.ptrace(PTRACE_GET_SYSCALL_INFO, thread, size, ctypes.addressof(self.info))
        operation, architecture = struct.unpack_from("<B3xI", self.info)
        if operation == ENTRY:
            number, descriptor = struct.unpack_from("<QQ", self.info, 24)
            self.on_entry(thread, architecture, number, descriptor)
        elif operation == EXIT and thread in self.calls:
            (result,) = struct.unpack_from("<q", self.info, 24)
            self.on_exit(*self.calls.pop(thread), result)

    def on_entry(self, thread: int, architecture: int, number: int, descriptor: int) -> None:
        """Note a call that matters; a sync covers what was written before it began."""
        is_write = number in WRITES[architecture]
        if not is_write and number not in SYNCS[architecture]:
            return
        try:
            path = str(Path(f"/proc/{self.pid}/fd/{descriptor}").readlink())
        except FileNotFoundError:
            return
        if path.endswith(self.file_ending):
            kind = "write" if is_write else "sync"
            self.calls[thread] = (kind, path, Path(path).stat().st_size)
        elif is_write and path.startswith("socket:"):
            self.trace.replies += 1
            self.trace.early_replies += self.trace.unsynced_bytes > 0

    def on_exit(self, kind: str, path: str, length_before: int, result: int) -> None:
        """Count a call that succeeded; kill after a write, if that was asked for."""
        if result < 0:
            return
        if kind == "sync":
            self.trace.syncs += 1
            self.trace.synced[path] = length_before
            return
        self.trace.writes += 1
        # What was in the file before the tracer came is no loss that it could have seen.
        self.trace.synced.setdefault(path, length_before)
        self.trace.written[path] = Path(path).stat().st_size
        if self.armed and not self.calls and self.trace.unsynced_bytes >= self.min_unsynced_bytes:
            self.armed = False
            self.trace.killed = True
            os.kill(self.pid, signal.SIGKILL)


class FsyncTrace:
    """The tracer, from the side of a test: a context manager around what is to be watched."""

    def __init__(self, pid: int, file_ending: str = ".incr.aof", min_unsynced_bytes: int = 1):
        self.command = (sys.executable, "-I", "-S", __file__)
        self.arguments = (str(pid), file_ending, str(min_unsynced_bytes))
        self.child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.child = subprocess.Popen(
            (*self.command, *self.arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.child.stdout
        assert self.child.stdout.readline() == "ready\n", "the server cannot be traced"
        return self

    def kill_when_it_hurts(self) -> None:
        """Let the tracer kill the server between a write and its sync."""
        assert self.child
        self.child.send_signal(signal.SIGUSR1)

    def result(self, timeout_s: float = 30.0) -> Trace:
        """What was seen, once the server has ended."""
        assert self.child
        output, _ = self.child.communicate(timeout=timeout_s)
        return Trace(**json.loads(output))

    def __exit__(self, *_: object) -> None:
        assert self.child
        # Where the test failed half-way: the kernel lets go of the server with its tracer.
        self.child.kill()
        self.child.wait()
        if self.child.stdout:
            self.child.stdout.close()


def main(arguments: list[str]) -> None:
    """Trace, and print what was seen."""
    pid, file_ending, min_unsynced_bytes = arguments
    tracer = Tracer(int(pid), file_ending, int(min_unsynced_bytes))
    signal.signal(signal.SIGUSR1, tracer.arm)
    tracer.attach()
    print("ready", flush=True)
    tracer.run()
    print(json.dumps(asdict(tracer.trace)))


if __name__ == "__main__":
    main(sys.argv[1:])
