"""What the fault tests start is not measured for coverage.

Counting lines is a quarter of what these processes compute, and other tests have covered theirs:
those of `acceptance` and `integration` are counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def unmeasured() -> Iterator[None]:
    """No child process is told to measure."""
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
            environment.delenv(name)
        yield
