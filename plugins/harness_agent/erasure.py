"""What only readers and type checkers need, taken out of the remote program: it is sent, and often compiled, each time
that an agent starts. Comments, docstrings and annotations go, and with them what is imported or defined for those
alone, so that a machine need not load typing."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

_FOR_TYPES = {"__future__", "typing", "collections.abc"}
_REAL = {"NamedTuple"}
"""Of typing, but not for types only."""


def erased(sources: Mapping[str, str]) -> dict[str, ast.Module]:
    """The modules of one package, by their names in it, without types. Nothing may be done with a type at run time,
    but to make a NamedTuple of them. Lines keep their numbers, which tracebacks tell."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    types = type_names(trees)
    return {name: _without_columns(_Eraser(types, types[name]).visit(tree)) for name, tree in trees.items()}


def type_names(trees: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """The names in each module that stand for types: imported as such, or defined by such names."""
    types: dict[str, set[str]] = {name: set() for name in trees}
    known = -1
    while known < (known := sum(map(len, types.values()))):  # until nothing new is learned
        for name, tree in trees.items():
            for statement in tree.body:
                if isinstance(statement, ast.ImportFrom):
                    types[name] |= {alias.name for alias in statement.names if _is_type(types, statement, alias)}
                elif isinstance(statement, ast.Assign) and _names(statement.value) & types[name]:
                    types[name] |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return types


def at_once(trees: Mapping[str, ast.Module], *start: str) -> list[str]:
    """The modules that are loaded with these: what they import, not in a function, and what those do."""
    found = list(start)
    for name in found:
        for statement in trees[name].body:
            if isinstance(statement, ast.ImportFrom) and statement.level:
                wanted = [statement.module] if statement.module else [alias.name for alias in statement.names]
                found += [module for module in wanted if module not in found]
    return found


def _is_type(types: Mapping[str, set[str]], statement: ast.ImportFrom, alias: ast.alias) -> bool:
    if statement.level:
        return alias.name in types.get(statement.module or "", ())
    return statement.module in _FOR_TYPES and alias.name not in _REAL


def _names(node: ast.AST) -> set[str]:
    return {found.id for found in ast.walk(node) if isinstance(found, ast.Name)}


def _without_columns(tree: ast.Module) -> ast.Module:
    """Tracebacks have no source to point into, and where all are alike a code object packs to half the bytes."""
    for node in ast.walk(ast.fix_missing_locations(tree)):
        if isinstance(node, (ast.stmt, ast.expr, ast.excepthandler, ast.arg, ast.keyword, ast.alias)):
            node.end_lineno, node.col_offset, node.end_col_offset = node.lineno, 0, 0
    return tree


class _Eraser(ast.NodeTransformer):
    def __init__(self, types: Mapping[str, set[str]], names: set[str]) -> None:
        self._types = types
        self._names = names

    def visit_Module(self, node: ast.Module) -> ast.Module:
        node.body = self._block(statement for statement in node.body if not self._defines_type(statement))
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        if any(isinstance(base, ast.Name) and base.id == "NamedTuple" for base in node.bases):
            for field in node.body:
                if isinstance(field, ast.AnnAssign):
                    field.annotation = ast.Constant(None)
            node.body = [
                field if isinstance(field, ast.AnnAssign) else self.visit(field)
                for field in node.body
                if not _is_text(field)
            ]
        else:
            node.body = self._block(node.body) or [ast.Pass()]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        self.visit(node.args)
        node.body = self._block(node.body) or [ast.Pass()]
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt | None:
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], self.visit(node.value)), node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        node.names = [alias for alias in node.names if not _is_type(self._types, node, alias)]
        return node if node.names else None

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        test = node.test
        negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        if _names(test) != {"TYPE_CHECKING"}:
            return self.generic_visit(node)
        return self._block(node.body if negated else node.orelse)

    def _block(self, body: Iterable[ast.stmt]) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for statement in body:
            if not _is_text(statement):
                visited = self.visit(statement)
                found += visited if isinstance(visited, list) else [visited] if visited is not None else []
        return found

    def _defines_type(self, node: ast.stmt) -> bool:
        return isinstance(node, ast.Assign) and _names(node.targets[0]) <= self._names and bool(_names(node.targets[0]))


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
