"""The planted bugs of `make mutants`: each patch fits the tree, and names a test that is there."""

from __future__ import annotations

import ast
import subprocess

import pytest

from tests.mutants.__main__ import ROOT, Mutant, read_mutants

MUTANTS = read_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_patch_fits_and_its_test_exists(mutant: Mutant) -> None:
    done = subprocess.run(
        ("git", "apply", "--check", str(mutant.path)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    file, _, name = mutant.test.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = [node.name for node in ast.walk(tree) if hasattr(node, "name")]
    assert name.partition("[")[0] in functions
    assert mutant.about.endswith(".")
