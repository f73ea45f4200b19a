"""The tables of `lua/README.md`, made from `engine.keys` and the scripts' headers.

    python -m tests.checks.lua_readme            exit 1 where the page says something else
    python -m tests.checks.lua_readme --write    put the tables in

The prose above the mark is written by hand and left alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from engine.keys import FAMILIES
from engine.scripts import load_script, script_names

PAGE = Path(__file__).resolve().parents[2] / "lua" / "README.md"
MARK = "<!-- From here on: python -m tests.checks.lua_readme --write -->\n"


def tables() -> str:
    """Everything below the mark."""
    lines = [MARK, "## Keys", ""]
    lines += ["Each name begins with `hf:{tag}:`, the tag being the partition's.", ""]
    lines += ["| key | type | holds | written by | lives |", "| --- | --- | --- | --- | --- |"]
    for family in FAMILIES:
        name = ":".join((family.name, *(f"<{part}>" for part in family.parts)))
        cells = (f"`{name}`", family.type, family.holds, family.written_by, family.lives)
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Scripts", ""]
    for script in map(load_script, script_names()):
        lines += [f"### {script.name}", "", script.summary, ""]
        lines += [f"- arguments: {_words(script.args)}", f"- keys: {_words(script.derives)}"]
        lines += [f"- answers: {_words(sorted(script.outcomes))}"]
        if script.entries:
            lines += [f"- journal entries: {_words(script.entries)}"]
        lines += [*(f"- `{flag}`: {_FLAGS[flag]}" for flag in sorted(script.flags)), ""]
    return "\n".join(lines)


_FLAGS = {
    "allow-oom": "runs at the memory limit too",
    "no-writes": "only reads",
}


def _words(words: tuple[str, ...] | list[str]) -> str:
    return " ".join(f"`{word}`" for word in words) or "none"


def wanted() -> str:
    """The page as it ought to be: its own prose, and the tables as they are now."""
    prose, _, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    return prose + tables()


def main(arguments: list[str]) -> int:
    """Compare, or write."""
    page = wanted()
    if arguments == ["--write"]:
        PAGE.write_text(page, encoding="utf-8")
    if page == PAGE.read_text(encoding="utf-8"):
        return 0
    print("lua/README.md is not what the scripts say: python -m tests.checks.lua_readme --write")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
