"""Rooms have at most 300 lines: `python -m tests.checks.file_length`.

Split by meaning, not by size; but a file that long has more than one meaning.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

MAX_LINES = 300
FOLDERS = ("engine", "lua", "api", "persistence", "workers", "holdfast", "loadtests", "tests")
SUFFIXES = (".py", ".lua")


def source_files() -> Iterator[Path]:
    """Yield every source file of the product, the tests and the tools."""
    for folder in (*FOLDERS, ".ci"):
        for path in sorted(Path(folder).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                yield path


def main() -> int:
    """Print the files that are too long; exit code 1 if there are any."""
    files = list(source_files())
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    for path, lines in lengths.items():
        if lines > MAX_LINES:
            print(f"{path}: {lines} lines, more than {MAX_LINES}")
    longest = max(lengths.values(), default=0)
    print(f"{len(files)} files, the longest has {longest} lines of at most {MAX_LINES}")
    return 1 if longest > MAX_LINES or not files else 0


if __name__ == "__main__":
    sys.exit(main())
