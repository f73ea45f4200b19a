"""The Lua linter finds what it is for, and is quiet about sound scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checks.lua_lint import lint

SOUND = """#!lua
-- Counts.
-- derives:  stock
--           sale
-- @include keys
-- @include lib/level
local total = 0
for _, id in ipairs(KEYS) do
  total = total + level(key_stock(id), key_sale(id))
end
return string.format('%d', total)
"""
PIECE = """-- Reads a level.
local function level(stock, sale)
  return tonumber(redis.call('HGET', stock, sale .. ':available'))
end
"""


def lay_out(folder: Path, script: str, piece: str = PIECE) -> list[str]:
    (folder / "lib").mkdir()
    (folder / "count.lua").write_text(script)
    (folder / "lib" / "level.lua").write_text(piece)
    return [f"{place.path.stem}:{place.line}: {message}" for place, message in lint(folder)]


def test_a_sound_script_passes(tmp_path: Path) -> None:
    assert lay_out(tmp_path, SOUND) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("total = tostring(total)", "tostring rounds"),
        ("local text = 'n' .. total * 2 return text", "`..` on a number"),
        ("local text = 'n' .. total return text", "`..` on a number"),
        ("local text = (ARGV[1] or 0) .. 'n' return text", "`..` on a number"),
        ("totals = total", "assignment to `totals`"),
        ("if totals then return end", "`totals` is declared nowhere"),
        ("function count() end", "is global"),
        ("local unread = 1", "`unread` is never read"),
        ("local text = cjson.encode({total}) return text", "cjson.encode rounds"),
        ("if math.random() then return end", "clock alone"),
        ("if total // 2 then return end", "unexpected symbol"),
        ("goto done", "="),
        ("-- " + "x" * 108, "111 characters"),
        ("total = 1 ", "blanks at the end"),
        ("-- @include lib/absent", "a file that is not there"),
    ],
)
def test_a_fault_is_found_on_its_line(tmp_path: Path, line: str, expected: str) -> None:
    script = SOUND.replace("return string", f"{line}\nreturn string")
    script = script.replace(f"{line}\n", f"do {line} end\n") if "return text" in line else script
    (first, *_) = lay_out(tmp_path, script)
    assert first.startswith("count:11: ")
    assert expected in first


def test_a_fault_in_a_piece_is_named_by_its_own_file_and_line(tmp_path: Path) -> None:
    faulty = PIECE.replace("tonumber(", "tonumbr(")
    assert lay_out(tmp_path, SOUND, faulty) == ["level:3: `tonumbr` is declared nowhere"]


def test_the_header_derives_exactly_the_keys_that_are_made(tmp_path: Path) -> None:
    script = SOUND.replace("derives:  stock", "derives:  stock due").replace("key_sale", "key_meta")
    found = lay_out(tmp_path, script)
    assert "count:1: derives `due`, and makes no name of it" in found
    assert "count:9: `key_meta` is declared nowhere" in found


def test_a_piece_that_nothing_needs_is_found(tmp_path: Path) -> None:
    unused = SOUND.replace("level(key_stock(id), key_sale(id))", "#key_stock(id) + #key_sale(id)")
    assert lay_out(tmp_path, unused) == ["count:6: includes lib/level, and calls nothing of it"]
    (tmp_path / "count.lua").write_text(unused.replace("-- @include lib/level\n", ""))
    assert [message for _, message in lint(tmp_path)] == ["no script includes this piece"]


def test_first_lines_tell_scripts_from_pieces(tmp_path: Path) -> None:
    found = lay_out(tmp_path, SOUND.replace("#!lua\n", ""), "#!lua\n" + PIECE)
    assert "count:1: a script starts with `#!lua`" in found
    assert "level:1: a piece has no `#!` line" in found
