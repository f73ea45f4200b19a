"""What is written, and what libraries would write for every request."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from holdfast import logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    talkative = {name: logging.getLogger(name).level for name in ("httpx", "stripe")}
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, was in talkative.items():
        logging.getLogger(name).setLevel(was)


@pytest.mark.parametrize("name", ["stripe", "httpx"])
def test_a_library_writes_no_line_for_each_request(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info", "json")
    logging.getLogger(name).info("Request to somewhere")
    logging.getLogger(name).warning("Something is wrong")
    logging.getLogger("holdfast.test").info("Something of ours")
    said = capsys.readouterr().err
    assert "Request to somewhere" not in said
    assert "Something is wrong" in said
    assert "Something of ours" in said
