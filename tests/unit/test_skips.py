"""A skipped test fails the run, unless the list allows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.skips import Skips, read_allowed

pytest_plugins = ["pytester"]

PLAIN = ("-p", "no:asyncio", "-p", "no:locust", "-p", "no:xdist")

SUITE = """
import pytest

@pytest.mark.skip
def test_skipped(): ...

@pytest.mark.xfail
def test_expected_to_fail(): assert False

@pytest.mark.parametrize("n", [1, 2])
def test_skips_itself(n): pytest.skip()

def test_passes(): ...
"""


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [
        ([], ["expected_to_fail", "skipped", "skips_itself[1]", "skips_itself[2]"]),
        (["*"], []),
        (["*::test_skip*"], ["expected_to_fail"]),
        (["*::test_skips_itself[[]1]", "*d", "*::test_expected_*"], ["skips_itself[2]"]),
    ],
)
def test_a_skip_that_is_not_allowed_fails_the_run(
    pytester: pytest.Pytester, allowed: list[str], refused: list[str]
) -> None:
    pytester.makepyfile(test_suite=SUITE)
    skips = Skips(allowed)
    run = pytester.inline_run(*PLAIN, plugins=[skips])
    assert len(skips.skipped) == 4
    assert skips.refused == [f"test_suite.py::test_{name}" for name in refused]
    assert run.ret == (pytest.ExitCode.TESTS_FAILED if refused else pytest.ExitCode.OK)


def test_a_module_that_skips_itself_counts(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_other="import pytest; pytest.importorskip('no_such_module')",
        test_suite="def test_passes(): ...",
    )
    skips = Skips([])
    assert pytester.inline_run(*PLAIN, plugins=[skips]).ret == pytest.ExitCode.TESTS_FAILED
    assert skips.refused == ["test_other.py"]


def test_a_pattern_needs_a_reason(tmp_path: Path) -> None:
    listed = tmp_path / "allowed.txt"
    listed.write_text("# a comment\n\ntests/a.py::*  # needs a second machine\n")
    assert read_allowed(listed) == ["tests/a.py::*"]
    listed.write_text("tests/a.py::*\n")
    with pytest.raises(pytest.UsageError, match=r"allowed\.txt:1"):
        read_allowed(listed)
