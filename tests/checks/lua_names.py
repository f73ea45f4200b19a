"""Lua's names, resolved: what is read, written and concatenated, and where each came from.

A walk over the tree that `luaparser` makes, with Lua 5.1's scopes. It finds names that nothing
declares, writes to globals, locals that nobody reads, and numbers that `..` would turn into text
by itself: Lua formats them with 14 digits, so a total near 2^53 comes out rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from luaparser import ast
from luaparser import astnodes as nodes

ALLOWED_GLOBALS = frozenset(
    {
        "ARGV", "KEYS", "assert", "bit", "cjson", "cmsgpack", "error", "ipairs", "math", "next",
        "pairs", "pcall", "redis", "select", "string", "struct", "table", "tonumber", "type",
        "unpack",
    }
)  # fmt: skip
FORBIDDEN = {
    "tostring": "tostring rounds numbers at 14 digits: use string.format('%d', n)",
    "cjson.encode": "cjson.encode rounds numbers at 14 digits: use string.format with %d",
    "math.random": "a script's result may depend on its keys, arguments and the clock alone",
    "math.randomseed": "a script's result may depend on its keys, arguments and the clock alone",
}
NUMERIC_CALLS = frozenset({"tonumber", "select", "string.len", "string.byte", "table.getn"})


@dataclass(slots=True)
class Local:
    """A declared name."""

    name: str
    line: int
    numeric: bool = False
    is_function: bool = False
    reads: int = 0
    must_be_read: bool = False


@dataclass(slots=True)
class Names:
    """What the walk found."""

    problems: list[tuple[int, str]] = field(default_factory=list)
    """Line of the text, and what is wrong there."""
    locals: list[Local] = field(default_factory=list)


def dotted(node: nodes.Node) -> str:
    """Return `a` or `a.b` for a plain name or a field of one, else nothing."""
    if isinstance(node, nodes.Name):
        return str(node.id)
    if (
        isinstance(node, nodes.Index)
        and node.notation is nodes.IndexNotation.DOT
        and isinstance(node.value, nodes.Name)
        and isinstance(node.idx, nodes.Name)
    ):
        return f"{node.value.id}.{node.idx.id}"
    return ""


class Walk:
    """One pass over a chunk; `names` holds the findings."""

    def __init__(self) -> None:
        self.names = Names()
        self._scopes: list[dict[str, Local]] = []
        self._line = 1

    def run(self, text: str) -> Names:
        """Walk a chunk. Text that is not Lua raises what the parser raises."""
        self._block(ast.parse(text).body)
        for local in self.names.locals:
            if local.must_be_read and local.reads == 0 and not local.name.startswith("_"):
                self.names.problems.append((local.line, f"`{local.name}` is never read"))
        return self.names

    def _say(self, message: str) -> None:
        self.names.problems.append((self._line, message))

    def _declare(self, name: nodes.Node, **facts: bool) -> None:
        local = Local(name.id, name.line or self._line, **facts)
        self.names.locals.append(local)
        self._scopes[-1][local.name] = local

    def _find(self, name: str) -> Local | None:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return None

    def _block(self, block: nodes.Block, declare: Iterable[nodes.Node] = (), **facts: bool) -> None:
        self._scopes.append({})
        for name in declare:
            if isinstance(name, nodes.Name):
                self._declare(name, **facts)
        for statement in block.body:
            self._visit(statement)
        self._scopes.pop()

    def _visit(self, node: object) -> None:
        if isinstance(node, list):
            for child in node:
                self._visit(child)
            return
        if not isinstance(node, nodes.Node):
            return
        self._line = node.line or self._line
        visit = getattr(self, f"_visit_{type(node).__name__.lower()}", None)
        if visit:
            visit(node)
        else:
            for child in children(node):
                self._visit(child)

    def _visit_block(self, node: nodes.Block) -> None:
        self._block(node)

    def _visit_name(self, node: nodes.Name) -> None:
        local = self._find(node.id)
        if local:
            local.reads += 1
        elif node.id in FORBIDDEN:
            self._say(FORBIDDEN[node.id])
        elif node.id not in ALLOWED_GLOBALS:
            self._say(f"`{node.id}` is declared nowhere")

    def _visit_index(self, node: nodes.Index) -> None:
        if dotted(node) in FORBIDDEN:
            self._say(FORBIDDEN[dotted(node)])
        self._visit(node.value)
        if node.notation is nodes.IndexNotation.SQUARE:
            self._visit(node.idx)

    def _visit_field(self, node: nodes.Field) -> None:
        if node.between_brackets:
            self._visit(node.key)
        self._visit(node.value)

    def _visit_invoke(self, node: nodes.Invoke) -> None:
        self._visit(node.source)
        self._visit(node.args)

    def _visit_label(self, _node: nodes.Label) -> None:
        self._say("labels and goto are not in Lua 5.1")

    def _visit_localassign(self, node: nodes.LocalAssign) -> None:
        self._visit(node.values)
        for position, target in enumerate(node.targets):
            value = node.values[position] if position < len(node.values) else None
            self._declare(target, numeric=self._is_number(value), must_be_read=True)

    def _visit_assign(self, node: nodes.Assign) -> None:
        self._visit(node.values)
        for position, target in enumerate(node.targets):
            if not isinstance(target, nodes.Name):
                self._visit(target)
            elif local := self._find(target.id):
                value = node.values[position] if position < len(node.values) else None
                local.numeric = self._is_number(value)
            else:
                self._say(f"assignment to `{target.id}`, which no local declares")

    def _visit_localfunction(self, node: nodes.LocalFunction) -> None:
        self._declare(node.name, is_function=True)
        self._block(node.body, node.args)

    def _visit_function(self, node: nodes.Function) -> None:
        if isinstance(node.name, nodes.Name) and not self._find(node.name.id):
            self._say(f"`function {node.name.id}` is global: write `local function`")
        elif not isinstance(node.name, nodes.Name):
            self._visit(node.name)
        self._block(node.body, node.args)

    def _visit_anonymousfunction(self, node: nodes.AnonymousFunction) -> None:
        self._block(node.body, node.args)

    def _visit_fornum(self, node: nodes.Fornum) -> None:
        self._visit([node.start, node.stop, node.step])
        self._block(node.body, [node.target], numeric=True)

    def _visit_forin(self, node: nodes.Forin) -> None:
        self._visit(node.iter)
        self._block(node.body, node.targets)

    def _visit_repeat(self, node: nodes.Repeat) -> None:
        # The condition of `repeat … until` sees the locals of its body.
        self._scopes.append({})
        for statement in node.body.body:
            self._visit(statement)
        self._visit(node.test)
        self._scopes.pop()

    def _visit_concat(self, node: nodes.Concat) -> None:
        for operand in (node.left, node.right):
            if self._is_number(operand):
                self._say("`..` on a number rounds it at 14 digits: use string.format('%d', n)")
            self._visit(operand)

    def _is_number(self, node: object) -> bool:
        """Return whether an expression is visibly a number, or may be one by its `or`."""
        if isinstance(node, nodes.Number | nodes.AriOp | nodes.UMinusOp | nodes.ULengthOP):
            return True
        if isinstance(node, nodes.AndLoOp):
            return self._is_number(node.right)
        if isinstance(node, nodes.OrLoOp):
            return self._is_number(node.left) or self._is_number(node.right)
        if isinstance(node, nodes.Name):
            local = self._find(node.id)
            return local is not None and local.numeric
        if isinstance(node, nodes.Call):
            called = dotted(node.func)
            return called in NUMERIC_CALLS or called.startswith("math.")
        return False


def children(node: nodes.Node) -> Iterator[object]:
    """Yield a node's parts, except its comments."""
    for name, value in vars(node).items():
        if not name.startswith("_") and name != "comments":
            yield value
