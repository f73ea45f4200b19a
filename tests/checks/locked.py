"""The lock files fit `pyproject.toml` and each other: `python -m tests.checks.locked`.

Every requirement is pinned to a version that it allows, every pin has hashes, no line names an
index or a file, and the locks of the image pin what the whole lock pins.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

WHOLE = Path("requirements.lock")
IMAGE = Path("deploy/requirements.lock")
BUILD = Path("deploy/build.lock")
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)")


def read_lock(path: Path) -> tuple[dict[str, str], list[str]]:
    """Return the version of each name in a lock file, and what is wrong with the file."""
    pins: dict[str, str] = {}
    problems: list[str] = []
    for entry in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        line = entry.strip()
        if not line or line.startswith("#"):
            continue
        match = PIN.match(line)
        if not match or "://" in line or " @ " in line:
            problems.append(f"{path}: not a pin: {line[:80]}")
            continue
        pins[canonicalize_name(match[1])] = match[2]
        if "--hash=sha256:" not in line:
            problems.append(f"{path}: {match[1]} has no hash")
    return pins, problems


def unmet(requirements: list[str], pins: dict[str, str], path: Path) -> list[str]:
    """Return a line for each requirement that a lock does not meet."""
    problems: list[str] = []
    for text in requirements:
        requirement = Requirement(text)
        version = pins.get(canonicalize_name(requirement.name))
        if version is None or version not in requirement.specifier:
            problems.append(f"{path}: {text} is locked at {version}: run `make lock`")
    return problems


def main() -> int:
    """Print each problem; exit code 1 if there are any."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    runtime: list[str] = project["project"]["dependencies"]
    embedded: list[str] = project["project"]["optional-dependencies"]["embedded"]
    build: list[str] = project["dependency-groups"]["build"]
    dev = [text for text in project["dependency-groups"]["dev"] if isinstance(text, str)]
    whole, problems = read_lock(WHOLE)
    problems += unmet(runtime + embedded + build + dev, whole, WHOLE)
    for path, requirements in ((IMAGE, runtime), (BUILD, build)):
        pins, own_problems = read_lock(path)
        problems += own_problems + unmet(requirements, pins, path)
        problems += [
            f"{path}: {name} is {version}, but {whole.get(name)} in {WHOLE}"
            for name, version in pins.items()
            if whole.get(name) != version
        ]
    for problem in problems:
        print(problem)
    print(f"{len(whole)} packages locked")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
