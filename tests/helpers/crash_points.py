"""The awaits of a module as places to die at, found in its syntax tree.

The module is compiled anew with every `await x` turned into `await reach(point, x)`, so that an
await that somebody adds is a place too, without being written down anywhere.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import types
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MODULES: Final = (
    "engine.payments.saga",
    "engine.payments.cashier",
    "workers.recovery",
    "workers.undecided",
)
"""Whatever carries payments on, in the order in which they import each other.

What they await in turn (scripts, the adapter's requests) keeps nothing of its own between two of
these places; nor does the reconciler, which records nothing and asks under keys that never change.
"""

Reach = Callable[[str, Awaitable[Any]], Awaitable[Any]]
_NAME: Final = "_reach_crash_point"


@dataclass(frozen=True, slots=True)
class Point:
    """An await. `leaf`: it leaves the module, for Redis, the gateway or the event loop."""

    name: str
    leaf: bool

    @property
    def sides(self) -> tuple[str, ...]:
        """Where to die: before it has begun, and once what it waits for is done.

        One that only calls into the module itself does nothing that its callee does not do.
        """
        return ("before", "after") if self.leaf else ("before",)


class _Marker(ast.NodeTransformer):
    """Names the awaits of a module, by function and number, and wraps them."""

    def __init__(self, module: str) -> None:
        self._module = module.rpartition(".")[2]
        self._function = ""
        self._number = 0
        self.points: list[Point] = []

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        before = self._function, self._number
        self._function, self._number = node.name, 0
        self.generic_visit(node)
        self._function, self._number = before
        return node

    def visit_Await(self, node: ast.Await) -> ast.AST:
        self._number += 1
        called = node.value.func if isinstance(node.value, ast.Call) else node.value
        words = ast.unparse(called)
        name = f"{self._module}.{self._function}.{self._number}:{words}"
        inside = words.startswith("self.") and words.count(".") == 1
        self.points.append(Point(name, not inside))
        self.generic_visit(node)
        reached = ast.Call(
            ast.Name(_NAME, ast.Load()), [ast.Constant(name), node.value], keywords=[]
        )
        return ast.copy_location(ast.Await(reached), node)


def _marked(module: str) -> tuple[ast.Module, Path, list[Point]]:
    found = importlib.util.find_spec(module)
    assert found
    assert found.origin
    path = Path(found.origin)
    marker = _Marker(module)
    tree = marker.visit(ast.parse(path.read_text(encoding="utf-8")))
    return ast.fix_missing_locations(tree), path, marker.points


def points() -> list[Point]:
    """Every await of the modules."""
    return [point for module in MODULES for point in _marked(module)[2]]


def instrument(reach: Reach) -> None:
    """Put the modules that tell `reach` of their awaits in the place of the real ones.

    To be called before anything has imported them.
    """
    for name in MODULES:
        assert name not in sys.modules, name
        tree, path, _ = _marked(name)
        module = types.ModuleType(name)
        module.__file__ = str(path)
        module.__dict__[_NAME] = reach
        sys.modules[name] = module
        exec(compile(tree, str(path), "exec"), module.__dict__)
        package, _, attribute = name.rpartition(".")
        setattr(importlib.import_module(package), attribute, module)
