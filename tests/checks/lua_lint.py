"""Lint every script and piece under `lua/`: `python -m tests.checks.lua_lint [folder]`.

Each script is read as the server will read it, pieces spliced in, compiled by Lua 5.1 itself
and then walked for names and numbers. Problems are printed as `file:line: what`, exit code 1.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from lupa import lua51

from engine.scripts import GUARD
from tests.checks.lua_names import Walk
from tests.checks.lua_source import INCLUDE, Place, Script, splice

LINE_CHARACTERS = 110
COMPILE_ERROR = re.compile(r":(\d+): (.*)$", re.DOTALL)


def compile_error(text: str) -> tuple[int, str] | None:
    """Return the line and message with which Lua 5.1 refuses a chunk, if it does."""
    load = lua51.LuaRuntime(unpack_returned_tuples=True).eval(
        "function(text) local chunk, refusal = loadstring(text, '=text') return refusal end"
    )
    refusal = load(text)
    if refusal is None:
        return None
    match = COMPILE_ERROR.search(str(refusal))
    return (int(match[1]), match[2]) if match else (1, str(refusal))


def lint_text(path: Path, is_script: bool) -> list[tuple[Place, str]]:
    """Return what is wrong with a file as text: first line, widths, blanks, pragmas of a piece."""
    found: list[tuple[Place, str]] = []
    content = path.read_text(encoding="utf-8")
    lines = content.splitlines()
    starts = bool(lines) and re.fullmatch(r"#!lua( flags=[a-z,-]+)?", lines[0]) is not None
    if is_script and not starts:
        found.append((Place(path, 1), "a script starts with `#!lua`"))
    if not is_script and lines and lines[0].startswith("#!"):
        found.append((Place(path, 1), "a piece has no `#!` line"))
    if not content.endswith("\n"):
        found.append((Place(path, len(lines)), "no newline at the end"))
    for number, line in enumerate(lines, start=1):
        here = Place(path, number)
        if len(line) > LINE_CHARACTERS:
            found.append((here, f"{len(line)} characters, more than {LINE_CHARACTERS}"))
        if line != line.rstrip() or "\t" in line:
            found.append((here, "a tab, or blanks at the end"))
        if not is_script and INCLUDE.match(line):
            found.append((here, "only scripts include pieces"))
    return found


def lint_script(script: Script) -> list[tuple[Place, str]]:
    """Return what is wrong with a script and its pieces, taken together."""
    found = [(place, "includes a file that is not there") for place in script.missing]
    if refused := compile_error(script.text):
        return [*found, (script.place(refused[0]), refused[1])]
    names = Walk().run(script.text)
    found += [(script.place(line), message) for line, message in names.problems]
    read = {local.name for local in names.locals if local.reads}
    for family in script.derives:
        if f"key_{family}" not in read:
            found.append((Place(script.path, 1), f"derives `{family}`, and makes no name of it"))
    for place, piece in script.includes:
        path = script.path.parent / f"{piece}.lua"
        functions = [
            local for local in names.locals
            if local.is_function and script.place(local.line).path == path
        ]  # fmt: skip
        if functions and not any(local.reads for local in functions):
            found.append((place, f"includes {piece}, and calls nothing of it"))
    return found


def lint(folder: Path) -> list[tuple[Place, str]]:
    """Return every problem under a folder laid out as `lua/` is, in order, each once."""
    scripts = sorted(folder.glob("*.lua"))
    pieces = sorted((folder / "lib").glob("*.lua"))
    found: list[tuple[Place, str]] = []
    included = {folder / f"{GUARD}.lua"}
    for path in scripts:
        script = splice(path)
        included |= {path.parent / f"{piece}.lua" for _, piece in script.includes}
        found += lint_text(path, is_script=True) + lint_script(script)
    for path in pieces:
        found += lint_text(path, is_script=False)
        if path not in included:
            found.append((Place(path, 1), "no script includes this piece"))
    unique = dict.fromkeys(found)
    return sorted(unique, key=lambda problem: (problem[0].path, problem[0].line))


def main() -> int:
    """Lint the folder named by the first argument, `lua` by default."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "lua")
    found = lint(folder)
    for place, message in found:
        print(f"{place.path}:{place.line}: {message}")
    files = len(list(folder.rglob("*.lua")))
    print(f"{files} Lua files, {len(found)} problems")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
