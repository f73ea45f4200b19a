"""Bodies that leave room for doubt are refused, and the refusal says where."""

from __future__ import annotations

import pytest

from api.problems import Problem
from api.strict_json import read_json


def refused(body: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        read_json(body)
    assert caught.value.code == "invalid_request"
    return caught.value


def test_a_json_text_is_read() -> None:
    assert read_json(b' {"a": [1, "\xc3\xa9", null, true, 1.5]} ') == {
        "a": [1, "é", None, True, 1.5]
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON: Expecting value at line 1, column 1"),
        (b"{", "not JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        (b'{"a": 1}{', "not JSON: Extra data at line 1, column 9"),
        (b"{'a': 1}", "property name"),
        (b'{"a": 1,}', "not JSON"),
        (b'"\n"', "Invalid control character"),
        (b"\xef\xbb\xbf{}", "Expecting value at line 1, column 1"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        ('{"a": "é"}'.encode("utf-16"), "not UTF-8"),
        (b"NaN", "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b"1" * 5_000, "too long"),
        (b"[" * 60_000, "nested too deeply"),
        (b'{"a":' * 10_000, "nested too deeply"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(body: bytes, message: str) -> None:
    (fault,) = refused(body).faults
    assert fault.path == ""
    assert message in fault.message


def test_a_name_given_twice_is_refused_with_its_path() -> None:
    body = b'{"a": 1, "b": {"c": 1, "c": 2}, "d": [{}, {"e": 1, "f": 2, "e": 3}], "a": 2}'
    assert sorted(fault.path for fault in refused(body).faults) == ["a", "b.c", "d.1.e"]
    assert {fault.message for fault in refused(body).faults} == {"given more than once"}
