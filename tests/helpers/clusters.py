"""A database cluster that each process of the tests makes once, and then copies.

`initdb` takes a second of a processor, and most tests that start a PostgreSQL ask nothing of it.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from holdfast.embedded import postgres


@functools.cache
def _made() -> Path:
    """The cluster that is copied: never started, with the password that all copies share."""
    directory = Path(tempfile.mkdtemp(prefix="holdfast-cluster-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    postgres.prepare(directory, directory / "postgres.log")
    return directory


def place(directory: Path) -> None:
    """Put a copy where `postgres.prepare` takes it for what an earlier start has left there."""
    made = _made()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("password", "data"):
        # Whoever runs the server owns its data, and a copy has to keep that.
        subprocess.run(("cp", "-Rp", str(made / name), str(directory / name)), check=True)
