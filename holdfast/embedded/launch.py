"""Become another program, under the terms its supervisor asked for.

    python -I -S launch.py DEATH_SIGNAL PARENT_PID USER COMMAND [ARGUMENT …]

Runs between fork and exec of every child of `holdfast up`, as a program of its own because code in
a forked copy of a threaded process may deadlock. Standard library only: it starts in some ten
milliseconds. It keeps the process id, the session and the inherited files.

- DEATH_SIGNAL (a number, 0 for none) is sent to the child when the process that started it ends,
  so that even `kill -9` of `up` leaves nothing behind. Linux alone can do that (prctl(2)).
- USER (a name, `-` for none) is who to become when started as root, because PostgreSQL refuses to
  run as root. The new user keeps one capability, CAP_DAC_OVERRIDE (capabilities(7)), so that a
  checkout or a data directory below a private folder (`/root`, a `mkdtemp`) works without widening
  the permissions of folders that are not ours. Where the capability cannot be kept, the user has
  to be able to reach both.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import struct
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
LINUX_CAPABILITY_VERSION_3 = 0x20080522


def keep_dac_override(libc: ctypes.CDLL) -> None:
    """Hold CAP_DAC_OVERRIDE, and nothing else, over the exec; without the right to, do nothing."""
    mask = 1 << CAP_DAC_OVERRIDE
    header = struct.pack("=Ii", LINUX_CAPABILITY_VERSION_3, 0)
    # Effective, permitted and inheritable, of the low and of the high 32 capabilities.
    if libc.capset(header, struct.pack("=6I", mask, mask, mask, 0, 0, 0)) == 0:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0)


def become(user: str, libc: ctypes.CDLL | None) -> None:
    """Drop root for `user`; another user than root stays who it is."""
    if os.geteuid() != 0:
        return
    entry = pwd.getpwnam(user)
    if libc:
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([entry.pw_gid])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    if libc:
        keep_dac_override(libc)


def main(arguments: list[str]) -> None:
    """Prepare this process and replace it by the command."""
    death_signal, parent, user, *command = arguments
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if user != "-":
        try:
            become(user, libc)
        except PermissionError as error:
            sys.exit(f"launch: may not become {user}: {error.strerror}")
    # After the change of user, which clears it.
    if libc and death_signal != "0":
        libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit("launch: the supervisor has already ended")
    try:
        os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"launch: {command[0]}: {error.strerror} (as {user}, uid {os.geteuid()})")


if __name__ == "__main__":
    main(sys.argv[1:])
