"""A data directory, and how the operator's commands find in it the system that `up` started.

    DIR/lock              held, and with the process id of, the `up` that runs on it
    DIR/run.json          where that system is; there while it is up
    DIR/settings.json     the settings its processes were given
    DIR/valkey, postgres  the embedded servers: data, password, port
    DIR/simulator         the payment gateway's simulator: its books, keys, port
    DIR/dev-key.pem       signs development tokens; dev-jwks.json is its public half
    DIR/data-key          encrypts personal data, where HOLDFAST_DATA_KEY does not
    DIR/logs              what the children print

Secrets are readable by their owner alone. Losing `data-key` loses the contacts of bookings.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.fernet import Fernet

from engine.errors import HoldfastError
from engine.payments.settings import PaymentSettings
from engine.settings import Settings
from holdfast import gateway
from holdfast.embedded.process import write_private
from holdfast.settings import given_settings, settings_from

DEFAULT_PORT: Final = 8000
DEFAULT_DIRECTORY: Final = Path(".holdfast")
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - our folder in it has mode 0700


class NotRunning(HoldfastError):
    """There is no system where one was looked for."""


class AlreadyRunning(HoldfastError):
    """Another `up` has this data directory; the message says which process."""


@dataclass(slots=True)
class Pids:
    """Process ids by part; None for a part that is not ours or does not run."""

    up: int
    redis: int | None = None
    postgres: int | None = None
    api: list[int] = field(default_factory=list)
    worker: list[int] = field(default_factory=list)
    gateway: int | None = None


@dataclass(slots=True)
class RunFile:
    """What `run.json` says. The URLs carry credentials.

    `tokens` are None where an identity service signs them (`HOLDFAST_JWKS_URL`).
    """

    url: str
    redis_url: str
    database_url: str
    gateway_url: str | None
    tokens: dict[str, str | None]
    pids: Pids

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_private(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> RunFile:
        """Read what `write` wrote. Raises NotRunning where there is none."""
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NotRunning(
                f"no system runs on {path.parent} ({path.name} is not there): start one with "
                "`holdfast up`, name its directory with --data, or set HOLDFAST_REDIS_URL and "
                "HOLDFAST_DATABASE_URL"
            ) from None
        return cls(**{**content, "pids": Pids(**content["pids"])})


class DataDirectory:
    """The files of one system."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def run_file(self) -> Path:
        """Where the system is."""
        return self.path / "run.json"

    @property
    def settings_file(self) -> Path:
        """What its processes were given."""
        return self.path / "settings.json"

    @property
    def logs(self) -> Path:
        """What the children print."""
        return self.path / "logs"

    @property
    def data_key(self) -> Path:
        """Encrypts personal data."""
        return self.path / "data-key"

    def make(self) -> None:
        """Make the directory and its folders."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs.mkdir(mode=0o700, exist_ok=True)

    def make_metrics(self) -> Path:
        """Make an empty folder for what the processes count, in memory where there is a place.

        They write it as mapped files: on a full disk that is the end of a process (SIGBUS), just
        when the API has to go on and answer 503. A killed `up` leaves it to the next.
        """
        name = f"holdfast-{hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]}"
        for place in (SHARED_MEMORY / name, self.path / "metrics"):
            shutil.rmtree(place, ignore_errors=True)
            try:
                place.mkdir(mode=0o700)
            except OSError:
                continue
            return place
        raise NotADirectoryError(f"no folder for metrics can be made in {self.path}")

    def lock(self) -> int:
        """Take the directory for this process; the descriptor holds it.

        Raises AlreadyRunning.
        """
        path = self.path / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(descriptor, 32).decode().strip() or "unknown"
            os.close(descriptor)
            raise AlreadyRunning(
                f"another `holdfast up` (process {pid}) already runs on {self.path}"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        return descriptor

    def write_settings(self, settings: dict[str, str]) -> None:
        """Remember the variables that the system's processes get, for the operator's commands."""
        write_private(self.settings_file, json.dumps(settings, indent=2) + "\n")

    def read_settings(self) -> dict[str, str]:
        """The variables that `write_settings` remembered; none where there was no `up`."""
        try:
            content: dict[str, str] = json.loads(self.settings_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return content


def operator_settings(directory: Path) -> Settings:
    """The settings with which to reach the system of a data directory.

    Variables that are set win over what the directory says; where they name both servers, there
    need not be a directory. What an operator's command never uses (whom to believe a token, how to
    encrypt) need not be set for it: something stands in.

    Raises:
        NotRunning: there is no `run.json`, and the environment does not name the servers.
        SettingsError: a setting is missing or refused.
    """
    data = DataDirectory(directory)
    given = given_settings()
    variables = data.read_settings()
    if not {"HOLDFAST_REDIS_URL", "HOLDFAST_DATABASE_URL"} <= given.keys():
        run = RunFile.read(data.run_file)
        variables["HOLDFAST_REDIS_URL"] = run.redis_url
        variables["HOLDFAST_DATABASE_URL"] = run.database_url
    unused = {
        "HOLDFAST_ARQ_REDIS_URL": "redis://unused",
        "HOLDFAST_DATA_KEY": Fernet.generate_key().decode(),
        "HOLDFAST_JWKS_URL": "file:///unused",
        "HOLDFAST_JWT_ISSUER": "unused",
        "HOLDFAST_JWT_AUDIENCE": "unused",
    }
    return settings_from({**unused, **variables, **given})


def operator_payment_settings(directory: Path) -> PaymentSettings:
    """The settings with which to ask the payment gateway of a data directory's system.

    Found as `operator_settings` finds the servers: variables that are set win, and `run.json` says
    where the simulator is now.

    Raises:
        SettingsError: a setting is missing or refused.
    """
    data = DataDirectory(directory)
    url = RunFile.read(data.run_file).gateway_url if data.run_file.exists() else None
    return gateway.operator_settings(data.read_settings(), url, given_settings())
