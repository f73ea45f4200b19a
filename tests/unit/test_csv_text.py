"""Tables as text: quoting, formulas, and who gets one."""

from __future__ import annotations

import csv
import io

import pytest

from api.csv_text import Cell, csv_text, wants_csv


def read_back(text: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text.decode(), newline="")))


def test_a_table_is_lines_that_end_as_the_standard_says() -> None:
    assert csv_text([("a", "b"), (1, None), (0.5, 'say "x"')]) == (
        b'a,b\r\n1,\r\n0.5,"say ""x"""\r\n'
    )


def test_texts_with_commas_quotes_and_line_breaks_come_back() -> None:
    row: list[Cell] = ["a,b", 'c"d', "e\nf", "é"]
    assert read_back(csv_text([row])) == [row]


@pytest.mark.parametrize(
    "text", ["=1+2", "+1", "-1", "@x", "\tx", "\rx", "\nx", "=cmd|' /C calc'!A0", "\uff1d1"]
)
def test_a_text_that_would_be_run_is_a_text(text: str) -> None:
    assert read_back(csv_text([[text]])) == [["'" + text]]


def test_numbers_and_plain_texts_are_left_alone() -> None:
    assert csv_text([(-1, -0.5, "a-1", "a=b", "")]) == b"-1,-0.5,a-1,a=b,\r\n"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("text/csv", True),
        ("Text/CSV ; charset=utf-8", True),
        ("text/csv, application/json", True),
        ("application/json;q=0.4, text/csv;q=0.5", True),
        ("application/json, text/csv;q=0.9", False),
        ("text/csv;q=0", False),
        ("text/csv;q=often", False),
        ("text/*", False),
        ("*/*", False),
        ("", False),
        (";,;q=", False),
    ],
)
def test_who_names_a_table_and_nothing_better_gets_one(accept: str, wanted: bool) -> None:
    assert wants_csv({b"accept": accept.encode()}) is wanted
    assert not wants_csv({})
