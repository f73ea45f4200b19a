"""Make `.venv` from `requirements.lock`, once, and only again when that has changed.

Standard library only: this runs before anything is installed. Two stamps in the
environment say what it was made from. The first covers the lock, the interpreter
and the checkout's path (a virtual environment cannot be moved): where it differs,
the environment is made anew. The second covers what `pyproject.toml` says about the
distribution: where only that differs, the project's own entry (its command, its path)
is written again.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
ENVIRONMENT_STAMP = VENV / ".stamp-environment"
PROJECT_STAMP = VENV / ".stamp-project"


def digest(*parts: bytes) -> str:
    """Return one SHA-256 over the parts, each length-prefixed."""
    joined = hashlib.sha256()
    for part in parts:
        joined.update(b"%d:" % len(part))
        joined.update(part)
    return joined.hexdigest()


def read_stamp(stamp: Path) -> str:
    """Return what a stamp says, or nothing where the environment cannot run."""
    if not PYTHON.exists() or not stamp.exists():
        return ""
    return stamp.read_text(encoding="ascii").strip()


def distribution() -> bytes:
    """Return the parts of `pyproject.toml` that an install reads; tools' settings are not."""
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    parts = (whole["build-system"], whole["project"], whole["tool"]["hatch"])
    return json.dumps(parts, sort_keys=True).encode()


def pip_command() -> list[str]:
    """Return the pip that installs into the environment.

    Some systems ship pip but not ensurepip (Debian without python3-venv); pip can
    then work on the environment from outside.
    """
    if importlib.util.find_spec("ensurepip"):
        return [str(PYTHON), "-m", "pip"]
    return [sys.executable, "-m", "pip", "--python", str(PYTHON)]


def run(*command: str) -> None:
    """Run a command quietly; its errors still show. Nothing is read from stdin."""
    environment = {
        **os.environ,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        # A user's or a container's settings must not send packages elsewhere.
        "PIP_REQUIRE_VIRTUALENV": "0",
        "PIP_USER": "0",
    }
    for name in ("PIP_TARGET", "PIP_PREFIX", "PYTHONHOME", "PYTHONPATH"):
        environment.pop(name, None)
    subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=True)


def make_environment() -> None:
    """Make the environment and install every locked package: wheels, but for what is said here."""
    have_ensurepip = importlib.util.find_spec("ensurepip") is not None
    if not have_ensurepip and not importlib.util.find_spec("pip"):
        sys.exit(
            f"setup: {sys.executable} has neither ensurepip nor pip: install its venv or pip "
            "package (Debian, Ubuntu: apt-get install python3-venv), or name another "
            "interpreter: make setup PYTHON=/path/to/python3"
        )
    print(f"setup: making .venv with Python {sys.version.split()[0]} ...", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    run(sys.executable, "-m", "venv", *(() if have_ensurepip else ("--without-pip",)), str(VENV))
    run(
        *pip_command(),
        "install",
        "--quiet",
        # The lock is whole. Left to resolve, pip looks at releases newer than the lock and fails
        # for one whose hash it lacks (seen with 23.2 and a requirement on a package's extra).
        "--no-deps",
        "--only-binary=:all:",
        # Pure Python, and its last wheel is older than what the tests need.
        "--no-binary=localstripe",
        "--require-hashes",
        "--requirement",
        str(LOCK),
    )
    run(*pip_command(), "check")


def install_project() -> None:
    """Write the project's entry: an editable install, built by the locked hatchling."""
    print("setup: installing this checkout into .venv ...", flush=True)
    run(
        *pip_command(),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--force-reinstall",
        "--editable",
        str(ROOT),
    )


def main() -> None:
    """Bring the environment up to date; a second run at the same time waits for the first."""
    interpreter = f"{os.path.realpath(sys.executable)} {sys.version}".encode()
    environment_wanted = digest(interpreter, str(ROOT).encode(), LOCK.read_bytes())
    project_wanted = digest(distribution())
    with (ROOT / ".venv.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if read_stamp(ENVIRONMENT_STAMP) != environment_wanted:
            make_environment()
            ENVIRONMENT_STAMP.write_text(environment_wanted, encoding="ascii")
        if read_stamp(PROJECT_STAMP) != project_wanted:
            install_project()
            PROJECT_STAMP.write_text(project_wanted, encoding="ascii")
            print("setup: done.", flush=True)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"setup: failed ({error.returncode}): {' '.join(map(str, error.cmd))}")
