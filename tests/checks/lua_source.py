"""Scripts under `lua/` as the server will see them, with the way back to file and line.

A script names its pieces by pragma: `-- @include lib/NAME` is replaced by `lua/lib/NAME.lua`,
`-- @include keys` by the generated functions `key_<family>` of the families in its `derives`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

INCLUDE = re.compile(r"^-- @include (\S+)\s*$")
HEADER_FIELD = re.compile(r"^-- (\w+): *(.*)$")
HEADER_MORE = re.compile(r"^-- {4,}(\S.*)$")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file."""

    path: Path
    line: int


@dataclass(slots=True)
class Script:
    """A script with its pieces spliced in."""

    path: Path
    lines: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    """The origin of each of `lines`."""
    includes: list[tuple[Place, str]] = field(default_factory=list)
    """Each pragma and what it names."""
    derives: list[str] = field(default_factory=list)
    """Key families that the header says the script makes names of."""
    missing: list[Place] = field(default_factory=list)
    """Pragmas that name no file."""

    @property
    def text(self) -> str:
        """The whole as one chunk of Lua; the `#!lua` line is for the server, and blank here."""
        lines = list(self.lines)
        if lines and lines[0].startswith("#!"):
            lines[0] = ""
        return "\n".join(lines) + "\n"

    def place(self, line: int) -> Place:
        """Return where line `line` (from 1) of `text` was written."""
        return self.places[min(max(line, 1), len(self.places)) - 1]


def header_field(lines: list[str], name: str) -> list[str]:
    """Return the words of a header's field, over its indented continuation lines."""
    words: list[str] = []
    inside = False
    for line in lines:
        if not line.startswith("--") and not line.startswith("#!"):
            break
        if match := HEADER_FIELD.match(line):
            inside = match[1] == name
            words += match[2].split() if inside else []
        elif inside and (more := HEADER_MORE.match(line)):
            words += more[1].split()
        else:
            inside = False
    return words


def key_functions(families: list[str]) -> str:
    """Return declarations for the generated functions; their bodies do not matter to a linter."""
    return " ".join(f"local function key_{name}(...) return ... end" for name in families)


def splice(path: Path) -> Script:
    """Read a script and put its pieces where its pragmas are."""
    written = path.read_text(encoding="utf-8").splitlines()
    derives = [name for name in header_field(written, "derives") if name != "none"]
    script = Script(path, derives=derives)
    for number, line in enumerate(written, start=1):
        here = Place(path, number)
        match = INCLUDE.match(line)
        if not match:
            script.lines.append(line)
            script.places.append(here)
            continue
        script.includes.append((here, match[1]))
        if match[1] == "keys":
            script.lines.append(key_functions(script.derives))
            script.places.append(here)
            continue
        piece = path.parent / f"{match[1]}.lua"
        if not piece.is_file():
            script.missing.append(here)
            continue
        for piece_number, piece_line in enumerate(piece.read_text("utf-8").splitlines(), start=1):
            script.lines.append(piece_line)
            script.places.append(Place(piece, piece_number))
    return script
