"""Reads the catalogues `queries*.sql`: `query("position")` is the query of that name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final

_FILE: Final = re.compile(r"queries\w*\.sql\Z")
_HEAD: Final = re.compile(r"^-- (\w+) --\n-- (\S.*\.)\n", re.MULTILINE)


def parse_catalogue(text: str) -> dict[str, str]:
    """Split a catalogue into queries by name.

    Raises:
        ValueError: a name comes twice, or a query is empty or not ended by its one semicolon.
    """
    parts = _HEAD.split(text)[1:]
    found: dict[str, str] = {}
    for name, body in zip(parts[::3], parts[2::3], strict=True):
        sql, semicolon, rest = body.partition(";")
        if not sql.strip() or not semicolon or rest.strip():
            raise ValueError(f"queries.sql: {name} is not one query")
        if name in found:
            raise ValueError(f"queries.sql: {name} comes twice")
        found[name] = sql.strip()
    return found


@cache
def catalogue() -> Mapping[str, str]:
    """All queries by name. Raises `ValueError` where a name is in two catalogues."""
    files = [one for one in resources.files("persistence").iterdir() if _FILE.match(one.name)]
    found: dict[str, str] = {}
    for file in files:
        queries = parse_catalogue(file.read_text(encoding="utf-8"))
        if twice := found.keys() & queries.keys():
            raise ValueError(f"{file.name}: {min(twice)} comes twice")
        found |= queries
    return MappingProxyType(found)


def query(name: str) -> str:
    """The text of a query. Raises `KeyError` where the catalogue has none of that name."""
    return catalogue()[name]
