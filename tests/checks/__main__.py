"""Everything static, in one list: `make check`.

Each check is a command that can be run by itself; all are run, two at a time, and every command
is printed with its time and what it said.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent
PACKAGES = ("engine", "api", "persistence", "workers", "holdfast", "loadtests", "tests")
SHELL_FOLDERS = (".ci", "deploy", "tests")


@dataclass(frozen=True, slots=True)
class Check:
    """A static check: what it is called, and the command."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """How a check ended."""

    check: Check
    exit_code: int
    seconds: float
    output: str


def shell_scripts() -> list[str]:
    """Return the files whose first line says that a shell runs them."""
    found = []
    for folder in SHELL_FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in {"", ".sh"}:
                first = path.read_bytes()[:64].partition(b"\n")[0]
                if first.startswith(b"#!") and first.endswith((b"sh", b"bash")):
                    found.append(str(path.relative_to(ROOT)))
    return found


def checks() -> list[Check]:
    """Return all checks, the slowest first."""
    tool = str(BIN) + os.sep
    packages = [name for name in PACKAGES if any((ROOT / name).rglob("*.py"))]
    python = sys.executable
    return [
        Check("types", (f"{tool}mypy", *packages)),
        Check("SQL", (f"{tool}sqlfluff", "lint", "--disable-progress-bar", "persistence")),
        Check("format", (f"{tool}ruff", "format", "--check", ".")),
        Check("lint", (f"{tool}ruff", "check", ".")),
        Check("architecture", (f"{tool}lint-imports", "--no-cache", "--no-logo")),
        Check("Lua", (python, "-m", "tests.checks.lua_lint")),
        Check("Dockerfile", (f"{tool}hadolint", "Dockerfile")),
        Check("shell", (f"{tool}shellcheck", *shell_scripts())),
        Check("lengths", (python, "-m", "tests.checks.file_length")),
        Check("locks", (python, "-m", "tests.checks.locked")),
    ]


def run(check: Check) -> Result:
    """Run a check to its end; a tool that cannot start is a failure like another."""
    begun = time.monotonic()
    try:
        done = subprocess.run(
            check.command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        exit_code, output = done.returncode, done.stdout
    except OSError as error:
        exit_code, output = 127, str(error)
    return Result(check, exit_code, time.monotonic() - begun, output)


def main() -> int:
    """Run all checks; exit code 1 if one fails."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = []
        for result in pool.map(run, checks()):
            words = [Path(result.check.command[0]).name, *result.check.command[1:]]
            print(f"== {result.check.name}: {' '.join(words)} ({result.seconds:.1f} s)", flush=True)
            print(result.output.rstrip() or "nothing to say", flush=True)
            results.append(result)
    failed = [result.check.name for result in results if result.exit_code]
    if failed:
        print(f"\ncheck: {len(failed)} of {len(results)} failed: {', '.join(failed)}")
        return 1
    print(f"\ncheck: all {len(results)} passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
