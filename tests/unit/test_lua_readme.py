"""`lua/README.md` says what the scripts and the key schema say."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.keys import FAMILIES
from engine.scripts import script_names
from tests.checks import lua_readme


def test_the_page_is_up_to_date() -> None:
    assert lua_readme.main([]) == 0


def test_the_prose_speaks_of_every_key() -> None:
    prose, mark, tables = lua_readme.PAGE.read_text().partition(lua_readme.MARK)
    assert mark
    for family in FAMILIES:
        assert f"**`{family.name}`**" in prose
    for name in script_names():
        assert f"### {name}\n" in tables


def test_a_page_that_says_something_else_is_told_and_mended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "README.md"
    page.write_text("By hand.\n\n" + lua_readme.MARK + "something else\n")
    monkeypatch.setattr(lua_readme, "PAGE", page)
    assert lua_readme.main([]) == 1
    assert "--write" in capsys.readouterr().out
    assert lua_readme.main(["--write"]) == 0
    assert lua_readme.main([]) == 0
    assert page.read_text().startswith("By hand.\n")
