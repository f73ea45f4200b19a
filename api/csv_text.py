"""Tables as `text/csv` (RFC 4180, UTF-8), and who asks for one.

A text that a spreadsheet would take for a formula gets an apostrophe in front: ids may begin with
a hyphen, and what others wrote may be anything. Numbers are ours and stay numbers.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

Cell = str | int | float | None

CSV: Final = b"text/csv; charset=utf-8"
VARY: Final = (b"vary", b"accept")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What spreadsheets begin a formula with, and what they read as such; OWASP's list."""


def wants_csv(headers: Mapping[bytes, bytes]) -> bool:
    """Whether `Accept` names `text/csv`, and JSON not as something that is preferred."""
    qualities = {}
    for part in headers.get(b"accept", b"").decode("latin-1").lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        qualities[kind] = _quality(parameters)
    asked = qualities.get("text/csv", 0.0)
    return asked > 0 and asked >= qualities.get("application/json", 0.0)


def _quality(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def csv_text(rows: Iterable[Sequence[Cell]]) -> bytes:
    """Rows as lines."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([_safe(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def attachment(name: str) -> tuple[bytes, bytes]:
    """The header by which a browser saves an answer under a name."""
    return b"content-disposition", f'attachment; filename="{name}"'.encode()


def _safe(cell: Cell) -> Cell:
    if isinstance(cell, str) and cell.startswith(_FORMULA):
        return "'" + cell
    return cell
