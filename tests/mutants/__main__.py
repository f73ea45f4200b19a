"""`make mutants`: `python -m tests.mutants [PART OF A NAME]`.

Each `tests/mutants/*.patch` is a bug. Its first lines say what it is, and `test: …` which test goes
red for it. The tree is copied, the test must pass in the copy, the patch is applied, and then the
same test must fail: by an assertion of its own, not by an error around it. Exit code 1 where a bug
was not found, or a patch does not fit any more.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.table import Table

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PATCHES: Final = Path(__file__).parent
TEST_TIMEOUT_S: Final = 600
FOUND: Final = "found"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted bug. `about` says what it is; `test` is a pytest node id."""

    path: Path
    about: str
    test: str

    @property
    def name(self) -> str:
        """The patch's name."""
        return self.path.stem


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a test said: its counts, and the end of its output."""

    passed: int
    failed: int
    errors: int
    output: str


def read_mutants(part: str = "") -> list[Mutant]:
    """The patches whose name has `part` in it."""
    return [read_mutant(path) for path in sorted(PATCHES.glob("*.patch")) if part in path.stem]


def read_mutant(path: Path) -> Mutant:
    """Read a patch's head."""
    head = path.read_text(encoding="utf-8").partition("diff --git ")[0].strip().splitlines()
    tests = [line.removeprefix("test: ") for line in head if line.startswith("test: ")]
    if len(tests) != 1:
        sys.exit(f"mutants: {path.name} must name one test in its head")
    return Mutant(path, " ".join(line for line in head if not line.startswith("test: ")), tests[0])


def copy_tree(target: Path) -> None:
    """Copy what git knows, and what it would be told of."""
    listed = subprocess.run(
        ("git", "ls-files", "-co", "--exclude-standard", "-z"),
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def run_test(tree: Path, test: str) -> Outcome:
    """Run a test on a tree, which its imports and its child processes come from."""
    report = tree / "report.xml"
    report.unlink(missing_ok=True)
    done = subprocess.run(
        (
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            test,
        ),
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TEST_TIMEOUT_S,
        check=False,
    )
    if not report.exists():
        return Outcome(0, 0, 1, done.stdout[-2000:] + done.stderr[-2000:])
    # Written by pytest just now, below a folder of our own.
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None
    tests, failed, errors, skipped = (
        int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")
    )
    return Outcome(tests - failed - errors - skipped, failed, errors, done.stdout[-2000:])


def hunt(mutant: Mutant, tree: Path) -> tuple[str, str]:
    """Whether a bug is found: a word, and what a person would want to read otherwise."""
    sound = run_test(tree, mutant.test)
    if not sound.passed or sound.failed or sound.errors:
        return "the test fails without it", sound.output
    applied = subprocess.run(
        ("git", "apply", str(mutant.path)), cwd=tree, capture_output=True, text=True, check=False
    )
    if applied.returncode:
        return "the patch does not fit", applied.stderr
    sick = run_test(tree, mutant.test)
    if sick.failed and not sick.errors:
        return FOUND, ""
    return "NOT FOUND", sick.output


def main() -> int:
    """Hunt all of them, and print a table."""
    options = argparse.ArgumentParser(prog="python -m tests.mutants", description="Planted bugs.")
    options.add_argument("part", nargs="?", default="", metavar="NAME", help="a part of a name")
    mutants = read_mutants(options.parse_args().part)
    table = Table(title="Planted bugs", title_justify="left")
    for column in ("bug", "what it is", "the test that has to go red", ""):
        table.add_column(column, overflow="fold")
    missed = not mutants
    for mutant in mutants:
        with tempfile.TemporaryDirectory(prefix="holdfast-mutant-") as directory:
            copy_tree(Path(directory))
            verdict, words = hunt(mutant, Path(directory))
        print(f"{mutant.name}: {verdict}", file=sys.stderr, flush=True)
        if verdict != FOUND:
            missed = True
            print(words, file=sys.stderr, flush=True)
        table.add_row(mutant.name, mutant.about, mutant.test, verdict)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
