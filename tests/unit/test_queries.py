"""The catalogue of queries: each is used, and each that is used is there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from persistence.queries import catalogue, parse_catalogue, query

ROOT = Path(__file__).resolve().parent.parent.parent


def names_used(source: str) -> set[str]:
    """Names that a module gives to `query`; each must be spelled there, or nobody finds it."""
    used = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "query":
            name = node.args[0]
            assert isinstance(name, ast.Constant), ast.unparse(node)
            used.add(str(name.value))
    return used


def test_every_query_is_used_and_every_used_query_is_there() -> None:
    used: set[str] = set()
    for path in (ROOT / "persistence").rglob("*.py"):
        used |= names_used(path.read_text(encoding="utf-8"))
    assert used == set(catalogue())


def test_no_other_room_spells_queries() -> None:
    for room in ("engine", "api", "workers", "holdfast"):
        for path in (ROOT / room).rglob("*.py"):
            assert "persistence.queries" not in path.read_text(encoding="utf-8"), path


def test_a_query_is_found_by_its_name_without_its_semicolon() -> None:
    assert query("ping") == "SELECT 1 AS pong"
    with pytest.raises(KeyError):
        query("pong")


@pytest.mark.parametrize(
    "text",
    [
        "-- a --\n-- One.\nSELECT 1;\n-- a --\n-- Two.\nSELECT 2;\n",
        "-- a --\n-- One.\nSELECT 1\n",
        "-- a --\n-- One.\nSELECT 1; SELECT 2;\n",
        "-- a --\n-- One.\n;\n",
    ],
)
def test_a_catalogue_that_is_malformed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"queries.sql: a"):
        parse_catalogue(text)
